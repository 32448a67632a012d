"""Each element-wise step as standard ONNX nodes."""

from __future__ import annotations

import math

import onnx

from graph.exporting.graph_writer import GraphWriter
from graph.primitives import StepOp

_ONE = {
    StepOp.RELU: "Relu",
    StepOp.ABS: "Abs",
    StepOp.SIGN: "Sign",
    StepOp.FLOOR: "Floor",
    StepOp.CEIL: "Ceil",
    StepOp.ROUND: "Round",
    StepOp.EXP: "Exp",
    StepOp.LOG: "Log",
    StepOp.SQRT: "Sqrt",
    StepOp.ERF: "Erf",
    StepOp.SIN: "Sin",
    StepOp.COS: "Cos",
    StepOp.TANH: "Tanh",
    StepOp.SIGMOID: "Sigmoid",
    StepOp.SOFTPLUS: "Softplus",
}
_TWO = {
    StepOp.ADD: "Add",
    StepOp.SUB: "Sub",
    StepOp.MUL: "Mul",
    StepOp.DIV: "Div",
    StepOp.MAX: "Max",
    StepOp.MIN: "Min",
    StepOp.POW: "Pow",
}
_EXCHANGED = {StepOp.RSUB: "Sub", StepOp.RDIV: "Div", StepOp.RPOW: "Pow"}
_COMPARED = {
    StepOp.LESS: "Less",
    StepOp.LESS_OR_EQUAL: "LessOrEqual",
    StepOp.GREATER: "Greater",
    StepOp.GREATER_OR_EQUAL: "GreaterOrEqual",
    StepOp.EQUAL: "Equal",
}


def write_step(writer: GraphWriter, op: StepOp, value: str, operand: str) -> str:
    """Nodes for one step (but CLIP) on tensor `value`, with `operand` where the op has one; returns the name of
    the result.
    """
    node, number = writer.node, writer.number
    if op in _ONE:
        return node(_ONE[op], value)
    if op in _TWO:
        return node(_TWO[op], value, operand)
    if op in _EXCHANGED:
        return node(_EXCHANGED[op], operand, value)
    if op in _COMPARED:
        return node("Cast", node(_COMPARED[op], value, operand), to=onnx.TensorProto.FLOAT)
    if op in (StepOp.KEEP_IF, StepOp.KEEP_UNLESS):
        kept = node("Cast", operand, to=onnx.TensorProto.BOOL)
        zero = number(0.0)
        return node("Where", kept, *((value, zero) if op is StepOp.KEEP_IF else (zero, value)))
    if op in (StepOp.PRELU, StepOp.ELU):
        below = value if op is StepOp.PRELU else node("Sub", node("Exp", value), number(1.0))
        return node("Where", node("Less", value, number(0.0)), node("Mul", operand, below), value)
    if op is StepOp.SILU:
        return node("Mul", value, node("Sigmoid", value))
    if op is StepOp.MISH:
        return node("Mul", value, node("Tanh", node("Softplus", value)))
    if op is StepOp.GELU:
        inner = node("Erf", node("Mul", value, number(math.sqrt(0.5))))
    elif op is StepOp.GELU_TANH:
        cube = node("Mul", node("Mul", value, value), node("Mul", value, number(0.044715)))
        inner = node("Tanh", node("Mul", node("Add", value, cube), number(math.sqrt(2 / math.pi))))
    else:
        raise ValueError(f"step {op} has no ONNX form")
    half = node("Mul", value, number(0.5))
    return node("Mul", half, node("Add", inner, number(1.0)))
