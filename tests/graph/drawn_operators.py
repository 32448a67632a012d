"""How a random legal node of each operator is drawn: its attributes, the shapes of its inputs, and constants.

A drawing function is registered under the names of its operators and gives the model's outputs. What is drawn is
what the importer says that it takes; what it refuses is tested beside this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import onnx

from tests.graph.drawing import Drawing

Outputs = str | tuple[str, ...]
Draws = Callable[[Drawing, str], Outputs]

INT64 = onnx.TensorProto.INT64
DRAWS: dict[str, Draws] = {}
OPSETS: dict[str, tuple[int, ...]] = {}
"""Opsets that an operator is drawn in, where they are not the usual one."""
USUAL = (17,)


def draws(*names: str, opsets: Sequence[int] = ()) -> Callable[[Draws], Draws]:
    def register(function: Draws) -> Draws:
        for name in names:
            DRAWS[name] = function
            if opsets:
                OPSETS[name] = tuple(opsets)
        return function

    return register


# Element by element.


@draws(
    *(
        "Abs",
        "Ceil",
        "Cos",
        "Erf",
        "Exp",
        "Floor",
        "HardSwish",
        "Identity",
        "Neg",
        "Relu",
        "Round",
        "Sigmoid",
    ),
    *("Sign", "Sin", "Softplus", "Tanh"),
)
@draws("Mish", opsets=[18])
def unary(d: Drawing, name: str) -> str:
    return d.b.node(name, d.x(*d.sizes(d.size(1, 4))))


@draws("Log", "Reciprocal", "Sqrt")
def unary_of_positive(d: Drawing, name: str) -> str:
    return d.b.node(name, d.positive(*d.sizes(d.size(1, 3))))


@draws("Elu", "LeakyRelu", "ThresholdedRelu")
@draws("Swish", opsets=[24])
def with_alpha(d: Drawing, name: str) -> str:
    alpha = {} if name == "Swish" else d.optional(alpha=d.number())
    return d.b.node(name, d.x(*d.sizes(d.size(1, 4))), **alpha)


@draws("Selu")
def selu(d: Drawing, name: str) -> str:
    return d.b.node(name, d.x(*d.sizes(3)), **d.optional(alpha=d.number(), gamma=d.number()))


@draws("HardSigmoid")
def hard_sigmoid(d: Drawing, name: str) -> str:
    return d.b.node(name, d.x(*d.sizes(3)), **d.optional(alpha=d.number(), beta=d.number(-1.0, 1.0)))


@draws("Gelu", opsets=[20])
def gelu(d: Drawing, name: str) -> str:
    return d.b.node(name, d.x(*d.sizes(2)), approximate=d.pick("none", "tanh"))


@draws("Clip", opsets=[7, 17])
def clip(d: Drawing, name: str) -> str:
    x = d.x(*d.sizes(3))
    low, high = d.pick(0.0, d.number(-2.0, 0.0)), d.number(0.1, 2.0)
    if d.opset < 11:
        return d.b.node(name, x, **d.optional(min=low, max=high))
    limits = [d.b.number(limit) if d.pick(True, False) else "" for limit in (low, high)]
    return d.b.node(name, x, *limits)


@draws("Dropout", opsets=[7, 17])
def dropout(d: Drawing, name: str) -> str:
    return d.b.node(name, d.x(*d.sizes(3)))


@draws("Cast")
def cast(d: Drawing, name: str) -> str:
    x = d.b.node("Mul", d.x(*d.sizes(3)), d.b.number(4.0))
    return d.as_float(d.b.node(name, x, to=d.pick(1, 6, 7, 9)))


# Element by element, of several operands.


@draws("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean")
def binary(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 4))
    items = [d.x(*sizes), d.operand(sizes)]
    if name in ("Max", "Min", "Sum", "Mean") and d.pick(True, False):
        items.append(d.operand(sizes))
    return d.b.node(name, *(items[i] for i in d.order(len(items))))


@draws("Div", "Pow")
def of_positive(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    items = [d.positive(*sizes), d.operand(sizes, positive=True)]
    return d.b.node(name, *(items[i] for i in d.order(2)))


@draws("PRelu")
def prelu(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 4))
    return d.b.node(name, d.x(*sizes), d.b.random(*d.broadcast(sizes)))


@draws("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
def comparison(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 4))
    items = [d.b.node("Round", d.x(*sizes)), d.operand(sizes)]
    return d.as_float(d.b.node(name, *(items[i] for i in d.order(2))))


@draws("And", "Or")
def logic(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    other = d.pick("activation", "constant")
    values = d.condition(*[d.pick(1, size) for size in sizes])
    if other == "constant":
        values = d.b.constant(np.array(d.sizes(sizes[-1], 0, 1), np.bool_))
    return d.as_float(d.b.node(name, d.condition(*sizes), values))


@draws("Not")
def negation(d: Drawing, name: str) -> str:
    return d.as_float(d.b.node(name, d.condition(*d.sizes(d.size(1, 3)))))


@draws("Where")
def where(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    items = [d.x(*sizes), d.operand(sizes)]
    if d.pick(True, False):
        items = items[::-1]
    condition = d.condition(*[d.pick(1, size) for size in sizes])
    if d.pick(True, False, False):
        condition = d.b.constant(np.array(d.sizes(sizes[-1], 0, 1), np.bool_))
    return d.b.node(name, condition, *items)


# Convolutions, pools and products.


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
    if "auto_pad" not in attributes and "count_include_pad" not in attributes:
        attributes |= d.optional(ceil_mode=1)
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


# Normalisation and reduction.


@draws("BatchNormalization", opsets=[9, 17])
def batch_normalization(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    vectors = [d.b.random(sizes[0]) for _ in range(3)]
    return d.b.node(
        name,
        d.x(*sizes),
        *vectors,
        d.b.random(sizes[0], positive=True),
        **d.optional(epsilon=d.number(0.01, 1)),
    )


@draws("LayerNormalization")
@draws("RMSNormalization", opsets=[23])
def layer_normalization(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3), 2, 5)
    axis = d.size(1, len(sizes))
    inner = sizes[axis - 1 :]
    bias = [d.b.random(*inner)] if name == "LayerNormalization" and d.pick(True, False) else []
    attributes = d.optional(epsilon=d.number(0.01, 1))
    y = d.b.node(
        name, d.x(*sizes), d.b.random(*inner), *bias, axis=d.axis(axis, 1 + len(sizes)), **attributes
    )
    d.b.shapes[y] = [d.batch, *sizes]
    return y


@draws("InstanceNormalization")
@draws("GroupNormalization", opsets=[21])
def map_normalization(d: Drawing, name: str) -> str:
    groups = d.size(1, 3)
    channels = groups * d.size(1, 3)
    sizes = d.sizes(d.pick(1, 2), 2, 5)
    attributes = d.optional(epsilon=d.number(0.01, 1))
    if name == "GroupNormalization":
        attributes["num_groups"] = groups
    y = d.b.node(name, d.x(channels, *sizes), d.b.random(channels), d.b.random(channels), **attributes)
    d.b.shapes[y] = [d.batch, channels, *sizes]
    return y


@draws("LRN")
def lrn(d: Drawing, name: str) -> str:
    attributes = d.optional(alpha=d.number(), beta=d.number(), bias=d.number(1.0, 2.0))
    return d.b.node(name, d.x(*d.sizes(3)), size=d.pick(1, 3, 5), **attributes)


@draws("Softmax", "LogSoftmax", opsets=[11, 17])
def softmax(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    axis = d.size(1, len(sizes))
    return d.b.node(name, d.x(*sizes), axis=d.axis(axis, 1 + len(sizes)) if d.opset > 11 else axis)


@draws(
    *("ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSumSquare"),
    "ReduceSum",
    opsets=[11, 18],
)
def reduction(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    # A file that is written for one image may reduce its first dimension, which holds no more than that.
    found = [d.axis(axis, 1 + len(sizes)) for axis in d.some(range(int(d.batch > 1), 1 + len(sizes)))]
    keep = d.optional(keepdims=d.pick(0, 1))
    if d.batch == 1 and d.pick(True, False, False):
        return d.b.node(name, d.x(*sizes), **keep)
    if d.opset < 13:
        return d.b.node(name, d.x(*sizes), axes=found, **keep)
    if d.pick(True, False, False):
        return d.b.node(name, d.x(*sizes), noop_with_empty_axes=1, **keep)
    return d.b.node(name, d.x(*sizes), d.b.integers(*found), **keep)


# Views, parts and copies.


@draws("Reshape")
def reshape(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3), 1, 6)
    elements = int(np.prod(sizes))
    target = [d.batch]
    while elements > 1 and len(target) < 4:
        target.append(d.pick(*[n for n in range(1, elements + 1) if elements % n == 0]))
        elements //= target[-1]
    target.append(elements)
    if d.pick(True, False, False):
        target[0:2] = [target[0] * target[1]]
    elif d.pick(True, False):
        target[0] = 0
    if d.pick(True, False) and 0 not in target[1:]:
        target[-1] = -1
    return d.b.node(name, d.x(*sizes), d.b.integers(*target))


@draws("Flatten")
def flatten(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    axis = d.size(1, 1 + len(sizes))
    if axis <= len(sizes):
        axis = d.axis(axis, 1 + len(sizes))
    return d.b.node(name, d.x(*sizes), axis=axis)


@draws("Transpose")
def transpose(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 4), 1, 4)
    return d.b.node(name, d.x(*sizes), **d.optional(perm=[0, *(1 + axis for axis in d.order(len(sizes)))]))


@draws("Squeeze", opsets=[11, 17])
def squeeze(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3), 2, 4)
    ones = sorted(d.some(range(4)))
    shape = list(sizes)
    for place in ones:
        shape.insert(min(place, len(shape)), 1)
    axes = [1 + axis for axis, size in enumerate(shape) if size == 1]
    if d.opset < 13:
        return d.b.node(name, d.x(*shape), axes=axes)
    if d.batch > 1 and d.pick(True, False):
        return d.b.node(name, d.x(*shape))
    return d.b.node(name, d.x(*shape), d.b.integers(*(d.axis(axis, 1 + len(shape)) for axis in axes)))


@draws("Unsqueeze", opsets=[11, 17])
def unsqueeze(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    count = d.size(1, 2)
    axes = d.some(range(1 + len(sizes) + count), count)[:count]
    if d.opset < 13:
        return d.b.node(name, d.x(*sizes), axes=sorted(axes))
    axes = [d.axis(axis, 1 + len(sizes) + count) for axis in axes]
    return d.b.node(name, d.x(*sizes), d.b.integers(*axes))


@draws("Expand")
def expand(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    given = [d.pick(1, size) for size in sizes]
    return d.b.node(name, d.x(*given), d.b.integers(*sizes[d.size(0, len(sizes) - 1) :]))


@draws("Tile")
def tile(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3), 1, 4)
    return d.b.node(name, d.x(*sizes), d.b.integers(1, *d.sizes(len(sizes), 1, 3)))


@draws("Slice", opsets=[9, 17])
def slice_(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3), 1, 6)
    axes = d.some(range(1, 1 + len(sizes)))
    starts, ends, steps = [], [], []
    for axis in axes:
        size = sizes[axis - 1]
        start = d.size(0, size - 1)
        stop = d.size(start + 1, size)
        step = d.pick(1, 1, 2, 3)
        if d.opset > 9 and d.pick(True, False):
            # The same positions from behind; before the first one is -size - 1.
            start, stop, step = stop - 1, (start - 1 if start else -size - 1), -step
        elif d.pick(True, False):
            start -= size
        starts.append(start)
        ends.append(stop)
        steps.append(step)
    if d.opset < 10:
        return d.b.node(name, d.x(*sizes), axes=axes, starts=starts, ends=ends)
    places = [
        d.b.integers(*values) for values in (starts, ends, [d.axis(a, 1 + len(sizes)) for a in axes], steps)
    ]
    return d.b.node(name, d.x(*sizes), *places)


@draws("Split", opsets=[11, 17, 18])
def split(d: Drawing, name: str) -> tuple[str, ...]:
    sizes = d.sizes(d.size(1, 3), 2, 6)
    axis = d.size(1, len(sizes))
    place = d.axis(axis, 1 + len(sizes))
    size = sizes[axis - 1]
    count = d.size(2, min(3, size))
    x = d.x(*sizes)
    if d.opset == 18 and d.pick(True, False):
        outputs = d.b.nodes_of(name, count, x, axis=place, num_outputs=count)
        return (
            tuple(outputs)
            if -(-size // count) * (count - 1) < size
            else _parts(d, name, x, place, size, count)
        )
    return _parts(d, name, x, place, size, count)


def _parts(d: Drawing, name: str, x: str, axis: int, size: int, count: int) -> tuple[str, ...]:
    cuts = [0, *sorted(d.some(range(1, size), count - 1)[: count - 1]), size]
    parts = [b - a for a, b in pairwise(cuts)]
    if d.opset < 13:
        return tuple(d.b.nodes_of(name, count, x, axis=axis, split=parts))
    return tuple(d.b.nodes_of(name, count, x, d.b.integers(*parts), axis=axis))


@draws("Concat")
def concat(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    axis = d.size(1, len(sizes))
    items = [d.x(*sizes)]
    for _ in range(d.size(0, 2)):
        other = list(sizes)
        other[axis - 1] = d.size()
        constant = d.batch == 1 and d.pick(True, False, False)
        items.append(d.b.random(1, *other) if constant else d.x(*other))
    return d.b.node(name, *(items[i] for i in d.order(len(items))), axis=d.axis(axis, 1 + len(sizes)))


@draws("Pad", opsets=[7, 17])
def pad(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3), 2, 5)
    mode = d.pick("constant", "constant", "reflect", "edge")
    least = -1 if mode == "constant" else 0
    around = [
        [d.size(0 if size < 3 else least, 1 if mode == "reflect" else 3) for size in sizes] for _ in range(2)
    ]
    pads = [0, *around[0], 0, *around[1]]
    value = d.pick(0.0, d.number())
    if d.opset < 11:
        return d.b.node(name, d.x(*sizes), pads=pads, mode=mode, value=value)
    filler = [d.b.number(value)] if mode == "constant" and d.pick(True, False) else []
    return d.b.node(name, d.x(*sizes), d.b.integers(*pads), *filler, mode=mode)


@draws("Gather")
def gather(d: Drawing, name: str) -> str:
    if d.pick(True, False):
        entries = d.pick(3, 3000)
        indices = d.b.input("i", d.batch, *d.sizes(d.size(1, 2)), kind=INT64)
        return d.b.node(name, d.b.random(entries, d.size()), indices)
    sizes = d.sizes(d.size(1, 3))
    axis = d.size(1, len(sizes))
    shape = d.pick((), (1,), (3,), (2, 2))
    size = sizes[axis - 1]
    places = np.array([d.size(-size, size - 1) for _ in range(int(np.prod(shape)))], np.int64).reshape(shape)
    return d.b.node(name, d.x(*sizes), d.b.constant(places), axis=d.axis(axis, 1 + len(sizes)))


@draws("DepthToSpace")
def depth_to_space(d: Drawing, name: str) -> str:
    block = d.size(1, 3)
    x = d.x(block * block * d.size(1, 2), *d.sizes(2, 1, 3))
    return d.b.node(name, x, blocksize=block, **d.optional(mode=d.pick("DCR", "CRD")))


@draws("SpaceToDepth")
def space_to_depth(d: Drawing, name: str) -> str:
    block = d.size(1, 3)
    return d.b.node(name, d.x(d.size(1, 3), block * d.size(1, 2), block * d.size(1, 2)), blocksize=block)


@draws("Resize", opsets=[11, 18])
def resize(d: Drawing, name: str) -> str:
    sizes = [d.size(1, 3), *d.sizes(2, 1, 5)]
    mode = d.pick("nearest", "linear", "cubic")
    coordinates = d.pick("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    attributes: dict[str, object] = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if mode == "nearest":
        attributes["nearest_mode"] = d.pick("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    x = d.x(*sizes)
    none = "" if d.opset > 11 else d.b.constant(np.zeros(0, np.float32))
    if d.pick(True, False):
        scales = np.array([1, 1, *(d.pick(1.0, 2.0, 3.0, 1.5, 0.5) for _ in range(2))], np.float32)
        scales = np.maximum(scales, 1 / np.array([1, 1, *sizes[1:]], np.float32))
        return d.b.node(name, x, none, d.b.constant(scales), **attributes)
    return d.b.node(name, x, none, none, d.b.integers(d.batch, sizes[0], *d.sizes(2, 1, 8)), **attributes)


@draws("Upsample", opsets=[9])
def upsample(d: Drawing, name: str) -> str:
    scales = np.array([1, 1, *(d.pick(1.0, 2.0, 3.0, 1.5) for _ in range(2))], np.float32)
    sizes = d.sizes(3)
    y = d.b.node(name, d.x(*sizes), d.b.constant(scales), mode=d.pick("nearest", "linear"))
    d.b.shapes[y] = [
        d.batch,
        sizes[0],
        *(int(size * scale) for size, scale in zip(sizes[1:], scales[2:], strict=True)),
    ]
    return y


# Loops.


@draws("LSTM", "GRU")
def loop(d: Drawing, name: str) -> tuple[str, ...]:
    gates, states = (4, 2) if name == "LSTM" else (3, 1)
    steps, features, hidden = d.sizes(3, 1, 4)
    direction = d.pick("forward", "reverse", "bidirectional")
    ways = 2 if direction == "bidirectional" else 1
    x = d.b.node("Transpose", d.x(steps, features), perm=[1, 0, 2])
    bias = d.b.random(ways, 2 * gates * hidden) if d.pick(True, False) else ""
    inputs = [x, d.b.random(ways, gates * hidden, features), d.b.random(ways, gates * hidden, hidden), bias]
    given = d.pick("", "input")
    if given:
        first = [d.b.node("Transpose", d.x(ways, hidden), perm=[1, 0, 2]) for _ in range(states)]
        inputs += ["", *first]
    late = d.optional(linear_before_reset=1) if name == "GRU" else {}
    found = d.b.nodes_of(name, 1 + states, *inputs, hidden_size=hidden, direction=direction, **late)
    rows = d.b.node("Transpose", found[0], perm=[2, 0, 1, 3])
    return (rows, *(d.b.node("Transpose", final, perm=[1, 0, 2]) for final in found[1:]))
