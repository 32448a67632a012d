"""Small networks of several operators, and corners that random ones (test_drawn_operators) seldom meet: whole and in
slices against onnxruntime, and the same structure without weights.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from graph.importer import load_model
from graph.network import Network
from tests.graph.checking import check_model
from tests.graph.onnx_helpers import GraphBuilder

INT64 = onnx.TensorProto.INT64
Build = Callable[[GraphBuilder], str | tuple[str, ...]]
CASES: dict[str, Build] = {}


def case(build: Build) -> Build:
    CASES[build.__name__] = build
    return build


@case
def split(b):
    o = b.nodes_of("Split", 3, b.input("x", 1, 9, 5, 4), axis=1)
    return b.node("Add", b.node("Mul", o[0], o[2]), o[1])


@case
def qkv(b):
    x = b.node("MatMul", b.input("x", 1, 6, 8), b.random(8, 24))
    x = b.node("Reshape", x, b.integers(1, 6, 3, 2, 4))
    x = b.node("Transpose", x, perm=[2, 0, 3, 1, 4])
    q, k, v = (b.node("Gather", x, b.constant(np.array(i, np.int64)), axis=0) for i in range(3))
    s = b.node(
        "Softmax",
        b.node("Mul", b.node("MatMul", q, b.node("Transpose", k, perm=[0, 1, 3, 2])), b.number(0.5)),
        axis=-1,
    )
    y = b.node("Transpose", b.node("MatMul", s, v), perm=[0, 2, 1, 3])
    return b.node("MatMul", b.node("Reshape", y, b.integers(1, 6, 8)), b.random(8, 8))


@case
def pad_tok(b):
    return b.node("Pad", b.input("x", 1, 5, 6), b.integers(0, 2, 1, 0, 1, 3))


@case
def where_scalar(b):
    x = b.input("x", 1, 4, 5, 6)
    return b.node("Where", b.node("Greater", x, b.number(0.0)), x, b.number(-3.0))


@case
def where_inf(b):
    x = b.input("x", 1, 4, 5)
    return b.node("Softmax", b.node("Where", b.node("Less", x, b.number(1.0)), x, b.number(-np.inf)))


@case
def where_const(b):
    x = b.input("x", 1, 5, 5)
    c = b.constant(np.tril(np.ones((5, 5), bool))[None])
    return b.node("Softmax", b.node("Where", c, x, b.number(-np.inf)))


@case
def where_two(b):
    x = b.input("x", 1, 5, 5)
    y = b.input("y", 1, 1, 5)
    return b.node("Where", b.node("Not", b.node("Less", y, b.number(0))), x, y)


@case
def where_consts(b):
    x = b.input("x", 1, 5, 5)
    return b.node("Where", b.node("Less", x, b.number(0)), b.random(5, 1), b.number(7.0))


@case
def cast_mask(b):
    m = b.input("m", 1, 6, kind=INT64)
    s = b.input("s", 1, 2, 6, 6)
    u = b.node("Cast", b.node("Unsqueeze", m, b.integers(1, 2)), to=1)
    u = b.node("Mul", b.node("Sub", b.number(1.0), u), b.number(-1e4))
    return b.node("Softmax", b.node("Add", s, u), axis=-1)


@case
def convt_cut(b):
    x = b.input("x", 1, 4, 2, 5)
    attributes = {"group": 2, "strides": [3, 3], "dilations": [3, 3], "pads": [0, 0, 2, 1]}
    return b.node("ConvTranspose", x, b.random(4, 3, 1, 2), b.random(6), **attributes)


@case
def rs_near_odd(b):
    return b.node("Resize", b.input("x", 1, 4, 5, 6), "", "", b.integers(1, 4, 8, 4))


@case
def lstm_init(b):
    x = b.node("Transpose", b.input("x", 1, 3, 3), perm=[1, 0, 2])
    h = b.node("Unsqueeze", b.input("h", 1, 4), b.integers(0))
    c = b.node("Unsqueeze", b.input("c", 1, 4), b.integers(0))
    o = b.nodes_of("LSTM", 3, x, b.random(1, 16, 3), b.random(1, 16, 4), "", "", h, c, hidden_size=4)
    return o[0], o[2]


@case
def concat_tok(b):
    x = b.input("x", 1, 4, 6)
    return b.node("Concat", x, b.input("y", 1, 4, 3), axis=-1)


@case
def stack(b):
    x = b.input("x", 1, 4, 6)
    u = [b.node("Unsqueeze", v, b.integers(1)) for v in (x, b.node("Relu", x))]
    return b.node("Concat", *u, axis=1)


@case
def emb2(b):
    return b.node(
        "Add",
        b.node("Gather", b.random(3000, 6), b.input("i", 1, 7, kind=INT64)),
        b.node("Gather", b.random(20, 6), b.input("j", 1, 7, kind=INT64)),
    )


@case
def emb_cast(b):
    i = b.node("Cast", b.input("i", 2, 6, kind=onnx.TensorProto.INT32), to=7)
    y = b.node("Gather", b.random(30, 6), b.node("Reshape", i, b.integers(12)))
    return b.node("MatMul", b.node("Reshape", y, b.integers(2, 3, 12)), b.random(12, 2))


@case
def matmul_vec(b):
    return b.node("MatMul", b.input("x", 1, 4, 5), b.random(5))


@case
def gemm2(b):
    return b.node(
        "Gemm",
        b.node("Squeeze", b.input("x", 1, 4, 5), b.integers(0)),
        b.node("Squeeze", b.input("y", 1, 4, 6), b.integers(0)),
        b.random(6),
        transA=1,
        alpha=0.5,
        beta=3.0,
    )


CASES["logsqrt"] = lambda b: b.node(
    "Reciprocal",
    b.node("Sqrt", b.node("Log", b.node("Add", b.node("Abs", b.input("x", 1, 3, 4, 4)), b.number(1.5)))),
)


@case
def pow_(b):
    return b.node("Pow", b.node("Pow", b.node("Abs", b.input("x", 1, 3, 4)), b.number(0.5)), b.random(4))


@case
def outer(b):
    return b.node("Add", b.input("x", 1, 3, 1), b.input("y", 1, 1, 5))


@case
def bn_tok(b):
    return b.node(
        "BatchNormalization",
        b.node("Transpose", b.input("x", 1, 5, 3), perm=[0, 2, 1]),
        *[b.random(3) for _ in range(3)],
        b.random(3, positive=True),
    )


@case
def mixed_layout(b):
    x = b.input("x", 1, 4, 3, 5)
    t = b.node("Transpose", b.node("Reshape", x, b.integers(1, 4, 15)), perm=[0, 2, 1])
    t = b.node("MatMul", t, b.random(4, 4))
    return b.node("Add", x, b.node("Reshape", b.node("Transpose", t, perm=[0, 2, 1]), b.integers(1, 4, 3, 5)))


@case
def odd_reshape(b):
    return b.node(
        "MatMul",
        b.node(
            "Reshape", b.node("Transpose", b.input("x", 1, 4, 3, 5), perm=[0, 3, 1, 2]), b.integers(1, 6, 10)
        ),
        b.random(10, 3),
    )


@case
def nhwc(b):
    return b.node(
        "Conv", b.node("Transpose", b.input("x", 1, 6, 5, 3), perm=[0, 3, 1, 2]), b.random(4, 3, 3, 3)
    )


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, tmp_path: Path) -> None:
    builder = GraphBuilder(14)
    outputs = CASES[name](builder)
    path = builder.save(tmp_path, *((outputs,) if isinstance(outputs, str) else outputs))
    model = load_model(path, batch=2)
    assert _structure(model.network) == _structure(load_model(path, batch=2, weights=False).network)
    names = [layer.name for layer in model.network.layers]
    assert len(set(names)) == len(names)
    check_model(model)


def _structure(network: Network) -> object:
    return network.tensors, [
        (
            layer.name,
            layer.anchor,
            layer.inputs,
            layer.maps,
            layer.output,
            *tuple((step.op, step.tensor, step.parameter) for step in layer.steps),
        )
        for layer in network.layers
    ]
