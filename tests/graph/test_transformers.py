"""Transformers: the usual attention moves no data, patterns become one step, and batches are per image."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from graph.counts import macs_per_image, weight_elements_total
from graph.errors import ModelError
from graph.importer import load_model
from graph.primitives import Contraction, Embedding, MatMul, Move, Normalize, Softmax, StepOp
from tests.graph.checking import check_model
from tests.graph.onnx_helpers import GraphBuilder

T, D, HEADS = 5, 8, 2


def _linear(builder: GraphBuilder, value: str, inputs: int, outputs: int) -> str:
    product = builder.node("MatMul", value, builder.random(inputs, outputs))
    return builder.node("Add", product, builder.random(outputs))


def _norm(builder: GraphBuilder, value: str) -> str:
    centred = builder.node("Sub", value, builder.node("ReduceMean", value, axes=[-1]))
    square = builder.node("ReduceMean", builder.node("Pow", centred, builder.number(2.0)), axes=[-1])
    root = builder.node("Sqrt", builder.node("Add", square, builder.number(1e-5)))
    scaled = builder.node("Mul", builder.node("Div", centred, root), builder.random(D))
    return builder.node("Add", scaled, builder.random(D))


def _encoder(builder: GraphBuilder, value: str, batch: int) -> str:
    heads = []
    for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
        split = builder.node("Reshape", _linear(builder, value, D, D), builder.integers(batch, T, HEADS, -1))
        heads.append(builder.node("Transpose", split, perm=perm))
    scores = builder.node("Div", builder.node("MatMul", heads[0], heads[1]), builder.number(2.0))
    mixed = builder.node("MatMul", builder.node("Softmax", scores, axis=-1), heads[2])
    flat = builder.node(
        "Reshape", builder.node("Transpose", mixed, perm=[0, 2, 1, 3]), builder.integers(0, 0, D)
    )
    value = _norm(builder, builder.node("Add", _linear(builder, flat, D, D), value))
    wide = _linear(builder, value, D, 2 * D)
    inner = builder.node("Erf", builder.node("Div", wide, builder.number(2**0.5)))
    gelu = builder.node("Mul", wide, builder.node("Add", inner, builder.number(1.0)))
    gelu = builder.node("Mul", gelu, builder.number(0.5))
    return _norm(builder, builder.node("Add", _linear(builder, gelu, 2 * D, D), value))


@pytest.mark.parametrize("batch", [1, 2])
def test_encoder_moves_no_data(batch: int, tmp_path: Path) -> None:
    builder = GraphBuilder()
    words = builder.node(
        "Gather", builder.random(3000, D), builder.input("ids", batch, T, kind=onnx.TensorProto.INT64)
    )
    places = builder.constant(np.ones((batch, T, 1), np.float32) * np.arange(D, dtype=np.float32))
    value = _norm(builder, builder.node("Add", words, places))
    model = load_model(builder.save(tmp_path, _encoder(builder, value, batch)), batch=3)
    network = model.network
    kinds = Counter(type(layer.anchor) for layer in network.layers)
    assert kinds == {Embedding: 1, Move: 1, Normalize: 3, Contraction: 6, MatMul: 2, Softmax: 1}
    assert [layer.anchor for layer in network.layers if isinstance(layer.anchor, MatMul)] == [
        MatMul(HEADS * T, D // HEADS, HEADS, True),
        MatMul(D, T, HEADS, False),
    ]
    assert StepOp.GELU in {step.op for layer in network.layers for step in layer.steps}
    assert [network.tensors[index].name for index in network.inputs] == ["ids"]
    assert len(network.constants) == 1 and network.source_count == 2
    assert macs_per_image(network) == 4 * T * D * D + 2 * T * T * D + 4 * T * D * D
    weights = 3000 * D + T * D + 3 * 2 * D + 4 * (D * D + D) + 2 * D * D + 2 * D + 2 * D * D + D
    assert weight_elements_total(network) == weights
    check_model(model)


def test_wrong_inputs_are_named(tmp_path: Path) -> None:
    builder = GraphBuilder()
    y = builder.node("Gather", builder.random(9, 4), builder.input("i", 1, 3, kind=onnx.TensorProto.INT64))
    model = load_model(builder.save(tmp_path, y))
    with pytest.raises(ModelError, match="input 'i': indices 0 to 9; expected 0 to 8"):
        model.stored_inputs({"i": np.array([[0, 9, 1]])})
    with pytest.raises(ModelError, match=r"expected shape \(1, 3\)"):
        model.stored_inputs({"i": np.zeros((1, 4), np.int64)})


_PATTERNS = {
    StepOp.SILU: lambda b, x: b.node("Mul", b.node("Sigmoid", x), x),
    StepOp.MISH: lambda b, x: b.node("Mul", x, b.node("Tanh", b.node("Softplus", x))),
    StepOp.GELU: lambda b, x: b.node(
        "Mul",
        b.node("Mul", x, b.number(0.5)),
        b.node("Add", b.node("Erf", b.node("Mul", x, b.number(0.5**0.5))), b.number(1.0)),
    ),
    StepOp.GELU_TANH: lambda b, x: b.node(
        "Mul",
        b.node("Mul", b.number(0.5), x),
        b.node(
            "Add",
            b.number(1.0),
            b.node(
                "Tanh",
                b.node(
                    "Mul",
                    b.node(
                        "Add",
                        x,
                        b.node("Mul", b.number(0.044715), b.node("Pow", x, b.number(3.0))),
                    ),
                    b.number(0.7978845608),
                ),
            ),
        ),
    ),
}


@pytest.mark.parametrize("op", _PATTERNS)
def test_patterns(op: StepOp, tmp_path: Path) -> None:
    builder = GraphBuilder()
    x = builder.node("Conv", builder.input("x", 1, 3, 4, 4), builder.random(4, 3, 1, 1))
    model = load_model(builder.save(tmp_path, _PATTERNS[op](builder, x)), batch=2)
    (layer,) = model.network.layers
    assert [step.op for step in layer.steps] == [StepOp.ADD, op][-len(layer.steps) :] and len(layer.nodes) > 2
    check_model(model)


def test_a_pattern_that_others_read_stays(tmp_path: Path) -> None:
    builder = GraphBuilder()
    share = builder.node("Sigmoid", x := builder.input("x", 1, 3, 4, 4))
    model = load_model(builder.save(tmp_path, builder.node("Mul", x, share), share))
    assert StepOp.SILU not in {step.op for layer in model.network.layers for step in layer.steps}
    check_model(model)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("lengths", r"has lengths of keys \(input 6\); expected queries, keys, values, a mask and a past"),
        ("scores", "gives out scores by qk_matmul_output_mode 2; expected 0 or 3"),
        ("lost", "has past keys and values, and no present ones as outputs; expected both"),
        ("past", r"input 4 has shape \(1, 4, 4\); expected \(B, heads, past tokens, D\)"),
        ("nothing", "the mask leaves a query without keys; expected at least one for each"),
        ("heads", "input 1 has shape .* for 3 heads; expected"),
    ],
)
def test_attention_that_is_refused(case: str, message: str, tmp_path: Path) -> None:
    builder = GraphBuilder(24)
    inputs = [builder.input(name, 1, T, D) for name in ("q", "k", "v")]
    heads = {"q_num_heads": HEADS, "kv_num_heads": 3 if case == "heads" else HEADS}
    if case == "nothing":
        inputs.append(builder.constant(np.eye(T, k=1, dtype=np.bool_)))
    if case in ("past", "lost"):
        inputs += ["", *(builder.random(1, HEADS * 2, D // HEADS) for _ in range(2))]
    if case == "lengths":
        inputs += ["", "", "", builder.integers(T)]
    mode = {"qk_matmul_output_mode": 2} if case == "scores" else {}
    found = builder.nodes_of("Attention", 4 if case in ("scores", "past") else 1, *inputs, **heads, **mode)
    outputs = [builder.node("Relu", found[0]), *(found[3:] if case == "scores" else [])]
    builder.shapes = {outputs[0]: [1, T, D]} | {name: [1, HEADS, T, T] for name in found[3:]}
    with pytest.raises(ModelError, match=message):
        load_model(builder.save(tmp_path, *outputs))
