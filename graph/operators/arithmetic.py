"""Operators on two or more operands that are one step each: sums, products, comparisons, logic."""

from __future__ import annotations

from graph.layering.effects import Affine, Effect
from graph.layering.operation import Operation, Operator, Result
from graph.layering.values import Element, Value
from graph.operators.joining import joined, truncated
from graph.primitives import StepOp

_STEPS = {
    "Add": StepOp.ADD,
    "Sum": StepOp.ADD,
    "Mean": StepOp.ADD,
    "Sub": StepOp.SUB,
    "Mul": StepOp.MUL,
    "Max": StepOp.MAX,
    "Min": StepOp.MIN,
    "PRelu": StepOp.PRELU,
    "Equal": StepOp.EQUAL,
    "Less": StepOp.LESS,
    "LessOrEqual": StepOp.LESS_OR_EQUAL,
    "Greater": StepOp.GREATER,
    "GreaterOrEqual": StepOp.GREATER_OR_EQUAL,
    "And": StepOp.MUL,
    "Or": StepOp.MAX,
}


def _operator(op: StepOp) -> Operator:
    def read(operation: Operation) -> Result:
        items = [operation.operand(index) for index in range(len(operation.inputs))]
        effects: tuple[Effect, ...] = ()
        if operation.node.op_type == "Mean":
            effects = (Affine(scale=1 / len(items)),)
        if len(items) == 1 and not effects:
            return operation.value()
        return joined(operation, op, items, effects, fixed=op is StepOp.PRELU)

    return read


def divide(operation: Operation) -> Result:
    """The quotient, of integers rounded towards zero."""
    quotient = joined(operation, StepOp.DIV, [operation.operand(0), operation.operand(1)])
    if operation.element() is not Element.INTEGER:
        return quotient
    return truncated(operation, operation.emit(quotient))


def power(operation: Operation) -> Result:
    """The power, of integers only where it is one."""
    base, exponent = operation.operand(0), operation.operand(1)
    if isinstance(exponent, Value) or ((exponent < 0) | (exponent % 1 != 0)).any():
        operation.refuse_integers("to a power that is no constant of whole numbers from 0 on")
    return joined(operation, StepOp.POW, [base, exponent])


def exclusive_or(operation: Operation) -> Result:
    """Whether two booleans differ."""
    items = [operation.operand(0), operation.operand(1)]
    return joined(operation, StepOp.EQUAL, items, (Affine(-1.0, 1.0),))


ARITHMETIC: dict[str, Operator] = {name: _operator(op) for name, op in _STEPS.items()} | {
    "Div": divide,
    "Pow": power,
    "Xor": exclusive_or,
}
