"""Convolutions, pools and products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.graph.drawing import Drawing
from tests.graph.drawn.registry import INT64, Outputs, draws


def window(d: Drawing, sizes: Sequence[int], pool: bool = False, dilated: bool = True) -> dict[str, object]:
    """Attributes of a window on a map; of a pool, padding leaves no window empty."""
    kernel = [d.size(1, min(3, size)) for size in sizes]
    most = [min(3, (size - 1) // (k - 1)) if k > 1 else 2 for size, k in zip(sizes, kernel, strict=True)]
    dilations = [d.size(1, largest) if dilated else 1 for largest in most]
    reach = [(k - 1) * dilation + 1 for k, dilation in zip(kernel, dilations, strict=True)]
    found: dict[str, object] = {"kernel_shape": kernel, "strides": d.sizes(len(sizes), 1, 3)}
    if dilated:
        found["dilations"] = dilations
    padding = d.pick("none", "explicit", "explicit", "SAME_UPPER", "SAME_LOWER", "VALID")
    if padding == "explicit":
        # onnxruntime refuses padding of a pool that is not less than the kernel, whatever the dilation.
        most = [k - 1 for k in kernel] if pool else reach
        found["pads"] = [d.size(0, most[axis % len(sizes)]) for axis in range(2 * len(sizes))]
    elif padding != "none" and max(dilations) == 1:
        found["auto_pad"] = padding
        # onnxruntime refuses SAME padding where the stride exceeds the kernel.
        found["strides"] = [d.size(1, k) for k in kernel]
    return found


@draws("Conv", opsets=[7, 17])
def conv(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.pick(1, 2, 2), 1, 8)
    groups = d.size(1, 3)
    channels, outputs = groups * d.size(1, 3), groups * d.size(1, 3)
    attributes = window(d, sizes)
    weight = d.b.random(outputs, channels // groups, *attributes["kernel_shape"])  # type: ignore[misc]
    bias = [d.b.random(outputs)] if d.pick(True, False) else []
    return d.b.node(name, d.x(channels, *sizes), weight, *bias, group=groups, **attributes)


@draws("ConvTranspose")
def conv_transpose(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.pick(1, 2, 2), 1, 5)
    groups = d.size(1, 2)
    channels, outputs = groups * d.size(1, 2), d.size(1, 2)
    kernel, strides = d.sizes(len(sizes), 1, 3), d.sizes(len(sizes), 1, 3)
    dilations = d.sizes(len(sizes), 1, 2)
    reach = [(k - 1) * dilation + 1 for k, dilation in zip(kernel, dilations, strict=True)]
    full = [(size - 1) * s + r for size, s, r in zip(sizes, strides, reach, strict=True)]
    attributes: dict[str, object] = {"strides": strides, "dilations": dilations, "group": groups}
    padding = d.pick("none", "pads", "output_padding", "output_shape", "auto_pad")
    if padding == "pads":
        most = [min((size - 1) // 2, r) for size, r in zip(full, reach, strict=True)]
        attributes["pads"] = [d.size(0, most[axis % len(sizes)]) for axis in range(2 * len(sizes))]
    elif padding == "output_padding":
        # onnxruntime refuses as much as the stride.
        attributes["output_padding"] = [d.size(0, stride - 1) for stride in strides]
    elif padding == "output_shape":
        attributes["output_shape"] = [
            d.size(max(1, size - r), size + s - 1) for size, r, s in zip(full, reach, strides, strict=True)
        ]
    elif padding == "auto_pad":
        attributes["auto_pad"] = d.pick("SAME_UPPER", "SAME_LOWER", "VALID")
        attributes["strides"] = [d.size(1, r) for r in reach]
    bias = [d.b.random(outputs * groups)] if d.pick(True, False) else []
    weight = d.b.random(channels, outputs, *kernel)
    return d.b.node(name, d.x(channels, *sizes), weight, *bias, **attributes)


@draws("MaxPool")
@draws("AveragePool", opsets=[17, 19])
def pool(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.pick(1, 2, 2), 1, 8)
    attributes = window(d, sizes, pool=True, dilated=name == "MaxPool" or d.opset >= 19)
    if name == "AveragePool":
        attributes |= d.optional(count_include_pad=1)
    if "auto_pad" not in attributes:
        attributes |= d.optional(ceil_mode=1)
    if len(sizes) == 2 and d.pick(True, False, False, False):
        # A third dimension, along which the windows are 1 wide.
        place = d.size(0, 2)
        sizes.insert(place, d.size(1, 3))
        for key, count in (("kernel_shape", 1), ("strides", 1), ("dilations", 1), ("pads", 2)):
            if key in attributes:
                items = list(attributes[key])  # type: ignore[call-overload]
                for half in range(count):
                    items.insert(place + half * 3, 0 if key == "pads" else 1)
                attributes[key] = items
    return d.b.node(name, d.x(d.size(), *sizes), **attributes)


@draws("GlobalAveragePool", "GlobalMaxPool")
def global_pool(d: Drawing, name: str) -> str:
    return d.b.node(name, d.x(*d.sizes(d.pick(2, 3))))


@draws("Gemm", opsets=[7, 17])
def gemm(d: Drawing, name: str) -> str:
    inner, outer = d.sizes(2)
    turned = d.pick(0, 1)
    weight = d.b.random(outer, inner) if turned else d.b.random(inner, outer)
    bias = (
        [d.b.random(*d.pick((outer,), (1, outer), (1,), ()))] if d.opset < 11 or d.pick(True, False) else []
    )
    attributes = d.optional(alpha=d.number(), beta=d.number())
    return d.b.node(name, d.x(inner), weight, *bias, transB=turned, **attributes)


@draws("MatMul")
def matmul(d: Drawing, name: str) -> str:
    rows, inner, outer = d.sizes(3)
    front = d.sizes(d.size(0, 1))
    if d.pick(True, False):
        second = [d.pick(1, size) for size in front]
        return d.b.node(name, d.x(*front, rows, inner), d.x(*second, inner, outer))
    second = front if d.pick(True, False) else []
    if d.pick(True, False, False):
        return d.b.node(name, d.b.random(*second, rows, inner), d.x(*front, inner, outer))
    return d.b.node(name, d.x(*front, rows, inner), d.b.random(*second, inner, outer))


@draws("Einsum")
def einsum(d: Drawing, name: str) -> str:
    """One to three operands, each with some of the letters, perhaps one twice; those of the result in any order."""
    sizes = dict(zip("cijk", d.sizes(4, 1, 4), strict=True))
    names, terms = [], []
    for place in range(d.pick(1, 2, 2, 2, 3)):
        letters = [letter for letter in d.draw(_permutation("cijk")) if d.pick(True, False)]
        if letters and d.pick(True, False, False, False):
            letters.append(d.pick(*letters))
        shape = [sizes[letter] for letter in letters]
        if place and letters and d.pick(True, False):
            names.append(d.b.random(*shape))
            terms.append("".join(letters))
        else:
            names.append(d.x(*shape))
            terms.append("".join(["b", *letters]))
    known = sorted(set("".join(terms)) - {"b"})
    result = d.draw(_permutation(["b", *(letter for letter in known if d.pick(True, False))]))
    return d.b.node(name, *names, equation=f"{','.join(terms)}->{''.join(result)}")


def _permutation(letters: Sequence[str]):  # type: ignore[no-untyped-def]
    from hypothesis import strategies as st

    return st.permutations(letters)


@draws("Attention", opsets=[23])
def attention(d: Drawing, name: str) -> Outputs:
    """Heads apart or together, keys for each head of the queries or for several, masks of every kind, a past of
    activations, all outputs."""
    groups, repeats = d.size(1, 2), d.size(1, 2)
    tokens, keys, width, depth = d.size(1, 4), d.size(1, 4), d.size(1, 3), d.size(1, 3)
    past = d.pick(0, 0, d.size(1, 3))
    if past:
        # onnxruntime leaves causality out for a single query with a past, which is right for a single new key only.
        keys = tokens
    apart = d.pick(True, False)
    heads = groups * repeats
    inputs = [
        d.x(count, length, size) if apart else d.x(length, count * size)
        for count, length, size in ((heads, tokens, width), (groups, keys, width), (groups, keys, depth))
    ]
    if d.pick(True, False, False, False):
        # Queries that were learned.
        inputs[0] = d.b.repeated(d.batch, *((heads, tokens, width) if apart else (tokens, heads * width)))
    attributes = {} if apart else {"q_num_heads": heads, "kv_num_heads": groups}
    mask = d.pick("none", "constant", "activation", "booleans", "constant booleans")
    front = d.pick([], [1], [heads])
    total = past + keys
    if mask == "constant":
        inputs.append(d.b.random(*([1] if front else []), *front, tokens, total))
    elif mask == "constant booleans":
        # A query has its first key at least.
        allowed = np.tril(np.ones((tokens, total), np.bool_), d.size(0, 2))
        inputs.append(d.b.constant(allowed))
    elif mask == "activation":
        inputs.append(d.x(1, tokens, total))
    elif mask == "booleans":
        first = np.zeros((tokens, total), np.bool_)
        first[:, 0] = True
        inputs.append(d.b.node("Or", d.condition(1, tokens, total), d.b.constant(first)))
    if past:
        make = d.x if d.pick(True, True, False) else lambda *sizes: d.b.repeated(d.batch, *sizes)
        inputs += [*([""] if mask == "none" else []), make(groups, past, width), make(groups, past, depth)]
    attributes |= d.optional(is_causal=1, scale=d.number(), softcap=d.number(1.0, 3.0))
    if not past:
        return d.b.node(name, *inputs, **attributes)
    outputs = d.b.nodes_of(name, 4, *inputs, **attributes)
    sizes = ([heads, tokens, depth], [groups, total, width], [groups, total, depth], [heads, tokens, total])
    d.b.shapes = {output: [d.batch, *size] for output, size in zip(outputs, sizes, strict=True)}
    if not apart:
        d.b.shapes[outputs[0]] = [d.batch, tokens, heads * depth]
    return tuple(outputs)


@draws("RotaryEmbedding", opsets=[23])
def rotary_embedding(d: Drawing, name: str) -> str:
    """Heads apart or together, all features or the first few, angles for each token or from a table of positions."""
    tokens, heads, pairs, rest = d.size(1, 4), d.size(1, 3), d.size(1, 3), d.pick(0, 0, 2)
    width = 2 * pairs + rest
    apart = d.pick(True, False)
    x = d.x(heads, tokens, width) if apart else d.x(tokens, heads * width)
    attributes: dict[str, object] = {"interleaved": d.pick(0, 1)}
    if not apart or rest:
        # onnxruntime wants to know the heads where only some features are turned.
        attributes["num_heads"] = heads
    if rest:
        attributes["rotary_embedding_dim"] = 2 * pairs
    kind = d.pick("constant", "activation", "constant positions", "positions")
    if kind == "constant":
        angles = [d.b.repeated(d.batch, tokens, pairs) for _ in range(2)]
        return d.b.node(name, x, *angles, **attributes)
    if kind == "activation":
        return d.b.node(name, x, d.x(tokens, pairs), d.x(tokens, pairs), **attributes)
    tables = [d.b.random(6, pairs), d.b.random(6, pairs)]
    if kind == "positions":
        places = d.b.input("positions", d.batch, tokens, kind=INT64)
    else:
        places = d.b.constant(np.array([d.sizes(tokens, 0, 5)] * d.batch, np.int64))
    return d.b.node(name, x, *tables, places, **attributes)
