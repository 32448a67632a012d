"""Networks from image to image: the workloads of depth-first scheduling, and U-Net.

With `padding=none` feature maps shrink from layer to layer, and `rows` and `columns` are those of the output of
the last convolution, as DeFiNES (HPCA 2023) models FSRCNN (960 x 540), DMCNN-VD (768 x 512) and MC-CNN; with
`padding=same`, the published form, they are those of every map.
"""

from __future__ import annotations

import onnx

from graph.errors import ModelError
from graph.models.builder import Builder, Tensor
from graph.models.parameters import Family, Parameter, choice


def fsrcnn(
    *,
    rows: int,
    columns: int,
    d: int,
    s: int,
    m: int,
    factor: int,
    last: str,
    channels: int,
    activation: str,
    padding: str,
) -> onnx.ModelProto:
    """An image (1, 1, rows, columns), enlarged `factor` times by a 9 x 9 transposed convolution.

    With `last=conv` the last layer is a 3 x 3 convolution to `channels` instead, as in the literature on
    depth-first schedules. `d`, `s` and `m` are the paper's: features, shrunk features, mapping layers.
    """
    if last == "transposed" and padding == "none":
        raise ModelError("model 'fsrcnn': parameter 'padding' is 'none'; expected same with last=transposed")
    net = Builder("fsrcnn")
    margin = (2 + m + 1) * 2 if padding == "none" else 0
    x = net.input("image", 1, 1, rows + margin, columns + margin)
    layers = [("features", d, 5), ("shrink", s, 1), *((f"map{i}", s, 3) for i in range(m)), ("expand", d, 1)]
    for name, width, kernel in layers:
        x = net.conv(x, name, width, kernel, bias=True, padding=_padding(padding))
        x = _activated(net, x, f"{name}/{activation}", activation)
    if last == "conv":
        return net.model(net.conv(x, "last", channels, 3, bias=True, padding=_padding(padding)))
    return net.model(net.conv_transpose(x, "last", 1, 9, factor, 4, factor - 1))


def dmcnn_vd(*, rows: int, columns: int, layers: int, width: int, padding: str) -> onnx.ModelProto:
    """A mosaicked image (1, 3, rows, columns), demosaicked: 3 x 3 convolutions, as DeFiNES uses DMCNN-VD."""
    net = Builder("dmcnn_vd")
    margin = 2 * layers if padding == "none" else 0
    x = net.input("image", 1, 3, rows + margin, columns + margin)
    return net.model(_chain(net, x, layers, width, 3, padding))


def mc_cnn(*, rows: int, columns: int, layers: int, width: int, padding: str) -> onnx.ModelProto:
    """Features (1, width, rows, columns) of one image of a stereo pair: the fast architecture's convolutions."""
    net = Builder("mc_cnn")
    margin = 2 * layers if padding == "none" else 0
    x = net.input("image", 1, 1, rows + margin, columns + margin)
    return net.model(_chain(net, x, layers, width, width, padding))


def _chain(net: Builder, x: Tensor, layers: int, width: int, out: int, padding: str) -> Tensor:
    for index in range(layers - 1):
        x = net.conv(x, f"conv{index}", width, 3, bias=True, padding=_padding(padding))
        x = net.relu(x, f"conv{index}/relu")
    return net.conv(x, f"conv{layers - 1}", out, 3, bias=True, padding=_padding(padding))


