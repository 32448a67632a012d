"""Files in half precision: the same network as of float32, exact weights, and what onnxruntime computes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from graph.files.source import read_source
from graph.importer import load_model
from graph.inputs import random_inputs
from graph.model import Model
from graph.primitives import Normalize, StepOp
from hwmodel.functional.simulator import FunctionalSimulator
from hwmodel.machines.machine import load_machine
from scheduling.candidates.defaults import Defaults
from scheduling.candidates.space import CandidateSpace
from scheduling.emission.program import build_program, program_weights
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules
from tests.graph.checking import check_model
from tests.graph.onnx_helpers import GraphBuilder, relative_error, run

FP16_LIMIT = 3e-3
T, D, HEADS = 6, 16, 2


def convolutions(builder: GraphBuilder, one: int) -> str:
    x = builder.input("x", 2, 4, 8, 8)
    y = builder.node("Relu", builder.node("Conv", x, builder.random(8, 4, 3, 3), pads=[1, 1, 1, 1]))
    y = builder.node("Conv", y, builder.random(8, 8, 1, 1), builder.random(8))
    y = builder.node("GlobalAveragePool", builder.node("Mul", y, builder.node("Sigmoid", y)))
    return builder.node(
        "Gemm", builder.node("Flatten", y), builder.random(10, 8), builder.random(10), transB=1
    )


def attention(builder: GraphBuilder, one: int) -> str:
    """A causal block as PyTorch exports it in half precision: the normalisation and the softmax in float32, masked by
    the least number that the type has. `one` is the type of the file."""

    def cast(value: str, to: int) -> str:
        return value if one == TensorProto.FLOAT else builder.node("Cast", value, to=to)

    x = builder.input("x", 2, T, D)
    wide = cast(x, TensorProto.FLOAT)
    square = builder.node("ReduceMean", builder.node("Mul", wide, wide), axes=[-1])
    small = builder.constant(np.array(1e-3, np.float32))
    normed = builder.node("Div", wide, builder.node("Sqrt", builder.node("Add", square, small)))
    normed = builder.node("Mul", cast(normed, one), builder.random(D))
    parts = []
    for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
        linear = builder.node("MatMul", normed, builder.random(D, D))
        heads = builder.node("Reshape", linear, builder.integers(2, T, HEADS, D // HEADS))
        parts.append(builder.node("Transpose", heads, perm=perm))
    scores = builder.node("Mul", builder.node("MatMul", parts[0], parts[1]), builder.number(0.0625))
    least = -3e38 if one == TensorProto.BFLOAT16 else np.finfo(np.float16).min
    mask = np.where(np.tri(T), 0, least).astype(np.float32)
    scores = cast(builder.node("Add", scores, builder.constant(mask)), TensorProto.FLOAT)
    share = cast(builder.node("Softmax", scores, axis=-1), one)
    mixed = builder.node("Transpose", builder.node("MatMul", share, parts[2]), perm=[0, 2, 1, 3])
    flat = builder.node("Reshape", mixed, builder.integers(0, 0, D))
    erf = builder.node("Erf", builder.node("Div", flat, builder.number(2**0.5)))
    gelu = builder.node("Mul", flat, builder.node("Add", erf, builder.number(1.0)))
    return builder.node("Add", builder.node("Mul", gelu, builder.number(0.5)), x)


NETWORKS = {"convolutions": convolutions, "attention": attention}


def saved(folder: Path, name: str, kind: int) -> Path:
    """A file of this type, whose numbers are the same in each type but for rounding: weights near 1 / width, and in
    the attention an epsilon that stays float32."""
    builder = GraphBuilder()
    y = NETWORKS[name](builder, kind)
    model = builder.model(y)
    wide = {name for node in model.graph.node if node.op_type == "Add" for name in node.input}
    for item in model.graph.initializer:
        values = numpy_helper.to_array(item)
        if values.dtype != np.float32 or (item.name in wide and values.size == 1 and values < 0.1):
            continue
        if values.ndim > 1 and np.abs(values).max() < 100:
            values = values * np.float32(0.3)
        narrow = values.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
        item.CopyFrom(numpy_helper.from_array(narrow, item.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = kind
    path = folder / f"{name}_{kind}.onnx"
    path.write_bytes(onnx.shape_inference.infer_shapes(model, strict_mode=True).SerializeToString())
    onnx.checker.check_model(str(path))
    return path


def executed(model: Model, feeds: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """The output of kernels on stcp920 in fp16 arithmetic, in the file's layout."""
    machine = load_machine("stcp920")
    evaluator = Evaluator(model.network, machine)
    choices = Defaults(CandidateSpace(evaluator)).complete(())
    program = build_program(evaluator, choices, evaluator.arrange(choices, Rules()))
    simulator = FunctionalSimulator(program, machine, "fp16", program_weights(model.network))
    for name, values in model.stored_inputs(feeds).items():
        simulator.write_input(name, values)
    simulator.run()
    (output,) = model.network.outputs
    name = model.network.tensors[output].name
    return np.concatenate(model.file_output(name, simulator.read_output(name)))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_of_fp16_computes_what_onnxruntime_computes_of_it(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path, name, TensorProto.FLOAT16)
    model = load_model(str(path), 2)
    check_model(model)
    feeds = {key: values.astype(np.float16) for key, values in random_inputs(model, 3).items()}
    file = onnx.load(path)
    (output,) = [item.name for item in file.graph.output]
    expected = run(file, feeds, [output])[output]
    assert expected.dtype == np.float16
    found = executed(model, {key: values.astype(np.float32) for key, values in feeds.items()})
    assert found.shape == expected.shape
    assert relative_error(found, expected.astype(np.float32)) <= FP16_LIMIT


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_that_of_float32_with_exact_weights(name: str, kind: int, tmp_path: Path) -> None:
    """As many layers with the same steps, so no Cast stands in the way of a pattern; weights rounded once, by the
    file."""
    half = load_model(str(saved(tmp_path, name, kind)), 2)
    single = load_model(str(saved(tmp_path, name, TensorProto.FLOAT)), 2)
    assert [type(layer.anchor) for layer in half.network.layers] == [
        type(layer.anchor) for layer in single.network.layers
    ]
    assert [len(layer.steps) for layer in half.network.layers] == [
        len(layer.steps) for layer in single.network.layers
    ]
    if name == "attention":
        assert any(isinstance(layer.anchor, Normalize) for layer in half.network.layers)
        assert any(step.op is StepOp.GELU for layer in half.network.layers for step in layer.steps)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    for one, other in zip(half.network.layers, single.network.layers, strict=True):
        if one.weight is not None and other.weight is not None:
            assert one.weight.dtype == np.float32
            assert (one.weight == other.weight.astype(dtype).astype(np.float32)).all()
    assert set(half.input_types.values()) == {np.dtype(np.float32)}
    assert [array.min() for array in half.network.constants.values()] == [
        array.min() for array in single.network.constants.values()
    ]


