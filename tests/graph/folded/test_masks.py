"""Constants that mask out: finite in fp16, and the same after a Softmax."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graph.errors import ModelError
from graph.importer import load_model
from graph.inputs import random_inputs
from tests.graph.checking import check_model
from tests.graph.onnx_helpers import GraphBuilder, run


def masked_softmax(shape: tuple[int, ...], value: float, op_type: str) -> tuple[GraphBuilder, str]:
    """Softmax of a (1, 4, 6) input, masked above the diagonal or, for a vector, from its third element on."""
    builder = GraphBuilder()
    x = builder.input("x", 1, 4, 6)
    kept = np.tri(*shape) if len(shape) > 1 else np.arange(shape[0]) < 3
    if op_type == "Where":
        condition = builder.constant(kept.astype(bool))
        y = builder.node("Where", condition, x, builder.constant(np.array(value, np.float32)))
    else:
        sign = -1 if op_type == "Sub" else 1
        mask = np.where(kept, 0.0, sign * value).astype(np.float32)
        y = builder.node(op_type, x, builder.constant(mask))
    return builder, builder.node("Softmax", y, axis=-1)


@pytest.mark.parametrize("value", [float(np.finfo(np.float32).min), -1e10, -65504.0, -np.inf])
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Where"])
@pytest.mark.parametrize("shape", [(4, 6), (6,)])
def test_masks(shape: tuple[int, ...], op_type: str, value: float, tmp_path: Path) -> None:
    builder, y = masked_softmax(shape, value, op_type)
    path = builder.save(tmp_path, y)
    model = load_model(path)
    check_model(model)
    layers = model.network.layers
    held = [*model.network.constants.values(), *(vector for layer in layers for vector in layer.parameters)]
    assert all(np.isfinite(array.astype(np.float16)).all() for array in held)
    feeds = random_inputs(model)
    wanted = run(onnx.load(path), feeds, [y])[y]
    found = run(model.rounded_reference(np.float16), model.stored_inputs(feeds), [y])[y]
    assert np.allclose(model.file_output(y, found)[0], wanted, atol=1e-3)


def test_masks_that_are_computed(tmp_path: Path) -> None:
    """(1 - mask) x -3.4e38, as the exporters of transformers write it."""
    builder = GraphBuilder()
    x, mask = builder.input("x", 1, 4, 6), builder.input("mask", 1, 1, 6)
    away = builder.node("Sub", builder.constant(np.float32(1)), mask)
    away = builder.node("Mul", away, builder.constant(np.finfo(np.float32).min))
    y = builder.node("Softmax", builder.node("Add", x, away), axis=-1)
    path = builder.save(tmp_path, y)
    model = load_model(path)
    feeds = random_inputs(model)
    feeds["mask"] = np.array([[[1, 1, 0, 1, 0, 0]]], np.float32)
    found = run(model.rounded_reference(np.float16), model.stored_inputs(feeds), [y])[y]
    assert np.allclose(model.file_output(y, found)[0], run(onnx.load(path), feeds, [y])[y], atol=1e-3)


def test_constants_beyond_fp16(tmp_path: Path) -> None:
    builder = GraphBuilder()
    large = builder.constant(np.arange(24, dtype=np.float32).reshape(4, 6) * 1e4)
    model = load_model(builder.save(tmp_path, builder.node("Add", builder.input("x", 1, 4, 6), large)))
    check_model(model)
    with pytest.raises(ModelError, match=r"constant .*: a value of magnitude 230000 does not fit float16"):
        model.rounded_reference(np.float16)
