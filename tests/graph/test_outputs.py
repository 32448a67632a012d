"""Outputs that no layer makes: constants, and graph inputs passed straight on; and what outputs are compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graph.errors import ModelError
from graph.importer import load_model
from tests.graph.checking import check_model
from tests.graph.onnx_helpers import GraphBuilder


def with_both(folder: Path) -> str:
    """A file that gives out its input `x`, the input's ReLU `t1` and a constant `t0` of three dimensions."""
    builder = GraphBuilder()
    x = builder.input("x", 1, 4, 6, 6)
    builder.shapes[x] = [1, 4, 6, 6]
    constant = builder.node("Relu", builder.random(2, 7, 3))
    builder.shapes[constant] = [2, 7, 3]
    return builder.save(folder, x, constant, builder.node("Relu", x))


@pytest.mark.parametrize("batch", [1, 3])
def test_they_are_layers_that_copy(batch: int, tmp_path: Path) -> None:
    model = load_model(with_both(tmp_path), batch=batch)
    network = model.network
    assert set(model.outputs) == {"x//output", "t0", "t1"}
    assert sorted(network.outputs) == list(range(network.source_count, len(network.tensors)))
    tensors = check_model(model)
    held = {network.tensors[index].name: tensors[index] for index in network.outputs}
    assert np.array_equal(held[model.outputs["x//output"].source], tensors[0])
    (constant,) = model.outputs["t0"].unstored(held[model.outputs["t0"].source][:1])[None]
    assert constant.shape == (2, 7, 3)
    for image in held[model.outputs["t0"].source]:
        assert np.array_equal(model.outputs["t0"].unstored(image[None]), constant)


def test_integers_and_several_names_of_one_constant(tmp_path: Path) -> None:
    builder = GraphBuilder()
    y = builder.node("Relu", builder.input("x", 1, 4))
    first = builder.node("Abs", builder.integers(1, -7, 300))
    second = builder.node("Identity", first)
    builder.shapes |= {first: [3], second: [3]}
    model = load_model(builder.save(tmp_path, first, y, second), batch=2)
    assert set(model.outputs) == {first, y, second}
    check_model(model)


@pytest.mark.parametrize("opset", [7, 13, 21, 26, onnx.defs.onnx_opset_version()])
def test_every_opset_is_compared(opset: int, tmp_path: Path) -> None:
    """The newest that onnx knows is newer than onnxruntime's, but means the same."""
    builder = GraphBuilder(opset)
    x = builder.node("Conv", builder.input("x", 1, 3, 5, 5), builder.random(4, 3, 3, 3))
    check_model(
        load_model(builder.save(tmp_path, builder.node("GlobalAveragePool", builder.node("Relu", x))))
    )


def test_an_operator_newer_than_onnxruntime_has_no_reference(tmp_path: Path) -> None:
    builder = GraphBuilder(28)
    model = load_model(builder.save(tmp_path, builder.node("Celu", builder.input("x", 1, 3))))
    assert len(model.network.layers) == 1
    with pytest.raises(
        ModelError, match="Celu node 'n0_Celu' is of opset 28, and onnxruntime runs 26 at most"
    ):
        model.reference  # noqa: B018
