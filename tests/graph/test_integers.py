"""Integers and booleans, which are held as floats: arithmetic on them gives what ONNX says, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from graph.errors import ModelError
from graph.importer import load_model
from graph.layering.values import Element
from tests.graph.onnx_helpers import GraphBuilder, run

BOOL, DOUBLE, FLOAT, INT8, INT32, INT64 = (
    getattr(onnx.TensorProto, name) for name in ("BOOL", "DOUBLE", "FLOAT", "INT8", "INT32", "INT64")
)
Build = Callable[[GraphBuilder, str], str]

EXACT: dict[str, Build] = {
    "quotient by a constant": lambda b, x: b.node("Div", x, b.integers(3)),
    "quotient by constants of every sign": lambda b, x: b.node("Div", x, b.integers(-3, 2, 7, 41, -1)),
    "constant by a tensor": lambda b, x: b.node("Div", b.integers(100), b.node("Add", x, b.integers(1000))),
    "quotient of two tensors": lambda b, x: b.node(
        "Div", b.node("Mul", x, x), b.node("Sub", x, b.integers(999))
    ),
    "quotient of a sum": lambda b, x: b.node("Div", b.node("Add", x, x), b.integers(4)),
    "quotient of a view": lambda b, x: b.node(
        "Div", b.node("Reshape", x, b.integers(1, 5, 12)), b.integers(7)
    ),
    "sum over a map": lambda b, x: b.node("ReduceSum", x, b.integers(2, 3)),
    "sum over channels": lambda b, x: b.node("ReduceSum", x, b.integers(1)),
    "square": lambda b, x: b.node("Pow", x, b.integers(2)),
    "cast of a quotient": lambda b, x: b.node("Cast", b.node("Div", x, b.integers(2)), to=INT64),
    "cast of a boolean": lambda b, x: b.node("Cast", b.node("Less", x, b.integers(3)), to=INT64),
    "quotient of a place": lambda b, x: b.node(
        "Div", b.node("ArgMax", b.node("Cast", x, to=FLOAT), axis=3), b.integers(2)
    ),
    "where of integers": lambda b, x: b.node(
        "Div", b.node("Where", b.node("Less", x, b.integers(3)), x, b.node("Neg", x)), b.integers(2)
    ),
}


def results(folder: Path, build: Build, kind: int = INT64) -> tuple[object, object]:
    """What the network and the file's own graph give for integers of both signs."""
    builder = GraphBuilder(14)
    y = builder.node("Cast", build(builder, builder.input("x", 1, 3, 4, 5, kind=kind)), to=FLOAT)
    path = builder.save(folder, y)
    model = load_model(path)
    values = np.random.default_rng(0).integers(-41, 42, (1, 3, 4, 5))
    feeds = {"x": values.astype(np.int64 if kind == INT64 else np.int32)}
    (tensor,) = {value.source for value in model.outputs.values()}
    found = run(model.rounded_reference(np.float16), model.stored_inputs(feeds), [tensor])[tensor]
    return model.outputs[y].unstored(found).tolist(), run(onnx.load(path), feeds, [y])[y].tolist()


@pytest.mark.parametrize("name", EXACT)
def test_exact(name: str, tmp_path: Path) -> None:
    found, expected = results(tmp_path, EXACT[name])
    assert found == expected


@pytest.mark.parametrize("axes", [[1], [2, 3], [1, 2, 3]])
def test_mean(axes: list[int], tmp_path: Path) -> None:
    found, expected = results(tmp_path, lambda b, x: b.node("ReduceMean", x, axes=axes), INT32)
    assert found == expected


REFUSED: dict[str, tuple[Build, str]] = {
    "norm": (
        lambda b, x: b.node("ReduceL2", x, axes=[1]),
        "holds integers, of which the result is no integer",
    ),
    "root": (
        lambda b, x: b.node("Pow", x, b.number(0.5)),
        "holds integers, to a power that is no constant of whole",
    ),
    "cast to another type": (
        lambda b, x: b.node("Cast", x, to=INT8),
        "to INT8; expected FLOAT, DOUBLE, INT64, INT32, BOOL, FLOAT16 or BFLOAT16",
    ),
    "boolean to another type": (
        lambda b, x: b.node("Cast", b.node("Less", x, b.integers(3)), to=INT8),
        "to INT8; expected FLOAT, DOUBLE, INT64, INT32, BOOL, FLOAT16 or BFLOAT16",
    ),
    "indices to floats": (
        lambda b, x: b.node("Gather", b.random(9, 2), b.node("Cast", x, to=FLOAT)),
        "input 0 is a graph input of indices, to FLOAT; expected only Gather to read it",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    build, message = REFUSED[name]
    builder = GraphBuilder(14)
    y = build(builder, builder.input("x", 1, 3, 4, 5, kind=INT64))
    builder.shapes[y] = [1, 3, 4, 5]
    path = tmp_path / "test.onnx"
    path.write_bytes(builder.model(y).SerializeToString())
    with pytest.raises(ModelError, match=message):
        load_model(str(path))


def test_elements(tmp_path: Path) -> None:
    builder = GraphBuilder(14)
    x = builder.input("x", 1, 6, kind=INT64)
    sums = builder.node("Add", x, x)
    names = [
        builder.node("Cast", sums, to=FLOAT),
        builder.node("Transpose", sums, perm=[1, 0]),
        builder.node("Equal", sums, x),
    ]
    proto = builder.model(*names)
    for item, kind, dims in zip(
        proto.graph.output, (FLOAT, INT64, BOOL), ([1, 6], [6, 1], [1, 6]), strict=True
    ):
        item.CopyFrom(onnx.helper.make_tensor_value_info(item.name, kind, dims))
    path = tmp_path / "test.onnx"
    path.write_bytes(proto.SerializeToString())
    model = load_model(str(path))
    elements = [model.outputs[name].element for name in names]
    assert elements == [Element.FLOAT, Element.INTEGER, Element.BOOLEAN]
