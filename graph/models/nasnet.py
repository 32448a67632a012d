"""NASNet-A (Zoph et al. 2017, arXiv:1707.07012): cells found by search, each reading the two cells before it.

`nasnet_mobile` is 4 @ 1056 for ImageNet, `nasnet_cifar` 6 @ 768.
"""

from __future__ import annotations

import onnx

from graph.models.builder import Builder, Tensor
from graph.models.parameters import Family, Parameter


def nasnet_mobile(*, size: int, cells: int, filters: int, classes: int) -> onnx.ModelProto:
    """Logits (1, classes) of an image (1, 3, size, size): two stem cells, then three times `cells` normal cells.

    `filters` is the width of the first normal cells; the last layer has 24 times as many channels.
    """
    net = Builder("nasnet_mobile")
    image = net.input("image", 1, 3, size, size)
    first = net.batch_norm(net.conv(image, "stem/conv", 32, 3, stride=2, padding=0), "stem/norm")
    second = _reduction(net, first, first, "stem0", max(1, filters // 4), adjust=False)
    third = _reduction(net, second, first, "stem1", max(1, filters // 2))
    return _body(net, third, second, cells, filters, classes)


def nasnet_cifar(*, size: int, cells: int, filters: int, classes: int) -> onnx.ModelProto:
    """Logits (1, classes) of an image (1, 3, size, size): three times `cells` normal cells."""
    net = Builder("nasnet_cifar")
    stem = net.conv_norm(net.input("image", 1, 3, size, size), "stem", 3 * filters, 3)
    return _body(net, stem, stem, cells, filters, classes)


def _body(net: Builder, x: Tensor, before: Tensor, cells: int, filters: int, classes: int) -> onnx.ModelProto:
    for stage in range(3):
        if stage:
            x, before = _reduction(net, x, before, f"reduction{stage - 1}", filters * 2**stage), x
        for index in range(cells):
            x, before = _normal(net, x, before, f"stage{stage}/cell{index}", filters * 2**stage), x
    return net.model(net.classifier(net.relu(x, "last/relu"), "classifier", classes))


def _normal(net: Builder, x: Tensor, before: Tensor, at: str, filters: int) -> Tensor:
    left, right = _same_size(net, before, x, at, filters), _squeezed(net, x, f"{at}/right", filters)
    blocks = [
        (
            _separable(net, right, f"{at}/0/right", filters, 5),
            _separable(net, left, f"{at}/0/left", filters, 3),
        ),
        (
            _separable(net, left, f"{at}/1/wide", filters, 5),
            _separable(net, left, f"{at}/1/narrow", filters, 3),
        ),
        (net.average_pool(right, f"{at}/2/pool", 3, 1, 1), left),
        (net.average_pool(left, f"{at}/3/pool0", 3, 1, 1), net.average_pool(left, f"{at}/3/pool1", 3, 1, 1)),
        (_separable(net, right, f"{at}/4/right", filters, 3), right),
    ]
    sums = [net.add(one, other, f"{at}/{index}/sum") for index, (one, other) in enumerate(blocks)]
    return net.concat([left, *sums], at)


def _reduction(
    net: Builder, x: Tensor, before: Tensor, at: str, filters: int, *, adjust: bool = True
) -> Tensor:
    """A cell of stride 2. The first one reads the stem twice, the second time as it is (`adjust`)."""
    left = _same_size(net, before, x, at, filters) if adjust else before
    right = _squeezed(net, x, f"{at}/right", filters)
    first = net.add(
        _separable(net, right, f"{at}/0/right", filters, 5, 2),
        _separable(net, left, f"{at}/0/left", filters, 7, 2),
        f"{at}/0/sum",
    )
    second = net.add(
        net.max_pool(right, f"{at}/1/pool", 3, 2, 1),
        _separable(net, left, f"{at}/1/left", filters, 7, 2),
        f"{at}/1/sum",
    )
    third = net.add(
        net.average_pool(right, f"{at}/2/pool", 3, 2, 1),
        _separable(net, left, f"{at}/2/left", filters, 5, 2),
        f"{at}/2/sum",
    )
    fourth = net.add(net.average_pool(first, f"{at}/3/pool", 3, 1, 1), second, f"{at}/3/sum")
    fifth = net.add(
        _separable(net, first, f"{at}/4/first", filters, 3),
        net.max_pool(right, f"{at}/4/pool", 3, 2, 1),
        f"{at}/4/sum",
    )
    return net.concat([second, third, fourth, fifth], at)


def _separable(net: Builder, x: Tensor, at: str, filters: int, kernel: int, stride: int = 1) -> Tensor:
    """ReLU, depthwise and pointwise convolution and batch norm, twice; only the first strides."""
    for index, step in enumerate((stride, 1)):
        part = f"{at}/{index}"
        x = net.depthwise(net.relu(x, f"{part}/relu"), f"{part}/depthwise", kernel, stride=step)
        x = net.batch_norm(net.conv(x, f"{part}/pointwise", filters, 1), f"{part}/norm")
    return x


def _squeezed(net: Builder, x: Tensor, at: str, filters: int) -> Tensor:
    return net.conv_norm(net.relu(x, f"{at}/relu"), at, filters, 1)


def _same_size(net: Builder, before: Tensor, x: Tensor, at: str, filters: int) -> Tensor:
    """The cell before the last, brought to the size of the last: every second place, in two phases."""
    if before.shape[2:] == x.shape[2:]:
        return _squeezed(net, before, f"{at}/left", filters)
    active = net.relu(before, f"{at}/left/relu")
    even = net.conv(active, f"{at}/left/even", filters // 2, 1, stride=2)
    rows, columns = (size - 1 for size in before.shape[2:])
    shifted = net.slice(active, f"{at}/left/shifted", {2: 1, 3: 1}, {2: rows, 3: columns})
    if (rows + 1) % 2:
        pads = net.integers([0, 0, 0, 0, 0, 0, 1, 1])
        sizes = (*shifted.shape[:2], rows + 1, columns + 1)
        shifted = net.node("Pad", f"{at}/left/padded", [shifted, pads], sizes)
    odd = net.conv(shifted, f"{at}/left/odd", filters - filters // 2, 1, stride=2)
    return net.batch_norm(net.concat([even, odd], f"{at}/left/both"), f"{at}/left")


def _parameters(size: int, least: int, cells: int, filters: int, classes: int) -> dict[str, Parameter]:
    return {
        "size": Parameter(size, low=least, high=4096),
        "cells": Parameter(cells, high=64),
        "filters": Parameter(filters, low=4, high=4096),
        "classes": Parameter(classes, high=2**20),
    }


FAMILIES = {
    "nasnet_mobile": Family(
        nasnet_mobile,
        "Zoph et al. 2017, arXiv:1707.07012 (NASNet-A 4 @ 1056, ImageNet)",
        _parameters(224, 32, 4, 44, 1000),
    ),
    "nasnet_cifar": Family(
        nasnet_cifar,
        "Zoph et al. 2017, arXiv:1707.07012 (NASNet-A 6 @ 768, CIFAR)",
        _parameters(32, 8, 6, 32, 10),
    ),
}
