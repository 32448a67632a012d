"""Random weights: in place of fills only, deterministic, and scaled."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest

from graph.errors import ModelError
from graph.importer import load_model
from graph.inputs import random_inputs
from tests.graph.checking import check_model
from tests.graph.onnx_helpers import GraphBuilder


def test_deterministic_in_seed_and_name() -> None:
    first, again, other = (load_model("squeezenet", seed=seed) for seed in (0, 0, 1))
    assert first.randomised and first.randomised == again.randomised
    for a, b, c in zip(first.network.layers, again.network.layers, other.network.layers, strict=True):
        if a.weight is not None and b.weight is not None and c.weight is not None:
            assert (a.weight == b.weight).all()
            assert (a.weight != c.weight).any()
    weights = [layer.weight for layer in first.network.layers if layer.weight is not None]
    assert len({weight.flat[0] for weight in weights}) == len(weights)


def test_real_weights_are_kept_with_their_constant_vectors(tmp_path: Path) -> None:
    builder = GraphBuilder()
    weight, zeros = builder.random(4, 3, 3, 3), builder.constant(np.zeros(4, dtype=np.float32))
    y = builder.node("Conv", builder.input("x", 1, 3, 6, 6), weight, zeros)
    model = load_model(builder.save(tmp_path, y))
    assert model.randomised == ()
    assert not model.network.layers[0].parameters[0].any()
    check_model(model)


def test_fills_are_replaced(tmp_path: Path) -> None:
    builder = GraphBuilder()
    fills = [builder.constant(np.ones(shape, dtype=np.float32)) for shape in ((4, 3, 3, 3), (4,), (4, 1, 1))]
    y = builder.node("Conv", builder.input("x", 1, 3, 6, 6), *fills[:2])
    y = builder.node("Mul", y, fills[2])
    model = load_model(builder.save(tmp_path, y))
    assert model.randomised == tuple(sorted(fills))
    check_model(model)


def test_inputs_differ_between_images_and_are_deterministic(tmp_path: Path) -> None:
    builder = GraphBuilder()
    x = builder.node("Relu", builder.input("x", 1, 3, 10, 7))
    y = builder.node("Relu", builder.input("y", 1, 5))
    z = builder.node("Gather", builder.random(9, 4), builder.input("i", 1, 50, kind=onnx.TensorProto.INT64))
    model = load_model(builder.save(tmp_path, x, y, z), batch=2)
    first, again = random_inputs(model, 3), random_inputs(model, 3)
    for name, shape in {"x": (2, 3, 10, 7), "y": (2, 5), "i": (2, 50)}.items():
        assert first[name].shape == shape and first[name].dtype == model.input_types[name]
        assert (first[name] == again[name]).all()
        assert (first[name][0] != first[name][1]).any()
    assert first["i"].min() >= 0 and first["i"].max() == 8


def test_empty_constants_are_left_out(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    builder = GraphBuilder()
    y = builder.node(
        "Conv", builder.input("x", 1, 3, 6, 6), builder.constant(np.ones((4, 3, 3, 3), np.float32))
    )
    empty = builder.constant(np.ones((0, 4, 1, 1), np.float32))
    y = builder.node("Concat", y, empty, axis=0)
    with contextlib.suppress(ModelError):
        load_model(builder.save(tmp_path, builder.node("Mul", y, empty)))
    assert not recwarn.list
