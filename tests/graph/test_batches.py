"""What mixes the images of a batch is refused, also where the file leaves the batch open; what does not is read."""

from pathlib import Path

import numpy as np
import pytest

from graph.errors import ModelError
from graph.importer import load_model
from tests.graph.onnx_helpers import GraphBuilder


@pytest.mark.parametrize("batch", ["N", 3])
@pytest.mark.parametrize("kind", ["mean", "softmax", "product", "gemm"])
def test_mixing_images_is_refused(tmp_path: Path, batch: int | str, kind: str) -> None:
    graph = GraphBuilder()
    value = graph.node("Relu", graph.input("a", batch, 8))
    if kind == "mean":
        value = graph.node("Sub", value, graph.node("ReduceMean", value, axes=[0], keepdims=1))
    elif kind == "softmax":
        value = graph.node("Softmax", value, axis=0)
    elif kind == "product":
        value = graph.node("MatMul", value, graph.node("Transpose", value, perm=[1, 0]))
    else:
        value = graph.node("Gemm", value, graph.input("b", batch, 8), transB=1)
    path = graph.save(tmp_path, value)
    with pytest.raises(ModelError, match=r"batch|image"):
        load_model(path, 3)


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
