"""Files that cannot be read: the message names the file, the place, what was found and what was expected."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from graph.errors import ModelError
from graph.files.zoo import file_names, find_model, zoo_file, zoo_names
from graph.importer import load_model
from tests.graph.onnx_helpers import GraphBuilder


def test_missing_file() -> None:
    with pytest.raises(ModelError, match=r"no_such\.onnx: does not exist; .*resnet50"):
        load_model("no_such.onnx")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a directory"):
        load_model(str(tmp_path))


def test_zoo_files_exist() -> None:
    assert len(file_names()) == 9
    assert all(find_model(name) == zoo_file(name) for name in file_names())
    assert set(file_names()) < set(zoo_names())


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"hello, world" * 50, b"\xff" * 1000])
def test_not_an_onnx_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.onnx: not "):
        load_model(str(path))


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.999])
def test_truncated_file(fraction: float, tmp_path: Path) -> None:
    data = zoo_file("squeezenet").read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(ModelError, match=r"cut\.onnx"):
        load_model(str(path))


def test_cycle(tmp_path: Path) -> None:
    builder = GraphBuilder()
    builder.input("x", 1, 4, 6, 6)
    builder.nodes.append(helper.make_node("Add", ["x", "b"], ["a"], name="first"))
    builder.nodes.append(helper.make_node("Relu", ["a"], ["b"], name="second"))
    path = tmp_path / "cycle.onnx"
    path.write_bytes(builder.model("b").SerializeToString())
    with pytest.raises(ModelError, match=r"cycle\.onnx: node 'first' \(Add\): reads 'b' but is in a cycle"):
        load_model(str(path))


def test_all_unsupported_operators_at_once(tmp_path: Path) -> None:
    builder = GraphBuilder()
    x = builder.input("x", 1, 4, 6, 6)
    y = builder.node("Det", builder.node("NonZero", builder.node("Det", x)))
    builder.shapes[y] = [1]
    with pytest.raises(ModelError) as caught:
        load_model(builder.save(tmp_path, y))
    assert "Det (n0_Det, n2_Det); NonZero (n1_NonZero)" in str(caught.value)


def test_other_domain(tmp_path: Path) -> None:
    builder = GraphBuilder()
    builder.input("x", 1, 4, 6, 6)
    builder.nodes.append(helper.make_node("Relu", ["x"], ["y"], name="mine", domain="my.domain"))
    model = builder.model("y")
    model.opset_import.append(helper.make_opsetid("my.domain", 1))
    dims = model.graph.output[0].type.tensor_type.shape.dim
    for size in (1, 4, 6, 6):
        dims.add().dim_value = size
    path = tmp_path / "domain.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"my\.domain\.Relu \(mine\)"):
        load_model(str(path))


def test_dynamic_rows(tmp_path: Path) -> None:
    builder = GraphBuilder()
    y = builder.node("Relu", builder.input("x", "N", 4, "height", 6))
    with pytest.raises(ModelError, match=r"input 'x': dimension 2 is dynamic \('height'\).*--batch.*static"):
        load_model(builder.save(tmp_path, y))


def test_wrong_type(tmp_path: Path) -> None:
    builder = GraphBuilder()
    y = builder.node("Relu", builder.input("x", 1, 4, 6, 6))
    model = onnx.load(builder.save(tmp_path, y))
    for item in (model.graph.input[0], model.graph.output[0]):
        item.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    path = tmp_path / "double.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"double\.onnx: input 'x': element type DOUBLE; expected FLOAT"):
        load_model(str(path))


def test_inputs_that_disagree_about_the_batch(tmp_path: Path) -> None:
    builder = GraphBuilder()
    a, b = builder.input("a", "N", 4, 6, 6), builder.input("b", 2, 4, 6, 6)
    c = builder.input("c", 1, 4, 6, 6)
    y = builder.node("Concat", *(builder.node("Relu", x) for x in (a, b, c)), axis=1)
    path = tmp_path / "two.onnx"
    model = builder.model(y)
    for size in (2, 12, 6, 6):
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = size
    path.write_bytes(model.SerializeToString())
    with pytest.raises(
        ModelError, match=r"dimension 0 of inputs is {'b': 2, 'c': 1}, and open in others; expected one"
    ):
        load_model(str(path))


def test_constant_outputs_alone(tmp_path: Path) -> None:
    builder = GraphBuilder()
    builder.input("x", 1, 4, 6, 6)
    y = builder.node("Relu", builder.random(1, 4))
    with pytest.raises(ModelError, match="all outputs are constants; expected one that depends on an input"):
        load_model(builder.save(tmp_path, y))


def test_a_constant_output_beside_several_images(tmp_path: Path) -> None:
    builder = GraphBuilder()
    y = builder.node("Relu", builder.input("x", 2, 4, 6, 6))
    constant = builder.node("Relu", builder.random(1, 4))
    with pytest.raises(ModelError, match="output 't1' is a constant, in a file for 2 images; expected"):
        load_model(builder.save(tmp_path, y, constant))


@pytest.mark.parametrize("array", [np.zeros((0, 3), np.float32), np.array(["a", "b"], dtype=object)])
def test_a_constant_output_that_holds_no_numbers(array: NDArray[Any], tmp_path: Path) -> None:
    builder = GraphBuilder()
    y = builder.node("Relu", builder.input("x", 1, 4))
    constant = numpy_helper.from_array(array, "c")
    builder.initializers.append(constant)
    model = builder.model(y)
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 4
    model.graph.output.append(helper.make_tensor_value_info("c", constant.data_type, array.shape))
    path = tmp_path / "constant.onnx"
    path.write_bytes(model.SerializeToString())
    for weights in (True, False):
        with pytest.raises(ModelError, match=r"output 'c' is a constant of shape .*; expected numbers"):
            load_model(str(path), weights=weights)


@pytest.mark.parametrize("batch", [0, 65537, 10**12])
def test_batch_of_no_images_or_too_many(batch: int) -> None:
    with pytest.raises(ModelError, match=f"batch is {batch}; expected 1 to 65536"):
        load_model("squeezenet", batch=batch)


def test_old_opset(tmp_path: Path) -> None:
    builder = GraphBuilder(opset=6)
    y = builder.node("Relu", builder.input("x", 1, 4, 6, 6))
    with pytest.raises(ModelError, match="opset 6; expected 7 or later"):
        load_model(builder.save(tmp_path, y))


def test_damaged_bytes_raise_nothing_else(tmp_path: Path) -> None:
    """Whatever single byte is wrong, the file loads or the error is a ModelError."""
    builder = GraphBuilder()
    x = builder.input("x", "N", 3, 8, 8)
    y = builder.node("Relu", builder.node("Conv", x, builder.random(2, 3, 1, 1), builder.random(2)))
    shape = builder.node("Concat", builder.integers(0), builder.integers(-1), axis=0)
    y = builder.node("Gemm", builder.node("Reshape", y, shape), builder.random(128, 2))
    path = Path(builder.save(tmp_path, y))
    data = path.read_bytes()
    weights_at = {place for item in builder.initializers for place in _range(data, item.raw_data)}
    generator = random.Random(0)
    for place in (place for place in range(len(data)) if place not in weights_at):
        damaged = bytearray(data)
        damaged[place] = generator.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(ModelError):
            load_model(str(path), weights=False)


def _range(data: bytes, part: bytes) -> range:
    start = data.find(part)
    return range(start, start + len(part)) if len(part) > 64 else range(0)
