"""GPT-2: a pre-norm decoder of any depth (Radford et al. 2019); the head shares the word table."""

from __future__ import annotations

import onnx

from graph.errors import ModelError
from graph.models.attention import attention, feed_forward, first_rows
from graph.models.builder import Builder, Tensor
from graph.models.parameters import Family, Parameter, choice, divisible


def gpt(
    *, sequence: int, layers: int, width: int, heads: int, vocabulary: int, positions: int, head: str
) -> onnx.ModelProto:
    """Logits (1, S, vocabulary) of int64 input_ids (1, S), or hidden states without the head.

    Attention is causal; positions are learned; Gelu is the one by Tanh.
    """
    divisible("gpt", "width", width, heads, "the number of heads")
    if sequence > positions:
        raise ModelError(
            f"model 'gpt': parameter 'sequence' is {sequence}; expected at most positions={positions}"
        )
    net = Builder("gpt")
    ids = net.input("input_ids", 1, sequence, integers=True)
    words = net.weight("embeddings/word/table", (vocabulary, width))
    x = net.gather(words, ids, "embeddings/word")
    x = net.add(x, first_rows(net, "embeddings/position", positions, sequence, width), "embeddings/sum")
    mask = _causal_mask(net, sequence)
    for index in range(layers):
        at = f"layer{index}"
        normed = net.layer_norm(x, f"{at}/attention/norm")
        x = net.add(x, attention(net, normed, f"{at}/attention", heads, mask), f"{at}/attention/sum")
        normed = net.layer_norm(x, f"{at}/feed_forward/norm")
        inner = feed_forward(net, normed, f"{at}/feed_forward", 4 * width, tanh=True)
        x = net.add(x, inner, f"{at}/feed_forward/sum")
    x = net.layer_norm(x, "norm")
    if head == "no":
        return net.model(x)
    return net.model(net.matmul(x, net.transpose(words, "head/weight", 1, 0), "head"))


def _causal_mask(net: Builder, sequence: int) -> Tensor:
    """-10000 above the diagonal, 0 elsewhere: (1, 1, S, S). A constant, though not of stored numbers."""
    full = net.weight("mask/full", (1, 1, sequence, sequence), -10000.0)
    return net.node("Trilu", "mask", [full, net.integer(1)], full.shape, upper=1)


FAMILIES = {
    "gpt": Family(
        gpt,
        "GPT-2, Radford et al. 2019, Language models are unsupervised multitask learners",
        {
            "sequence": Parameter(128, high=16384),
            "layers": Parameter(12, high=1024),
            "width": Parameter(768),
            "heads": Parameter(12, high=1024),
            "vocabulary": Parameter(50257, high=2**24),
            "positions": Parameter(1024, high=65536),
            "head": choice("yes", "no"),
        },
    )
}
