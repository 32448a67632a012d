"""Normalisation and reduction."""

from __future__ import annotations

import numpy as np
import onnx

from tests.graph.drawing import Drawing
from tests.graph.drawn.registry import draws


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


@draws("LpNormalization")
def lp_normalization(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    axis = d.axis(d.size(1, len(sizes)), 1 + len(sizes))
    return d.b.node(name, d.positive(*sizes), axis=axis, **d.optional(p=d.pick(1, 2)))


@draws("CumSum")
def cum_sum(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    axis = d.axis(d.size(1, len(sizes)), 1 + len(sizes))
    along = d.b.constant(np.array(axis, np.int64))
    return d.b.node(name, d.x(*sizes), along, **d.optional(exclusive=1, reverse=1))


@draws("ArgMax", "ArgMin")
def arg_reduction(d: Drawing, name: str) -> str:
    """Rounded numbers are often equal: then the first place counts, or the last one."""
    sizes = d.sizes(d.size(1, 3))
    x = d.x(*sizes)
    x = d.b.node("Round", x) if d.pick(True, False) else x
    axis = d.axis(d.size(int(d.batch > 1), len(sizes)), 1 + len(sizes))
    attributes = d.optional(keepdims=d.pick(0, 1), select_last_index=d.pick(0, 1))
    return d.b.node("Cast", d.b.node(name, x, axis=axis, **attributes), to=onnx.TensorProto.FLOAT)


@draws("Softmax", "LogSoftmax", opsets=[11, 17])
def softmax(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    axis = d.size(1, len(sizes))
    return d.b.node(name, d.x(*sizes), axis=d.axis(axis, 1 + len(sizes)) if d.opset > 11 else axis)


@draws(
    *("ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSumSquare"),
    *("ReduceSum", "ReduceLogSum"),
    opsets=[11, 18],
)
def reduction(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    # A file that is written for one image may reduce its first dimension, which holds no more than that.
    found = [d.axis(axis, 1 + len(sizes)) for axis in d.some(range(int(d.batch > 1), 1 + len(sizes)))]
    keep = d.optional(keepdims=d.pick(0, 1))
    make = d.positive if name == "ReduceLogSum" else d.x
    if d.batch == 1 and d.pick(True, False, False):
        return d.b.node(name, make(*sizes), **keep)
    if d.opset < 13:
        return d.b.node(name, make(*sizes), axes=found, **keep)
    if d.pick(True, False, False):
        return d.b.node(name, make(*sizes), noop_with_empty_axes=1, **keep)
    return d.b.node(name, make(*sizes), d.b.integers(*found), **keep)
