"""MobileNet-v2: inverted residuals with linear bottlenecks (Sandler et al. 2018, arXiv:1801.04381)."""

from __future__ import annotations

import onnx

from graph.models.builder import Builder, Tensor
from graph.models.parameters import Family, Parameter, scale

# Table 2 of the paper: expansion, output channels, repeats, stride of the first.
_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(*, size: int, width: float, classes: int) -> onnx.ModelProto:
    """Logits (1, classes) of an image (1, 3, size, size); `width` multiplies all channel counts."""
    net = Builder("mobilenet_v2")
    x = _conv(net, net.input("image", 1, 3, size, size), "stem", _rounded(32 * width), 3, 2)
    position = 0
    for expansion, channels, repeats, first_stride in _BLOCKS:
        for index in range(repeats):
            stride = first_stride if index == 0 else 1
            x = _block(net, x, f"block{position}", expansion, _rounded(channels * width), stride)
            position += 1
    x = _conv(net, x, "last", _rounded(1280 * width), 1)
    return net.model(net.classifier(x, "classifier", classes))


def _block(net: Builder, x: Tensor, at: str, expansion: int, channels: int, stride: int) -> Tensor:
    inner = x if expansion == 1 else _conv(net, x, f"{at}/expand", x.shape[1] * expansion, 1)
    inner = _conv(net, inner, f"{at}/depthwise", inner.shape[1], 3, stride, groups=inner.shape[1])
    inner = net.conv_norm(inner, f"{at}/project", channels, 1)
    return net.add(inner, x, f"{at}/sum") if x.shape == inner.shape else inner


def _conv(
    net: Builder, x: Tensor, at: str, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> Tensor:
    x = net.conv_norm(x, at, channels, kernel, stride=stride, groups=groups)
    return net.node("Clip", f"{at}/relu6", [x, net.number(0.0), net.number(6.0)], x.shape)


def _rounded(channels: float) -> int:
    """The nearest multiple of 8, at least 8 and not less than 90 % of `channels`."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


FAMILIES = {
    "mobilenet_v2": Family(
        mobilenet_v2,
        "Sandler et al. 2018, arXiv:1801.04381",
        {
            "size": Parameter(224, low=32, high=4096),
            "width": scale(),
            "classes": Parameter(1000, high=2**20),
        },
    )
}
