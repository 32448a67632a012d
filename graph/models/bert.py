"""BERT: embeddings and a stack of post-norm encoder layers (Devlin et al. 2018, arXiv:1810.04805)."""

from __future__ import annotations

from functools import partial

import onnx

from graph.models.attention import attention, feed_forward, first_rows
from graph.models.builder import Builder, Tensor
from graph.models.parameters import Family, Parameter, choice, divisible

_POSITIONS = 512


def bert(
    *,
    name: str,
    sequence: int,
    layers: int,
    width: int,
    heads: int,
    vocabulary: int,
    token_types: str,
    mask: str,
    pooler: str,
) -> onnx.ModelProto:
    """Last hidden states (1, S, width) and the pooled first token (1, width) of int64 input_ids (1, S).

    The feed-forward layers have 4 `width`. `attention_mask` is int64 (1, S): 1 for tokens, 0 for padding.
    """
    divisible(name, "width", width, heads, "the number of heads")
    net = Builder(name)
    ids = net.input("input_ids", 1, sequence, integers=True)
    x = net.embedding(ids, "embeddings/word", vocabulary, width)
    positions = first_rows(net, "embeddings/position", max(_POSITIONS, sequence), sequence, width)
    x = net.add(x, positions, "embeddings/placed")
    types = net.weight("embeddings/type/table", (2, width))
    if token_types == "yes":
        kinds = net.input("token_type_ids", 1, sequence, integers=True)
        kind = net.gather(types, kinds, "embeddings/type")
    else:
        kind = net.slice(types, "embeddings/type", {0: 0}, {0: 1})
    x = net.layer_norm(net.add(x, kind, "embeddings/sum"), "embeddings/norm", 1e-12)
    hidden = _penalty(net, sequence) if mask == "yes" else None
    for index in range(layers):
        at = f"layer{index}"
        x = net.add(x, attention(net, x, f"{at}/attention", heads, hidden), f"{at}/attention/sum")
        x = net.layer_norm(x, f"{at}/attention/norm", 1e-12)
        x = net.add(x, feed_forward(net, x, f"{at}/feed_forward", 4 * width), f"{at}/feed_forward/sum")
        x = net.layer_norm(x, f"{at}/feed_forward/norm", 1e-12)
    if pooler == "no":
        return net.model(x)
    first = net.slice(x, "pooler/first", {1: 0}, {1: 1})
    first = net.node("Flatten", "pooler/flatten", [first], (1, width), axis=1)
    return net.model(x, net.unary("Tanh", net.dense(first, "pooler/dense", width), "pooler/tanh"))


def _penalty(net: Builder, sequence: int) -> Tensor:
    """0 where attention_mask is 1, and -10000 where it is 0: (1, 1, 1, S)."""
    given = net.input("attention_mask", 1, sequence, integers=True)
    ones = net.node("Cast", "mask/cast", [given], given.shape, to=onnx.TensorProto.FLOAT)
    above = net.add(ones, net.number(-1.0), "mask/above")
    scaled = net.mul(above, net.number(10000.0), "mask/scaled")
    return net.reshape(scaled, "mask", 1, 1, sequence)


def _family(name: str, layers: int, width: int, heads: int) -> Family:
    return Family(
        partial(bert, name=name),
        "Devlin et al. 2018, arXiv:1810.04805",
        {
            "sequence": Parameter(128, high=16384),
            "layers": Parameter(layers, high=512),
            "width": Parameter(width),
            "heads": Parameter(heads, high=1024),
            "vocabulary": Parameter(30522, high=2**24),
            "token_types": choice("no", "yes"),
            "mask": choice("no", "yes"),
            "pooler": choice("yes", "no"),
        },
    )


FAMILIES = {"bert_base": _family("bert_base", 12, 768, 12), "bert_large": _family("bert_large", 24, 1024, 16)}