def test_weights_in_a_side_file_are_not_needed_for_the_structure(tmp_path: Path) -> None:
    path = saved(tmp_path, "convolutions", TensorProto.FLOAT16)
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=200)
    whole = load_model(str(path))
    (tmp_path / "weights.bin").unlink()
    structure = load_model(str(path), weights=False)
    assert structure.network.tensors == whole.network.tensors
    assert all(layer.weight is None for layer in structure.network.layers)


def test_a_file_without_half_precision_stays_what_it_is(tmp_path: Path) -> None:
    path = saved(tmp_path, "attention", TensorProto.FLOAT)
    assert read_source(path, True).proto == onnx.load(path)


def test_casts_in_branches_and_to_outputs_stay_nodes(tmp_path: Path) -> None:
    """A Cast that makes an output, and one in a graph within a node, to which names of the outer graph lead."""
    builder = GraphBuilder()
    x = builder.input("x", 1, 4, 6, kind=TensorProto.FLOAT16)
    condition = builder.constant(np.array(True))
    branches = []
    for name, op_type in (("then", "Relu"), ("else", "Neg")):
        wide = onnx.helper.make_node("Cast", [x], [f"{name}_wide"], to=TensorProto.FLOAT)
        last = onnx.helper.make_node(op_type, [f"{name}_wide"], [f"{name}_y"])
        output = onnx.helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, [1, 4, 6])
        branches.append(onnx.helper.make_graph([wide, last], name, [], [output]))
    y = builder.node("If", condition, then_branch=branches[0], else_branch=branches[1])
    y = builder.node("Cast", y, to=TensorProto.FLOAT16)
    builder.shapes[y] = [1, 4, 6]
    model = builder.model(y)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    path = tmp_path / "branches.onnx"
    path.write_bytes(model.SerializeToString())
    network = load_model(str(path)).network
    assert len(network.layers) == 1
    check_model(load_model(str(path)))
