"""Every element-wise step of the functional simulator against onnxruntime, and every kind of operand."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from hwmodel.functional.elementwise import erf
from hwmodel.programs.fields import UNARY_CODES
from hwmodel.programs.isa import Op, OperandKind, StepCode, VectorKind
from tests.hwmodel import made_programs as programs
from tests.hwmodel.functional.test_functional_ops import assert_close, rounded, run
from tests.hwmodel.made_programs import OTHER, OUT, Array, Shape, bits, box, instruction, steps, view

SHAPE: Shape = (2, 3, 4, 5)

SIZES = {"fp32": 4, "fp16": 2}

# ONNX nodes, in order: operator, inputs, attributes. Each makes the tensor that its place says: t0, t1, ...
Nodes = list[tuple[str, tuple[str, ...], Mapping[str, object]]]

UNARY: dict[StepCode, Nodes] = {
    StepCode.RELU: [("Relu", ("y",), {})],
    StepCode.ABS: [("Abs", ("y",), {})],
    StepCode.SIGN: [("Sign", ("y",), {})],
    StepCode.FLOOR: [("Floor", ("y",), {})],
    StepCode.CEIL: [("Ceil", ("y",), {})],
    StepCode.ROUND: [("Round", ("y",), {})],
    StepCode.EXP: [("Exp", ("y",), {})],
    StepCode.LOG: [("Log", ("y",), {})],
    StepCode.SQRT: [("Sqrt", ("y",), {})],
    StepCode.ERF: [("Erf", ("y",), {})],
    StepCode.SIN: [("Sin", ("y",), {})],
    StepCode.COS: [("Cos", ("y",), {})],
    StepCode.TANH: [("Tanh", ("y",), {})],
    StepCode.SIGMOID: [("Sigmoid", ("y",), {})],
    StepCode.SOFTPLUS: [("Softplus", ("y",), {})],
    StepCode.GELU: [("Gelu", ("y",), {})],
    StepCode.GELU_TANH: [("Gelu", ("y",), {"approximate": "tanh"})],
    StepCode.SILU: [("Sigmoid", ("y",), {}), ("Mul", ("y", "t0"), {})],
    StepCode.MISH: [("Mish", ("y",), {})],
}

_FLOAT = {"to": TensorProto.FLOAT}
_BOOL = {"to": TensorProto.BOOL}

BINARY: dict[StepCode, Nodes] = {
    StepCode.ADD: [("Add", ("y", "o"), {})],
    StepCode.SUB: [("Sub", ("y", "o"), {})],
    StepCode.RSUB: [("Sub", ("o", "y"), {})],
    StepCode.MUL: [("Mul", ("y", "o"), {})],
    StepCode.DIV: [("Div", ("y", "o"), {})],
    StepCode.RDIV: [("Div", ("o", "y"), {})],
    StepCode.MAX: [("Max", ("y", "o"), {})],
    StepCode.MIN: [("Min", ("y", "o"), {})],
    StepCode.POW: [("Pow", ("y", "o"), {})],
    StepCode.RPOW: [("Pow", ("o", "y"), {})],
    StepCode.LESS: [("Less", ("y", "o"), {}), ("Cast", ("t0",), _FLOAT)],
    StepCode.LESS_OR_EQUAL: [("LessOrEqual", ("y", "o"), {}), ("Cast", ("t0",), _FLOAT)],
    StepCode.GREATER: [("Greater", ("y", "o"), {}), ("Cast", ("t0",), _FLOAT)],
    StepCode.GREATER_OR_EQUAL: [("GreaterOrEqual", ("y", "o"), {}), ("Cast", ("t0",), _FLOAT)],
    StepCode.EQUAL: [("Equal", ("y", "o"), {}), ("Cast", ("t0",), _FLOAT)],
    StepCode.KEEP_IF: [
        ("Sub", ("y", "y"), {}),
        ("Cast", ("o",), _BOOL),
        ("Where", ("t1", "y", "t0"), {}),
    ],
    StepCode.KEEP_UNLESS: [
        ("Sub", ("y", "y"), {}),
        ("Cast", ("o",), _BOOL),
        ("Where", ("t1", "t0", "y"), {}),
    ],
    StepCode.PRELU: [("PRelu", ("y", "o"), {})],
    StepCode.ELU: [("Elu", ("y",), {"alpha": 1.0})],
}


def reference(nodes: Nodes, **arrays: NDArray[np.float32]) -> NDArray[np.float32]:
    """What onnxruntime makes of float32 arrays."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, values.shape)
        for name, values in arrays.items()
    ]
    last = f"t{len(nodes) - 1}"
    output = helper.make_tensor_value_info(last, TensorProto.FLOAT, None)
    graph = helper.make_graph(
        [
            helper.make_node(op, names, [f"t{i}"], **attributes)
            for i, (op, names, attributes) in enumerate(nodes)
        ],
        *("g", inputs, [output]),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run([last], arrays)
    return np.asarray(result, np.float32)


def test_every_step_is_tested() -> None:
    assert UNARY.keys() | {StepCode.CLIP} == UNARY_CODES
    assert BINARY.keys() == set(StepCode) - UNARY_CODES


def stepped(
    step: Mapping[str, int],
    x: Array,
    element: str = "fp32",
    other: Array | None = None,
    weights: dict[str, Array] | None = None,
) -> Array:
    """A COPY of x (NHWC) with one step, `other` being at element OTHER of l1."""
    m = programs.machine(element)
    size = m.element_bytes
    shape: Shape = x.shape
    views = view("in", 0, shape[1:], size) | view("out", OUT * size, shape[1:], size)
    body = [instruction(Op.VECTOR, [0], {"kind": VectorKind.COPY}, box(shape), views, steps(step))]
    program = programs.single(m, shape, shape, body, weights, other=other is not None)
    inputs = {"x": x} | ({} if other is None else {"other": other})
    return run(program, m, "native", inputs, weights)


@pytest.mark.parametrize("element, bound", [("fp32", 1e-6), ("fp16", 1e-3)])
@pytest.mark.parametrize("step", UNARY)
def test_a_step_without_operand(step: StepCode, element: str, bound: float) -> None:
    x = rounded(np.random.default_rng(0), *SHAPE) * 2
    if step in (StepCode.LOG, StepCode.SQRT):
        x = np.abs(x) + 0.125
    found = stepped({"op": step, "kind": OperandKind.NONE}, x, element)
    assert_close(found, reference(UNARY[step], y=x), bound)


SPECIAL = np.array(
    [0.0, -0.0, 0.5, 1.5, -2.5, 1.0, -1.0, 30.0, -30.0, 100.0, -100.0, np.inf, -np.inf, np.nan], np.float32
)


# SILU of -inf is -inf x 0, and a product's NaN is no claim; the same with what ends in such a product.
PRODUCTS = (StepCode.GELU, StepCode.GELU_TANH, StepCode.SILU, StepCode.MISH)


@pytest.mark.parametrize("step", UNARY)
def test_a_step_on_special_numbers(step: StepCode) -> None:
    y = SPECIAL[np.isfinite(SPECIAL)] if step in PRODUCTS else SPECIAL
    found = stepped({"op": step, "kind": OperandKind.NONE}, y.reshape(1, 1, 1, -1)).ravel()
    if step in (StepCode.SIN, StepCode.COS):
        expected = np.array([getattr(math, step.name.lower())(v) if math.isfinite(v) else np.nan for v in y])
    else:
        expected = reference(UNARY[step], y=y)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("element, bound", [("fp32", 1e-6), ("fp16", 1e-3)])
@pytest.mark.parametrize("step", BINARY)
def test_a_step_with_an_operand(step: StepCode, element: str, bound: float) -> None:
    rng = np.random.default_rng(1)
    x, other = rounded(rng, *SHAPE), rounded(rng, *SHAPE)
    x[0, 0], other[0, 1] = other[0, 0], 0.0
    if step in (StepCode.POW, StepCode.RPOW, StepCode.DIV, StepCode.RDIV):
        x, other = np.abs(x) + 0.125, np.abs(other) + 0.125
    if step is StepCode.ELU:
        other = np.full(SHAPE, 1.0, np.float32)
    x, other = (values.astype(np.float16).astype(np.float32) for values in (x, other))
    operand = {"op": step, "kind": OperandKind.TENSOR} | view(
        "", OTHER * SIZES[element], SHAPE[1:], SIZES[element]
    )
    arrays = {"y": x} | ({} if step is StepCode.ELU else {"o": other})
    assert_close(stepped(operand, x, element, other), reference(BINARY[step], **arrays), bound)


def test_elu_scales_by_its_operand() -> None:
    x = rounded(np.random.default_rng(2), *SHAPE)
    found = stepped({"op": StepCode.ELU, "kind": OperandKind.SCALAR, "low": bits(0.75)}, x)
    assert_close(found, reference([("Elu", ("y",), {"alpha": 0.75})], y=x), 1e-6)


def test_division_by_zero_is_infinite() -> None:
    x = np.array([1.0, -1.0, 0.0], np.float32).reshape(1, 1, 1, 3)
    found = stepped({"op": StepCode.DIV, "kind": OperandKind.SCALAR, "low": bits(0.0)}, x).ravel()
    np.testing.assert_array_equal(found, [np.inf, -np.inf, np.nan])


@pytest.mark.parametrize("element", ["fp32", "fp16"])
@pytest.mark.parametrize(
    "repeated", [(), ("image",), ("row",), ("col",), ("row", "col"), ("image", "row", "col")]
)
@pytest.mark.parametrize("kind", [OperandKind.TENSOR, OperandKind.CHANNEL])
def test_an_operand_is_repeated(kind: OperandKind, repeated: tuple[str, ...], element: str) -> None:
    size = SIZES[element]
    rng = np.random.default_rng(3)
    x, other = rounded(rng, *SHAPE), rounded(rng, *SHAPE)
    operand = {"op": StepCode.RSUB, "kind": kind} | view("", OTHER * size, SHAPE[1:], size)
    operand |= {f"_{axis}_stride": 0 for axis in repeated}
    used = other[..., :1] if kind is OperandKind.CHANNEL else other
    for axis, name in enumerate(("image", "row", "col")):
        if name in repeated:
            used = used.take([0], axis=axis)
    assert_close(stepped(operand, x, element, other), np.broadcast_to(used, SHAPE) - x, 1e-3)


def test_parameters_and_scalars_are_operands() -> None:
    rng = np.random.default_rng(4)
    x, slope = rounded(rng, *SHAPE), rounded(rng, 5)
    found = stepped(programs.parameter(StepCode.PRELU, 0), x, weights={"slope": slope})
    assert_close(found, np.where(x < 0, x * slope, x), 1e-6)
    found = stepped({"op": StepCode.RDIV, "kind": OperandKind.SCALAR, "low": bits(2.0)}, x + 9)
    assert_close(found, 2 / (x + 9), 1e-6)


def test_the_error_function_is_accurate() -> None:
    small = np.logspace(-30, 0, 500)
    x = np.concatenate([np.linspace(-6, 6, 20001), small, -small]).astype(np.float32)
    expected = np.array([math.erf(value) for value in x.tolist()])
    found = erf(x).astype(np.float64)
    assert np.abs(found - expected).max() < 4e-8
    assert (np.abs(found - expected) <= 1e-7 * np.abs(expected)).all()
