"""What mixes the images of an open batch is refused, and one image where the file says how many there are."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from graph.errors import ModelError
from graph.importer import load_model
from graph.inputs import random_inputs
from tests.graph.checking import check_model
from tests.graph.onnx_helpers import GraphBuilder


def _mixing(kind: str, batch: int | str) -> tuple[GraphBuilder, str]:
    graph = GraphBuilder()
    value = graph.node("Relu", graph.input("a", batch, 8))
    if kind == "mean":
        return graph, graph.node("Sub", value, graph.node("ReduceMean", value, axes=[0], keepdims=1))
    if kind == "softmax":
        return graph, graph.node("Softmax", value, axis=0)
    if kind == "product":
        return graph, graph.node("MatMul", value, graph.node("Transpose", value, perm=[1, 0]))
    if kind == "gemm":
        return graph, graph.node("Gemm", value, graph.input("b", batch, 8), transB=1)
    return graph, graph.node("Add", value, graph.random(3, 8))


@pytest.mark.parametrize("kind", ["mean", "softmax", "product", "gemm"])
def test_mixing_images_of_an_open_batch_is_refused(tmp_path: Path, kind: str) -> None:
    graph, value = _mixing(kind, "N")
    with pytest.raises(ModelError, match=r"batch|image"):
        load_model(graph.save(tmp_path, value), 3)


@pytest.mark.parametrize("kind", ["mean", "softmax", "product", "gemm", "constant"])
@pytest.mark.parametrize("batch", [1, 2])
def test_what_is_mixed_along_a_static_dimension_is_one_image(tmp_path: Path, kind: str, batch: int) -> None:
    graph, value = _mixing(kind, 3)
    model = load_model(graph.save(tmp_path, value), batch)
    assert model.folded.without_batch and model.network.batch == batch
    assert (
        model.input_shapes["a"] == (3 * batch, 8) and len(model.file_batches(random_inputs(model))) == batch
    )
    check_model(model)


@pytest.mark.parametrize("batch", [1, 2])
def test_sequences_before_the_batch_and_states_without_one(tmp_path: Path, batch: int) -> None:
    """An LSTM as PyTorch has it by default, (T, B, D), with the state of two layers as inputs (2, B, hidden), an input
    of one dimension, and indices without a batch."""
    graph = GraphBuilder()
    x, state = graph.input("x", 5, 1, 4), graph.input("state", 2, 1, 3)
    x = graph.node("Mul", x, graph.input("scale", 4))
    words = graph.node("Gather", graph.random(9, 4), graph.input("ids", 5, kind=onnx.TensorProto.INT64))
    x = graph.node("Add", x, graph.node("Unsqueeze", words, graph.integers(1)))
    for layer in range(2):
        first = graph.node(
            "Slice", state, graph.integers(layer), graph.integers(layer + 1), graph.integers(0)
        )
        weights = [graph.random(1, 12, 4 if layer == 0 else 3), graph.random(1, 12, 3)]
        x = graph.node("LSTM", x, *weights, "", "", first, first, hidden_size=3)
        x = graph.node("Squeeze", x, graph.integers(1))
    model = load_model(graph.save(tmp_path, x), batch)
    assert model.folded.without_batch
    assert model.input_shapes == {
        "x": (5 * batch, 1, 4),
        "state": (2 * batch, 1, 3),
        "scale": (4 * batch,),
    } | {"ids": (5 * batch,)}
    check_model(model)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_an_open_batch_that_is_carried_through_is_read(tmp_path: Path, batch: int) -> None:
    graph = GraphBuilder()
    value = graph.input("a", "N", 4, 6)
    shape = graph.node("Shape", value)
    rows = graph.node("Gather", shape, graph.constant(np.array([0], np.int64)))
    target = graph.node("Concat", rows, graph.constant(np.array([1, 6], np.int64)), axis=0)
    token = graph.node("Expand", graph.random(1, 1, 6), target)
    joined = graph.node("Concat", token, value, axis=1)
    flat = graph.node("Reshape", joined, graph.constant(np.array([-1, 30], np.int64)))
    network = load_model(graph.save(tmp_path, graph.node("MatMul", flat, graph.random(30, 3))), batch).network
    assert network.batch == batch
    output = network.tensors[network.outputs[0]]
    assert (output.channels, output.rows, output.columns) == (3, 1, 1)


def _with_a_one(kind: str) -> tuple[GraphBuilder, str]:
    """A file that leaves its batch open and is right for one image only."""
    graph = GraphBuilder()
    if kind == "state":
        x = graph.node("Transpose", graph.input("x", "N", 4, 8), perm=[1, 0, 2])
        weights = graph.random(1, 12, 8), graph.random(1, 12, 3)
        states = graph.random(1, 1, 3), graph.random(1, 1, 3)
        return graph, graph.node("LSTM", x, *weights, "", "", *states, hidden_size=3)
    x = graph.node("Relu", graph.input("x", "N", 4, 8))
    if kind == "classifier":
        return graph, graph.node("Gemm", graph.node("Reshape", x, graph.integers(1, -1)), graph.random(32, 5))
    if kind == "whole shape":
        return graph, graph.node(
            "MatMul", graph.node("Reshape", x, graph.integers(1, 4, 8)), graph.random(8, 3)
        )
    if kind == "token":
        return graph, graph.node("Concat", graph.random(1, 1, 8), x, axis=1)
    heads = graph.node("Reshape", x, graph.integers(1, -1, 2, 4))
    keys = graph.node("Transpose", heads, perm=[0, 2, 3, 1])
    return graph, graph.node("MatMul", graph.node("Transpose", heads, perm=[0, 2, 1, 3]), keys)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("kind", ["classifier", "whole shape", "token", "heads", "state"])
def test_a_one_in_place_of_an_open_batch_stands_for_it(kind: str, batch: int, tmp_path: Path) -> None:
    graph, y = _with_a_one(kind)
    model = load_model(graph.save(tmp_path, y), batch)
    assert (model.folded.file_batch, model.network.batch) == (1, batch)
    check_model(model)


def test_an_open_batch_with_a_shape_for_every_image_is_read_for_several(tmp_path: Path) -> None:
    graph = GraphBuilder()
    x = graph.input("x", "N", 4, 8)
    repeated = graph.node("Expand", x, graph.integers(1, 4, 8))
    model = load_model(graph.save(tmp_path, graph.node("Add", x, repeated)), 3)
    assert model.folded.file_batch == 2
    check_model(model)


def test_refusals_say_how_an_open_batch_was_read(tmp_path: Path) -> None:
    graph = GraphBuilder()
    path = graph.save(tmp_path, graph.node("Softmax", graph.input("x", "N", 8), axis=0))
    with pytest.raises(ModelError, match="read for 2 images; if it is for one image at a time, expected dim"):
        load_model(path)
    graph = GraphBuilder()
    flat = graph.node("Reshape", graph.input("x", "N", 4, 8), graph.integers(1, 32))
    y = graph.node("MatMul", flat, graph.random(31, 3))
    graph.shapes[y] = [1, 3]
    path = graph.save(tmp_path, y)
    with pytest.raises(ModelError, match=r"read for one image, .* a 1 in 'c0' of Reshape node 'n0_Reshape'"):
        load_model(path)
