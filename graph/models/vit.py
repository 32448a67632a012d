"""Vision Transformer with 16 x 16 patches (Dosovitskiy et al. 2020, arXiv:2010.11929)."""

from __future__ import annotations

import onnx

from graph.models.attention import attention, feed_forward
from graph.models.builder import Builder
from graph.models.parameters import Family, Parameter, divisible


def vit(
    *, size: int, patch: int, layers: int, width: int, heads: int, hidden: int, classes: int
) -> onnx.ModelProto:
    """Logits (1, classes) of an image (1, 3, size, size); `hidden` is the width of the feed-forward layers."""
    divisible("vit_b16", "width", width, heads, "the number of heads")
    patches = divisible("vit_b16", "size", size, patch, "the patch") ** 2
    net = Builder("vit_b16")
    image = net.input("image", 1, 3, size, size)
    x = net.conv(image, "patches/conv", width, patch, stride=patch, padding=0, bias=True)
    x = net.transpose(net.reshape(x, "patches/flat", width, patches), "patches", 0, 2, 1)
    # Stored for one image, as exporters do.
    token = net.weight("class/token", (1, 1, width))
    x = net.concat([token, x], "tokens")
    x = net.add(x, net.weight("positions", (1, patches + 1, width)), "placed")
    for index in range(layers):
        at = f"layer{index}"
        normed = net.layer_norm(x, f"{at}/attention/norm", 1e-6)
        x = net.add(x, attention(net, normed, f"{at}/attention", heads), f"{at}/attention/sum")
        normed = net.layer_norm(x, f"{at}/feed_forward/norm", 1e-6)
        x = net.add(x, feed_forward(net, normed, f"{at}/feed_forward", hidden), f"{at}/feed_forward/sum")
    first = net.slice(net.layer_norm(x, "norm", 1e-6), "class/first", {1: 0}, {1: 1})
    flat = net.node("Flatten", "class/flatten", [first], (1, width), axis=1)
    return net.model(net.dense(flat, "class/dense", classes))


FAMILIES = {
    "vit_b16": Family(
        vit,
        "Dosovitskiy et al. 2020, arXiv:2010.11929",
        {
            "size": Parameter(224, high=4096),
            "patch": Parameter(16, high=256),
            "layers": Parameter(12, high=512),
            "width": Parameter(768),
            "heads": Parameter(12, high=1024),
            "hidden": Parameter(3072, high=2**20),
            "classes": Parameter(1000, high=2**20),
        },
    )
}
