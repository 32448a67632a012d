"""One small network for each operator and its attributes: whole and in slices against onnxruntime, and the
same structure without weights.
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
def slice_hw(b):
    return b.node(
        "Slice",
        b.input("x", 1, 4, 7, 8),
        b.integers(1, 2),
        b.integers(6, 8),
        b.integers(2, 3),
        b.integers(2, 1),
    )


@case
def slice_ch(b):
    return b.node(
        "Relu", b.node("Slice", b.input("x", 1, 8, 5, 4), b.integers(2), b.integers(6), b.integers(1))
    )


@case
def slice_rev(b):
    return b.node(
        "Slice", b.input("x", 1, 8, 5, 4), b.integers(-1), b.integers(-100), b.integers(1), b.integers(-1)
    )


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
def expand(b):
    return b.node("Expand", b.input("x", 1, 4, 1, 3), b.integers(1, 4, 5, 3))


@case
def tile(b):
    return b.node("Tile", b.input("x", 1, 4, 2, 3), b.integers(1, 2, 3, 1))


@case
def d2s(b):
    return b.node("DepthToSpace", b.input("x", 1, 8, 3, 2), blocksize=2)


@case
def d2s_crd(b):
    return b.node("Relu", b.node("DepthToSpace", b.input("x", 1, 8, 3, 2), blocksize=2, mode="CRD"))


@case
def s2d(b):
    return b.node("SpaceToDepth", b.input("x", 1, 3, 4, 6), blocksize=2)


for m, v in (("constant", 0.0), ("constant", 2.0), ("reflect", 0.0), ("edge", 0.0)):

    def f(b, m=m, v=v):
        return b.node(
            "Pad", b.input("x", 1, 3, 5, 6), b.integers(0, 1, 2, 1, 0, 0, 1, 2), b.number(v), mode=m
        )

    CASES[f"pad_{m}_{v:g}"] = f


@case
def pad_zero_hw(b):
    return b.node("Pad", b.input("x", 1, 3, 5, 6), b.integers(0, 0, 2, 1, 0, 0, 1, 2))


@case
def pad_neg(b):
    return b.node("Pad", b.input("x", 1, 3, 5, 6), b.integers(0, 0, -2, 1, 0, 0, 1, -2))


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
def cast_int(b):
    return b.node("Cast", b.node("Cast", b.node("Mul", b.input("x", 1, 4, 5), b.number(5.0)), to=7), to=1)


@case
def cast_bool(b):
    return b.node("Cast", b.node("Cast", b.node("Floor", b.input("x", 1, 4, 5)), to=9), to=1)


for i, (a) in enumerate(
    [
        {},
        {"strides": [2, 2]},
        {"strides": [2, 3], "pads": [1, 1, 1, 0]},
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 0]},
        {"dilations": [2, 1], "strides": [3, 2]},
        {"group": 2, "strides": [2, 2]},
        {"strides": [3, 2], "output_shape": [13, 9]},
        {"strides": [4, 5]},
        {"pads": [2, 2, 2, 2]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
    ]
):

    def f(b, a=a):
        return b.node(
            "Relu",
            b.node(
                "ConvTranspose",
                b.input("x", 1, 4, 4, 5),
                b.random(4, 6 // a.get("group", 1), 3, 3),
                b.random(6),
                **a,
            ),
        )

    CASES[f"convt{i}"] = f


@case
def convt_cut(b):
    x = b.input("x", 1, 4, 2, 5)
    attributes = {"group": 2, "strides": [3, 3], "dilations": [3, 3], "pads": [0, 0, 2, 1]}
    return b.node("ConvTranspose", x, b.random(4, 3, 1, 2), b.random(6), **attributes)


@case
def convt1d(b):
    return b.node("ConvTranspose", b.input("x", 1, 4, 7), b.random(4, 3, 4), strides=[2], pads=[1, 1])


@case
def conv1d(b):
    return b.node(
        "Conv", b.input("x", 1, 4, 9), b.random(6, 2, 3), b.random(6), strides=[2], pads=[1, 1], group=2
    )


@case
def inorm(b):
    return b.node("InstanceNormalization", b.input("x", 1, 4, 5, 6), b.random(4), b.random(4))


@case
def rs_near(b):
    return b.node(
        "Resize",
        b.input("x", 1, 4, 3, 5),
        "",
        b.constant(np.array([1, 1, 2, 3], np.float32)),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


@case
def rs_near_half(b):
    return b.node("Resize", b.input("x", 1, 4, 3, 5), "", b.constant(np.array([1, 1, 2, 2], np.float32)))


@case
def rs_near_odd(b):
    return b.node("Resize", b.input("x", 1, 4, 5, 6), "", "", b.integers(1, 4, 8, 4))


@case
def rs_lin(b):
    return b.node(
        "Resize",
        b.input("x", 1, 4, 5, 6),
        "",
        b.constant(np.array([1, 1, 2, 1.5], np.float32)),
        mode="linear",
    )


@case
def rs_lin_ac(b):
    return b.node(
        "Resize",
        b.input("x", 1, 4, 5, 6),
        "",
        "",
        b.integers(1, 4, 9, 3),
        mode="linear",
        coordinate_transformation_mode="align_corners",
    )


@case
def rs_cubic(b):
    return b.node(
        "Resize", b.input("x", 1, 4, 5, 6), "", b.constant(np.array([1, 1, 2, 2], np.float32)), mode="cubic"
    )


for d in ("forward", "reverse", "bidirectional"):
    n = 2 if d == "bidirectional" else 1

    def f(b, d=d, n=n):
        x = b.node("Transpose", b.input("x", 1, 5, 3), perm=[1, 0, 2])
        o = b.nodes_of(
            "LSTM", 3, x, b.random(n, 16, 3), b.random(n, 16, 4), b.random(n, 32), hidden_size=4, direction=d
        )
        y = b.node("Reshape", b.node("Transpose", o[0], perm=[2, 0, 1, 3]), b.integers(1, 5, -1))
        return y, o[1], o[2]

    CASES["lstm_" + d] = f
    for late in (0, 1):

        def g(b, d=d, n=n, late=late):
            x = b.node("Transpose", b.input("x", 1, 5, 3), perm=[1, 0, 2])
            o = b.nodes_of(
                "GRU",
                2,
                x,
                b.random(n, 12, 3),
                b.random(n, 12, 4),
                b.random(n, 24),
                "",
                b.random(n, 1, 4),
                hidden_size=4,
                direction=d,
                linear_before_reset=late,
            )
            return o[0], o[1]

        CASES[f"gru_{d}{late}"] = g


@case
def lstm_init(b):
    x = b.node("Transpose", b.input("x", 1, 3, 3), perm=[1, 0, 2])
    h = b.node("Unsqueeze", b.input("h", 1, 4), b.integers(0))
    c = b.node("Unsqueeze", b.input("c", 1, 4), b.integers(0))
    o = b.nodes_of("LSTM", 3, x, b.random(1, 16, 3), b.random(1, 16, 4), "", "", h, c, hidden_size=4)
    return o[0], o[2]


@case
def concat_w(b):
    x = b.input("x", 1, 4, 3, 5)
    return b.node("Concat", x, b.node("Relu", x), axis=3)


@case
def concat_h(b):
    x = b.input("x", 1, 4, 3, 5)
    return b.node("Concat", x, b.node("Relu", x), b.random(1, 4, 2, 5), axis=2)


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
def emb_2d(b):
    return b.node("Gather", b.random(30, 6), b.input("i", 1, 3, 4, kind=onnx.TensorProto.INT32))


@case
def gather_odd(b):
    return b.node(
        "Gather", b.input("x", 1, 6, 5, 4), b.constant(np.array([[0, 2, 1], [5, 5, 4]], np.int64)), axis=1
    )


@case
def matmul_bcast(b):
    return b.node("MatMul", b.input("x", 1, 3, 4, 5), b.input("y", 1, 1, 5, 2))


@case
def matmul_bcast2(b):
    return b.node("MatMul", b.input("x", 1, 1, 4, 5), b.input("y", 1, 3, 5, 2))


@case
def matmul_constleft(b):
    return b.node("MatMul", b.random(3, 4), b.input("y", 1, 4, 5))


@case
def matmul_grouped(b):
    return b.node("MatMul", b.input("x", 1, 3, 4, 5), b.random(3, 5, 2))


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


@case
def ln(b):
    return b.node("LayerNormalization", b.input("x", 1, 4, 5), b.random(5), b.random(5))


@case
def ln_chan(b):
    return b.node(
        "LayerNormalization", b.input("x", 1, 4, 3, 5), b.random(4, 3, 5), b.random(4, 3, 5), axis=1
    )


for n in (
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceSumSquare",
    "ReduceL2",
    "ReduceL1",
    "ReduceLogSumExp",
):
    for ax in ([1], [2], [2, 3], [1, 2], [-1], [0, 1, 2, 3]):

        def f(b, n=n, ax=ax):
            return b.node(n, b.input("x", 1, 4, 3, 5), axes=ax, keepdims=len(ax) % 2)

        CASES[n + str(ax)] = f


@case
def redsum(b):
    return b.node("ReduceSum", b.input("x", 1, 4, 3, 5), b.integers(1, 3), keepdims=0)


for n in (
    "Abs",
    "Ceil",
    "Cos",
    "Erf",
    "Exp",
    "Floor",
    "Round",
    "Sigmoid",
    "Sign",
    "Sin",
    "Softplus",
    "Tanh",
    "Relu",
    "Neg",
    "LeakyRelu",
    "Elu",
    "Selu",
    "HardSigmoid",
    "HardSwish",
    "ThresholdedRelu",
):
    CASES[n] = lambda b, n=n: b.node(n, b.node("Conv", b.input("x", 1, 3, 4, 4), b.random(3, 3, 1, 1)))
CASES["Mish"] = lambda b: b.node("Mish", b.input("x", 1, 3, 4, 4))
CASES["logsqrt"] = lambda b: b.node(
    "Reciprocal",
    b.node("Sqrt", b.node("Log", b.node("Add", b.node("Abs", b.input("x", 1, 3, 4, 4)), b.number(1.5)))),
)
CASES["prelu"] = lambda b: b.node("PRelu", b.input("x", 1, 3, 4, 4), b.random(3, 1, 1))
for n in ("Sub", "Div", "Max", "Min", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"):
    for k in range(5):

        def f(b, n=n, k=k):
            x = b.node("Conv", b.input("x", 1, 3, 4, 5), b.random(3, 3, 1, 1))
            o = [
                lambda: b.number(2.0),
                lambda: b.random(3, 1, 1, positive=True),
                lambda: b.random(4, 1, positive=True),
                lambda: b.node("Exp", b.input("y", 1, 3, 4, 5)),
                lambda: b.node("Exp", b.input("y", 1, 1, 5)),
            ][k]()
            y = b.node(n, *((x, o) if k % 2 else (o, b.node("Exp", x))))
            return b.node("Cast", y, to=1) if n[:4] in ("Less", "Grea") else y

        CASES[n + str(k)] = f


@case
def pow_(b):
    return b.node("Pow", b.node("Pow", b.node("Abs", b.input("x", 1, 3, 4)), b.number(0.5)), b.random(4))


@case
def outer(b):
    return b.node("Add", b.input("x", 1, 3, 1), b.input("y", 1, 1, 5))


@case
def mean(b):
    x = b.input("x", 1, 3, 4)
    return b.node("Mean", x, b.node("Relu", x), b.random(4))


@case
def bn_tok(b):
    return b.node(
        "BatchNormalization",
        b.node("Transpose", b.input("x", 1, 5, 3), perm=[0, 2, 1]),
        *[b.random(3) for _ in range(3)],
        b.random(3, positive=True),
    )


@case
def softmax_mid(b):
    return b.node("Softmax", b.input("x", 1, 4, 3, 5), axis=2)


@case
def logsoftmax(b):
    return b.node("LogSoftmax", b.input("x", 1, 4, 3, 5), axis=1)


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
def pool1d(b):
    return b.node("MaxPool", b.input("x", 1, 4, 9), kernel_shape=[3], strides=[2])


@case
def nhwc(b):
    return b.node(
        "Conv", b.node("Transpose", b.input("x", 1, 6, 5, 3), perm=[0, 3, 1, 2]), b.random(4, 3, 3, 3)
    )


def gn18(b):
    x = b.input("x", 1, 4, 3, 6)
    y = b.node("GroupNormalization", x, b.random(4), b.random(4), num_groups=2)
    b.shapes[y] = [1, 4, 3, 6]
    return y


CASES["gn18"] = gn18
CASES["gelu20"] = lambda b: b.node("Gelu", b.input("x", 1, 4, 3), approximate="tanh")

OPSET = {"Mish": 18, "gn18": 21, "gelu20": 20, "ln": 17, "ln_chan": 17}


@pytest.mark.parametrize("name", CASES)
def test_operator(name: str, tmp_path: Path) -> None:
    builder = GraphBuilder(OPSET.get(name, 14))
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
