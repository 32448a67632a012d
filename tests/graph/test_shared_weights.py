"""Which layers have one weight between them: those that are made of the same initialisers in the same way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graph.counts import weight_elements_total
from graph.importer import load_model
from tests.graph.checking import check_model
from tests.graph.onnx_helpers import GraphBuilder


def shared(path: str) -> list[int | None]:
    """Of each layer, which one it shares with; the same with and without weights, and right."""
    model = load_model(path)
    check_model(model)
    found = [layer.shares for layer in model.network.layers]
    assert [layer.shares for layer in load_model(path, weights=False).network.layers] == found
    return found


def test_two_branches_with_the_same_weights(tmp_path: Path) -> None:
    """Convolution, folded batch norm and activation; another bias or another batch norm is another weight."""
    graph = GraphBuilder()
    kernel, bias, other = graph.random(4, 3, 3, 3), graph.random(4), graph.random(4)
    norm = [graph.random(4), graph.random(4), graph.random(4), graph.random(4, positive=True)]
    outputs = []
    for name, shift in (("a", bias), ("b", bias), ("c", other)):
        value = graph.node("Conv", graph.input(name, 1, 3, 6, 5), kernel, shift)
        outputs.append(graph.node("Relu", graph.node("BatchNormalization", value, *norm)))
    path = graph.save(tmp_path, *outputs)
    assert shared(path) == [None, 0, None]
    assert weight_elements_total(load_model(path).network) == 2 * (4 * 27 + 4)


def test_one_matrix_transposed_twice(tmp_path: Path) -> None:
    graph = GraphBuilder()
    matrix, x = graph.random(6, 6), graph.input("x", 1, 5, 6)
    for _ in range(2):
        x = graph.node("MatMul", x, graph.node("Transpose", matrix, perm=[1, 0]))
    assert shared(graph.save(tmp_path, graph.node("MatMul", x, matrix))) == [None, 0, None]


def test_a_matrix_on_maps_of_different_storage(tmp_path: Path) -> None:
    """The kernels over a (4, 3, 2) map and over its transpose hold the matrix in different orders."""
    graph = GraphBuilder()
    matrix, x = graph.random(24, 5), graph.input("x", 1, 4, 3, 2)
    turned = graph.node("Relu", graph.node("Transpose", x, perm=[0, 2, 3, 1]))
    outputs = [
        graph.node("Gemm", graph.node("Flatten", value), matrix) for value in (graph.node("Relu", x), turned)
    ]
    assert all(found is None for found in shared(graph.save(tmp_path, *outputs)))


@pytest.mark.parametrize("between", ["Relu", "Identity"])
def test_parameters_that_are_merged_in_one_layer_only(between: str, tmp_path: Path) -> None:
    graph = GraphBuilder()
    factor, shift = graph.random(4, 1, 1), graph.random(4, 1, 1)
    outputs = []
    for op_type in ("Relu", between):
        value = graph.node("MaxPool", graph.input(f"x{len(outputs)}", 1, 4, 5, 5), kernel_shape=[2, 2])
        value = graph.node(op_type, graph.node("Mul", value, factor))
        outputs.append(graph.node("Add", value, shift))
    assert shared(graph.save(tmp_path, *outputs)) == [None, 0 if between == "Relu" else None]


@pytest.mark.parametrize(("kind", "gates", "contractions"), [("LSTM", 4, 1), ("GRU", 3, 2)])
def test_the_steps_of_a_loop(kind: str, gates: int, contractions: int, tmp_path: Path) -> None:
    """The first step has no state, so 7 steps have 6 recurrent products (a GRU's in two parts) of one matrix."""
    graph = GraphBuilder()
    x = graph.node("Transpose", graph.input("x", 1, 7, 3), perm=[1, 0, 2])
    y = graph.node(
        kind,
        x,
        graph.random(1, gates * 4, 3),
        graph.random(1, gates * 4, 4),
        graph.random(1, gates * 8),
        hidden_size=4,
    )
    path = graph.save(tmp_path, graph.node("Transpose", y, perm=[2, 0, 1, 3]))
    assert sum(found is not None for found in shared(path)) == 5 * contractions
    network = load_model(path).network
    assert weight_elements_total(network) == gates * 4 * 3 + gates * 4 + gates * 4 * 4
    held = {id(layer.weight) for layer in network.layers if layer.weight is not None}
    assert len(held) == 1 + contractions


def test_fills_stand_for_weights_of_their_own(tmp_path: Path) -> None:
    """Two ConstantOfShape nodes of one shape are two weights, which get random values of their own."""
    graph = GraphBuilder()
    shape, x = graph.integers(4, 4, 1, 1), graph.input("x", 1, 4, 3, 3)
    for _ in range(2):
        x = graph.node("Conv", x, graph.node("ConstantOfShape", shape))
    path = graph.save(tmp_path, x)
    assert shared(path) == [None, None]
    first, second = (layer.weight for layer in load_model(path).network.layers)
    assert first is not None and second is not None
    assert not np.array_equal(first, second)