def unet(
    *, rows: int, columns: int, depth: int, width: int, channels: int, classes: int, padding: str
) -> onnx.ModelProto:
    """Class scores per pixel of an image (1, channels, rows, columns); with padding=none of its middle.

    `width` is that of the first level, doubled `depth` times. The paper's has rows=572,columns=572,padding=none.
    """
    net = Builder("unet")
    x = net.input("image", 1, channels, rows, columns)
    kept: list[Tensor] = []
    for level in range(depth):
        x = _pair(net, x, f"down{level}", width * 2**level, padding)
        kept.append(x)
        if min(x.shape[2:]) < 1 or x.shape[2] % 2 or x.shape[3] % 2:
            raise ModelError(
                f"model 'unet': parameters 'rows', 'columns' are {rows}, {columns}, which gives a map of "
                f"{x.shape[2]} x {x.shape[3]} at level {level}; expected even sizes at every level"
            )
        x = net.max_pool(x, f"down{level}/pool", 2, 2)
    x = _pair(net, x, "bottom", width * 2**depth, padding)
    for level in reversed(range(depth)):
        x = net.conv_transpose(x, f"up{level}/transposed", width * 2**level, 2, 2)
        x = net.concat([_middle(net, kept[level], x, f"up{level}/crop"), x], f"up{level}/both")
        x = _pair(net, x, f"up{level}", width * 2**level, padding)
    if min(x.shape[2:]) < 1:
        raise ModelError(
            f"model 'unet': parameters 'rows', 'columns' are {rows}, {columns}; expected more for this depth"
        )
    return net.model(net.conv(x, "classes", classes, 1, bias=True))


def _pair(net: Builder, x: Tensor, at: str, width: int, padding: str) -> Tensor:
    for index in range(2):
        x = net.conv(x, f"{at}/conv{index}", width, 3, bias=True, padding=_padding(padding))
        x = net.relu(x, f"{at}/relu{index}")
    return x


def _middle(net: Builder, x: Tensor, like: Tensor, at: str) -> Tensor:
    if x.shape[2:] == like.shape[2:]:
        return x
    starts = {axis: (x.shape[axis] - like.shape[axis]) // 2 for axis in (2, 3)}
    return net.slice(x, at, starts, {axis: like.shape[axis] for axis in (2, 3)})


def _padding(padding: str) -> int | None:
    return 0 if padding == "none" else None


def _activated(net: Builder, x: Tensor, name: str, kind: str) -> Tensor:
    if kind == "relu":
        return net.relu(x, name)
    return net.node("PRelu", name, [x, net.weight(f"{name}/slope", (x.shape[1], 1, 1), 0.25)], x.shape)


def _image(rows: int, columns: int) -> dict[str, Parameter]:
    return {"rows": Parameter(rows, high=16384), "columns": Parameter(columns, high=16384)}


FAMILIES = {
    "fsrcnn": Family(
        fsrcnn,
        "Dong et al. 2016, arXiv:1608.00367",
        {
            **_image(540, 960),
            "d": Parameter(56, high=4096),
            "s": Parameter(12, high=4096),
            "m": Parameter(4, high=256),
            "factor": Parameter(2, high=8),
            "last": choice("transposed", "conv"),
            "channels": Parameter(16, high=4096),
            "activation": choice("prelu", "relu"),
            "padding": choice("same", "none"),
        },
    ),
    "dmcnn_vd": Family(
        dmcnn_vd,
        "Syu et al. 2018, arXiv:1802.03769, as a chain of convolutions",
        {
            **_image(512, 768),
            "layers": Parameter(20, low=2, high=256),
            "width": Parameter(64, high=4096),
            "padding": choice("same", "none"),
        },
    ),
    "mc_cnn": Family(
        mc_cnn,
        "Zbontar and LeCun 2015, arXiv:1510.05970 (fast architecture, one image)",
        {
            **_image(376, 1242),
            "layers": Parameter(4, low=2, high=256),
            "width": Parameter(64, high=4096),
            "padding": choice("same", "none"),
        },
    ),
    "unet": Family(
        unet,
        "Ronneberger et al. 2015, arXiv:1505.04597",
        {
            **_image(512, 512),
            "depth": Parameter(4, high=8),
            "width": Parameter(64, high=1024),
            "channels": Parameter(1, high=1024),
            "classes": Parameter(2, high=4096),
            "padding": choice("same", "none"),
        },
    ),
}
