"""ResNets (He et al. 2015, arXiv:1512.03385) and ResNeXt-29 for CIFAR (Xie et al. 2016, arXiv:1611.05431).

Bottleneck blocks stride in their 3 x 3 convolution, as all common implementations do (ResNet-50: 4.09 GMAC); the
paper's first version strides in the first 1 x 1 (3.86).
"""

from __future__ import annotations

from functools import partial

import onnx

from graph.models.builder import Builder, Tensor
from graph.models.parameters import Family, Parameter, scale


def resnet(
    *, name: str, blocks: tuple[int, ...], bottleneck: bool, size: int, width: float, classes: int
) -> onnx.ModelProto:
    """Logits (1, classes) of an image (1, 3, size, size); `width` multiplies all channel counts."""
    net = Builder(name)
    base = max(1, round(64 * width))
    x = net.conv_norm_relu(net.input("image", 1, 3, size, size), "stem", base, 7, stride=2)
    x = net.max_pool(x, "stem/pool", 3, 2, 1)
    for stage, count in enumerate(blocks):
        channels = base * 2**stage
        for index in range(count):
            stride = 2 if index == 0 and stage > 0 else 1
            at = f"layer{stage + 1}/block{index}"
            x = (
                _bottleneck(net, x, at, channels, stride)
                if bottleneck
                else _basic(net, x, at, channels, stride)
            )
    return net.model(net.classifier(x, "classifier", classes))


def _basic(net: Builder, x: Tensor, at: str, channels: int, stride: int) -> Tensor:
    inner = net.conv_norm_relu(x, f"{at}/first", channels, 3, stride=stride)
    return _joined(net, x, net.conv_norm(inner, f"{at}/second", channels, 3), at, stride)


def _bottleneck(
    net: Builder, x: Tensor, at: str, inside: int, stride: int, out: int = 0, groups: int = 1
) -> Tensor:
    inner = net.conv_norm_relu(x, f"{at}/reduce", inside, 1)
    inner = net.conv_norm_relu(inner, f"{at}/middle", inside, 3, stride=stride, groups=groups)
    return _joined(net, x, net.conv_norm(inner, f"{at}/expand", out or 4 * inside, 1), at, stride)


def _joined(net: Builder, x: Tensor, inner: Tensor, at: str, stride: int) -> Tensor:
    if x.shape != inner.shape:
        x = net.conv_norm(x, f"{at}/shortcut", inner.shape[1], 1, stride=stride)
    return net.relu(net.add(inner, x, f"{at}/sum"), f"{at}/relu")


def resnext29(*, cardinality: int, width: int, size: int, classes: int) -> onnx.ModelProto:
    """Logits (1, classes) of an image (1, 3, size, size): three stages of three blocks.

    A block of the first stage has `cardinality` groups of `width` channels inside and 256 outside.
    """
    net = Builder("resnext29")
    x = net.conv_norm_relu(net.input("image", 1, 3, size, size), "stem", 64, 3)
    for stage in range(3):
        for index in range(3):
            stride = 2 if index == 0 and stage > 0 else 1
            inside, out = cardinality * width * 2**stage, 256 * 2**stage
            x = _bottleneck(net, x, f"layer{stage + 1}/block{index}", inside, stride, out, cardinality)
    return net.model(net.classifier(x, "classifier", classes))


def _family(name: str, blocks: tuple[int, ...], bottleneck: bool) -> Family:
    return Family(
        partial(resnet, name=name, blocks=blocks, bottleneck=bottleneck),
        "He et al. 2015, arXiv:1512.03385",
        {
            "size": Parameter(224, low=32, high=4096),
            "width": scale(),
            "classes": Parameter(1000, high=2**20),
        },
    )


FAMILIES = {
    "resnet18": _family("resnet18", (2, 2, 2, 2), False),
    "resnet34": _family("resnet34", (3, 4, 6, 3), False),
    "resnet50_v1": _family("resnet50_v1", (3, 4, 6, 3), True),
    "resnet101": _family("resnet101", (3, 4, 23, 3), True),
    "resnext29": Family(
        resnext29,
        "Xie et al. 2016, arXiv:1611.05431 (CIFAR, 8x64d)",
        {
            "cardinality": Parameter(8, high=64),
            "width": Parameter(64, high=1024),
            "size": Parameter(32, low=8, high=4096),
            "classes": Parameter(10, high=2**20),
        },
    ),
}
