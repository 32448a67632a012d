"""Which operators end up in which layer, in which order, under which tensor name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graph.errors import ModelError
from graph.importer import load_model
from graph.layering.emitter import Anchored, Item
from graph.layering.fusing import IDENTITY, fuse
from graph.layering.values import Value
from graph.network import Network
from graph.primitives import Concat, Contraction, Move, StepOp
from tests.graph.checking import check_model
from tests.graph.onnx_helpers import GraphBuilder


def _ops(network: Network) -> list[list[StepOp]]:
    return [[step.op for step in layer.steps] for layer in network.layers]


def _batch_norm(builder: GraphBuilder, value: str, channels: int) -> str:
    vectors = [builder.random(channels) for _ in range(3)]
    return builder.node("BatchNormalization", value, *vectors, builder.random(channels, positive=True))


def test_affine_run_is_folded_into_one_bias(tmp_path: Path) -> None:
    builder = GraphBuilder()
    y = builder.node("Conv", builder.input("x", 1, 3, 6, 6), builder.random(4, 3, 3, 3), builder.random(4))
    y = _batch_norm(builder, y, 4)
    y = builder.node("Mul", y, builder.random(4, 1, 1))
    y = builder.node("Add", builder.random(1, 4, 1, 1), y)
    y = builder.node("Relu", y)
    model = load_model(builder.save(tmp_path, y))
    assert _ops(model.network) == [[StepOp.ADD, StepOp.RELU]]
    assert len(model.network.layers[0].nodes) == 5
    assert model.network.tensors[1].name == y
    check_model(model)


def test_affine_behind_another_anchor_is_two_steps(tmp_path: Path) -> None:
    builder = GraphBuilder()
    y = builder.node("MaxPool", builder.input("x", 1, 3, 6, 6), kernel_shape=[2, 2])
    y = _batch_norm(builder, _batch_norm(builder, y, 3), 3)
    model = load_model(builder.save(tmp_path, y))
    assert _ops(model.network) == [[StepOp.MUL, StepOp.ADD]]
    check_model(model)


def test_residual_joins_the_last_anchor(tmp_path: Path) -> None:
    builder = GraphBuilder()
    x = builder.input("x", 1, 4, 6, 6)
    main = builder.node("Conv", x, builder.random(4, 4, 1, 1))
    short = builder.node("Conv", x, builder.random(4, 4, 1, 1))
    y = builder.node("Relu", builder.node("Add", main, short))
    network = load_model(builder.save(tmp_path, y)).network
    assert _ops(network) == [[], [StepOp.ADD, StepOp.RELU]]
    assert network.layers[1].inputs == (0, 1)
    assert network.layers[1].steps[0].tensor == 1


def test_layer_waits_for_all_of_its_inputs(tmp_path: Path) -> None:
    """Here the anchor that takes the residual comes before the node that computes the other operand."""
    builder = GraphBuilder()
    x = builder.input("x", 1, 4, 6, 6)
    main = builder.node("Conv", x, builder.random(4, 4, 1, 1))
    late = builder.node("Relu", builder.node("Concat", x, x, axis=1))
    late = builder.node("Conv", late, builder.random(4, 8, 1, 1))
    both = builder.node("Add", main, late)
    y = builder.node("Concat", both, late, axis=1)
    model = load_model(builder.save(tmp_path, y))
    for position, layer in enumerate(model.network.layers):
        assert layer.output == 1 + position
        assert all(index < layer.output for index in layer.inputs)
    assert model.network.layers[-2].nodes == ("n0_Conv", "n4_Add")
    check_model(model)


def test_what_others_read_is_not_fused_away(tmp_path: Path) -> None:
    builder = GraphBuilder()
    x = builder.input("x", 1, 4, 6, 6)
    conv = builder.node("Conv", x, builder.random(4, 4, 1, 1))
    relu = builder.node("Relu", conv)
    y = builder.node("Concat", conv, relu, axis=1)
    model = load_model(builder.save(tmp_path, y))
    assert [type(layer.anchor) for layer in model.network.layers] == [Contraction, Move, Concat]
    check_model(model)


def test_graph_outputs_are_not_fused_away(tmp_path: Path) -> None:
    builder = GraphBuilder()
    conv = builder.node("Conv", builder.input("x", 1, 4, 6, 6), builder.random(4, 4, 1, 1))
    relu = builder.node("Relu", conv)
    model = load_model(builder.save(tmp_path, conv, relu))
    assert _ops(model.network) == [[], [StepOp.RELU]]
    assert model.network.outputs == (1, 2)
    check_model(model)


def test_concat_takes_no_steps(tmp_path: Path) -> None:
    builder = GraphBuilder()
    x = builder.input("x", 1, 4, 6, 6)
    y = builder.node("Relu", builder.node("Concat", x, builder.node("Relu", x), axis=1))
    network = load_model(builder.save(tmp_path, y)).network
    assert [type(layer.anchor) for layer in network.layers] == [Move, Concat, Move]


def test_doubling_a_tensor(tmp_path: Path) -> None:
    builder = GraphBuilder()
    conv = builder.node("Conv", builder.input("x", 1, 4, 6, 6), builder.random(4, 4, 1, 1))
    model = load_model(builder.save(tmp_path, builder.node("Add", conv, conv)))
    assert model.network.layers[1].inputs == (1, 1)
    check_model(model)


def test_scale_behind_a_residual_stays_behind_it(tmp_path: Path) -> None:
    builder = GraphBuilder()
    x = builder.input("x", 1, 4, 6, 6)
    y = builder.node("Add", builder.node("Conv", x, builder.random(4, 4, 1, 1)), x)
    y = _batch_norm(builder, y, 4)
    model = load_model(builder.save(tmp_path, y))
    assert _ops(model.network) == [[StepOp.ADD, StepOp.MUL, StepOp.ADD]]
    check_model(model)


def test_scalars_stay_scalars(tmp_path: Path) -> None:
    builder = GraphBuilder()
    x = builder.input("x", 1, 4, 6, 6)
    y = builder.node("Mul", x, builder.constant(np.array(0.25, dtype=np.float32)))
    model = load_model(builder.save(tmp_path, y))
    assert model.network.layers[0].steps[0].scalar == 0.25
    check_model(model)


def test_layers_that_wait_for_each_other_are_named() -> None:
    def item(name: str, read: str) -> Item:
        given, made = Value(read, 1, 1, 1, ()), Value(name, 1, 1, 1, ())
        return Item(name, (f"node {name}",), name, Anchored(Move(), (given,), (IDENTITY,), made))

    with pytest.raises(ModelError, match="layers of nodes node a, node b wait for each other"):
        fuse([item("c", "x"), item("a", "b"), item("b", "a")], ["a", "b", "c"])
