"""If, Loop and Scan with constant conditions and turns: the file as it is in onnxruntime against what it becomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graph.errors import ModelError
from graph.importer import load_model
from graph.inputs import random_inputs
from graph.model import Model
from graph.primitives import Contraction
from tests.graph.checking import check_model
from tests.graph.onnx_helpers import relative_error, run

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
_GENERATOR = np.random.default_rng(3)


def value(name: str, kind: int, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def random(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(_GENERATOR.standard_normal(shape).astype(np.float32), name)


def number(name: str, array: object, kind: type[np.generic] = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(array, kind), name)


def checked(
    folder: Path, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], **shapes: tuple[int, ...]
) -> Model:
    """The model of a file of `nodes` with inputs `shapes` and output y, of the shape of x: all tensors are compared,
    and y with what the file as it is gives."""
    inputs = [value(name, FLOAT, *shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "test", inputs, [value("y", FLOAT, *shapes["x"])], constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "test.onnx"
    path.write_bytes(proto.SerializeToString())
    model = load_model(str(path))
    check_model(model)
    feeds = random_inputs(model)
    (image,) = model.file_batches(feeds)
    assert relative_error(run(model.reference, image, ["y"])["y"], run(proto, image, ["y"])["y"]) <= 1e-6
    return model


@pytest.mark.parametrize("taken", [True, False])
def test_the_branch_of_a_constant_condition(taken: bool, tmp_path: Path) -> None:
    """The condition comes from a shape, the branches read names from around them and have constants of one name."""
    branches = [
        helper.make_graph(
            [
                helper.make_node("Relu", ["x"], ["inner"]),
                helper.make_node(op, ["inner", "c"], [f"{op}_out"], name="n"),
            ],
            op,
            [],
            [value(f"{op}_out", FLOAT, 1, 4, 8)],
            [random("c", 8)],
        )
        for op in ("Add", "Mul")
    ]
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["size"]),
        helper.make_node("Equal", ["size", "four"], ["condition"]),
        helper.make_node("If", ["condition"], ["z"], then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("Tanh", ["z"], ["y"]),
    ]
    constants = [number("one", 1), number("four", 4 if taken else 5)]
    model = checked(tmp_path, nodes, constants, x=(1, 4, 8))
    assert [node.op_type for node in model.folded.nodes if node.op_type in ("Add", "Mul")] == [
        "Add" if taken else "Mul"
    ]


def _loop(condition: onnx.NodeProto) -> onnx.NodeProto:
    """state = tanh(relu(state - turn) W); each state is given out too."""
    body = helper.make_graph(
        [
            helper.make_node("Cast", ["turn"], ["now"], to=FLOAT),
            helper.make_node("Sub", ["state", "now"], ["less"]),
            helper.make_node("Relu", ["less"], ["positive"]),
            helper.make_node("MatMul", ["positive", "w"], ["product"]),
            helper.make_node("Tanh", ["product"], ["next"]),
            helper.make_node("Identity", ["next"], ["given"]),
            condition,
        ],
        "body",
        [value("turn", INT64), value("goes", BOOL), value("state", FLOAT, 1, 4, 8)],
        [value("going", BOOL), value("next", FLOAT, 1, 4, 8), value("given", FLOAT, 1, 4, 8)],
        [random("w", 8, 8), number("two", 2)],
    )
    return helper.make_node("Loop", ["turns", "go", "x"], ["last", "all"], body=body)


@pytest.mark.parametrize(
    ("condition", "turns"),
    [
        (helper.make_node("Identity", ["goes"], ["going"]), 4),
        (helper.make_node("Less", ["turn", "two"], ["going"]), 3),
    ],
)
def test_a_loop_of_constant_turns(condition: onnx.NodeProto, turns: int, tmp_path: Path) -> None:
    """It ends with its turns, or with its condition; all turns share the weight of the body."""
    nodes = [
        _loop(condition),
        helper.make_node("ReduceMean", ["all"], ["mean"], axes=[0], keepdims=0),
        helper.make_node("Add", ["mean", "last"], ["y"]),
    ]
    model = checked(tmp_path, nodes, [number("turns", 4), number("go", True, np.bool_)], x=(1, 4, 8))
    layers = [layer for layer in model.network.layers if isinstance(layer.anchor, Contraction)]
    assert len(layers) == turns
    assert sum(layer.shares is None for layer in layers) == 1


@pytest.mark.parametrize(("backwards", "axis"), [(0, 0), (1, 0), (1, 1)])
def test_a_scan(backwards: int, axis: int, tmp_path: Path) -> None:
    """state = relu(state + part), a running sum over the tokens, given out along either axis."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state", "part"], ["sum"]),
            helper.make_node("Relu", ["sum"], ["next"]),
            helper.make_node("Sigmoid", ["next"], ["given"]),
        ],
        "body",
        [value("state", FLOAT, 1, 8), value("part", FLOAT, 1, 8)],
        [value("next", FLOAT, 1, 8), value("given", FLOAT, 1, 8)],
    )
    scan = helper.make_node(
        "Scan",
        ["first", "x"],
        ["last", "all"],
        body=body,
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_input_directions=[backwards],
        scan_output_axes=[axis],
        scan_output_directions=[backwards],
    )
    order = [1, 0, 2] if axis == 0 else [0, 1, 2]
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["first"], axes=[1], keepdims=0),
        scan,
        helper.make_node("Transpose", ["all"], ["tokens"], perm=order),
        helper.make_node("Add", ["tokens", "last"], ["y"]),
    ]
    checked(tmp_path, nodes, [], x=(1, 5, 8))


def test_a_loop_in_a_branch(tmp_path: Path) -> None:
    inner = helper.make_graph(
        [_loop(helper.make_node("Identity", ["goes"], ["going"]))],
        "then",
        [],
        [value("last", FLOAT, 1, 4, 8)],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["negated"])], "else", [], [value("negated", FLOAT, 1, 4, 8)]
    )
    nodes = [
        helper.make_node("If", ["go"], ["z"], then_branch=inner, else_branch=other),
        helper.make_node("Relu", ["z"], ["y"]),
    ]
    checked(tmp_path, nodes, [number("turns", 2), number("go", True, np.bool_)], x=(1, 4, 8))


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        (5_000, "Loop node 'last': has more than 1000 turns or 20000 nodes"),
        (0, "Loop node 'last': gives out 'all' of no turn; expected one"),
    ],
)
def test_too_many_and_no_turns_are_refused(turns: int, message: str, tmp_path: Path) -> None:
    nodes = [
        _loop(helper.make_node("Identity", ["goes"], ["going"])),
        helper.make_node("ReduceMean", ["all"], ["mean"], axes=[0], keepdims=0),
        helper.make_node("Add", ["mean", "last"], ["y"]),
    ]
    with pytest.raises(ModelError, match=message):
        checked(tmp_path, nodes, [number("turns", turns), number("go", True, np.bool_)], x=(1, 4, 8))


def test_what_depends_on_data_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Greater", ["largest", "zero"], ["go"]),
        _loop(helper.make_node("Identity", ["goes"], ["going"])),
        helper.make_node("Identity", ["last"], ["y"]),
    ]
    constants = [number("turns", 4), number("zero", 0.0, np.float32)]
    with pytest.raises(
        ModelError, match=r"Loop \(last\); .* and If, Loop and Scan whose conditions and turns are"
    ):
        checked(tmp_path, nodes, constants, x=(1, 4, 8))
