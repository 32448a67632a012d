"""Conformer encoder for speech (Gulati et al. 2020, arXiv:2005.08100): subsampling and convolution-augmented blocks.

Attention is plain or with relative positions as in Transformer-XL (arXiv:1901.02860), as the paper has it. The
depthwise kernel is 31, the odd number next to the paper's 32, as common implementations have it.
"""

from __future__ import annotations

import onnx

from graph.errors import ModelError
from graph.models.attention import attention, split_heads, weigh
from graph.models.builder import Builder, Tensor
from graph.models.parameters import Family, Parameter, choice, divisible

_MEL_BANDS = 80


def conformer(
    *, frames: int, layers: int, width: int, heads: int, kernel: int, attention: str, subsampling: str
) -> onnx.ModelProto:
    """Encodings (1, T, width) of `frames` mel frames (1, 1, frames, 80); T is about frames / 4.

    Without subsampling the input is (1, frames, width) and T is `frames`.
    """
    divisible("conformer", "width", width, heads, "the number of heads")
    if kernel % 2 == 0:
        raise ModelError(f"model 'conformer': parameter 'kernel' is {kernel}; expected an odd number")
    net = Builder("conformer")
    if subsampling == "yes":
        x = _subsampled(net, net.input("features", 1, 1, frames, _MEL_BANDS), width)
    else:
        x = net.input("features", 1, frames, width)
    for index in range(layers):
        x = _block(net, x, f"layer{index}", heads, kernel, attention == "relative")
    return net.model(x)


def _subsampled(net: Builder, x: Tensor, width: int) -> Tensor:
    for index in range(2):
        x = net.relu(
            net.conv(x, f"subsampling/conv{index}", width, 3, stride=2, bias=True), f"subsampling/relu{index}"
        )
    frames, bands = x.shape[2:]
    x = net.transpose(x, "subsampling/frames", 0, 2, 1, 3)
    return net.linear(net.reshape(x, "subsampling/flat", frames, width * bands), "subsampling/linear", width)


def _block(net: Builder, x: Tensor, at: str, heads: int, kernel: int, relative: bool) -> Tensor:
    x = net.add(x, _half_feed_forward(net, x, f"{at}/feed_forward0"), f"{at}/feed_forward0/sum")
    normed = net.layer_norm(x, f"{at}/attention/norm")
    attend = _relative_attention if relative else attention
    x = net.add(x, attend(net, normed, f"{at}/attention", heads), f"{at}/attention/sum")
    x = net.add(x, _convolution(net, x, f"{at}/convolution", kernel), f"{at}/convolution/sum")
    x = net.add(x, _half_feed_forward(net, x, f"{at}/feed_forward1"), f"{at}/feed_forward1/sum")
    return net.layer_norm(x, f"{at}/norm")


def _half_feed_forward(net: Builder, x: Tensor, at: str) -> Tensor:
    width = x.shape[2]
    inner = net.linear(net.layer_norm(x, f"{at}/norm"), f"{at}/expand", 4 * width)
    inner = net.linear(net.swish(inner, f"{at}/swish"), f"{at}/reduce", width)
    return net.mul(inner, net.number(0.5), f"{at}/half")


def _convolution(net: Builder, x: Tensor, at: str, kernel: int) -> Tensor:
    """LayerNorm, pointwise convolution, GLU, depthwise convolution, batch norm, Swish, pointwise convolution."""
    width = x.shape[2]
    rows = net.transpose(net.layer_norm(x, f"{at}/norm"), f"{at}/channels", 0, 2, 1)
    both = net.conv(rows, f"{at}/expand", 2 * width, 1, bias=True)
    value, gate = net.node_of_many(
        "Split", f"{at}/split", [both], {f"{at}/value": rows.shape, f"{at}/gate": rows.shape}, axis=1
    )
    inner = net.mul(value, net.unary("Sigmoid", gate, f"{at}/sigmoid"), f"{at}/glu")
    inner = net.batch_norm(net.depthwise(inner, f"{at}/depthwise", kernel), f"{at}/batch_norm")
    inner = net.conv(net.swish(inner, f"{at}/swish"), f"{at}/reduce", width, 1, bias=True)
    return net.transpose(inner, f"{at}/rows", 0, 2, 1)


def _relative_attention(net: Builder, x: Tensor, at: str, heads: int) -> Tensor:
    """Scores are (q + u) k + (q + v) r with r a linear map of an encoding of each of the 2 T - 1 distances."""
    sequence, width = x.shape[1:]
    depth = width // heads
    query = net.reshape(net.linear(x, f"{at}/query", width), f"{at}/query/split", sequence, heads, depth)

    def biased(name: str) -> Tensor:
        moved = net.add(query, net.weight(f"{at}/{name}/bias", (heads, depth)), f"{at}/{name}")
        return net.transpose(moved, f"{at}/{name}/heads", 0, 2, 1, 3)

    key = split_heads(net, net.linear(x, f"{at}/key", width), f"{at}/key", heads, keys=True)
    value = split_heads(net, net.linear(x, f"{at}/value", width), f"{at}/value", heads)
    distances = net.weight(f"{at}/distances", (1, 2 * sequence - 1, width))
    position = net.linear(distances, f"{at}/position", width, bias=False)
    position = split_heads(net, position, f"{at}/position", heads, keys=True)
    by_content = net.matmul(biased("content"), key, f"{at}/content/scores")
    by_position = net.matmul(biased("place"), position, f"{at}/place/scores")
    shifted = _shifted(net, by_position, f"{at}/place", sequence)
    scores = net.add(by_content, shifted, f"{at}/scores")
    return net.linear(weigh(net, scores, value, at, scale=depth**-0.5), f"{at}/output", width)


def _shifted(net: Builder, x: Tensor, at: str, sequence: int) -> Tensor:
    """Row t of (1, heads, T, 2 T - 1) moved left by T - 1 - t, and cut to T columns."""
    heads, wide = x.shape[1], 2 * sequence - 1
    pads = net.integers([0, 0, 0, 1, 0, 0, 0, 0])
    padded = net.node("Pad", f"{at}/padded", [x, pads], (1, heads, sequence, wide + 1))
    tall = net.reshape(padded, f"{at}/tall", heads, wide + 1, sequence)
    cut = net.slice(tall, f"{at}/cut", {2: 1}, {2: wide})
    rows = net.reshape(cut, f"{at}/moved", heads, sequence, wide)
    return net.slice(rows, f"{at}/shifted", {3: 0}, {3: sequence})


FAMILIES = {
    "conformer": Family(
        conformer,
        "Gulati et al. 2020, arXiv:2005.08100 (the encoder, M by default)",
        {
            "frames": Parameter(512, low=8, high=16384),
            "layers": Parameter(16, high=512),
            "width": Parameter(256),
            "heads": Parameter(4, high=1024),
            "kernel": Parameter(31, high=1023),
            "attention": choice("plain", "relative"),
            "subsampling": choice("yes", "no"),
        },
    )
}
