"""Operators on two or more operands that are one step each: sums, products, comparisons, logic."""

from __future__ import annotations

from graph.effects import Affine, Effect
from graph.operation import Operation, Operator, Result
from graph.operators.joining import joined
from graph.primitives import StepOp

_STEPS = {
    "Add": StepOp.ADD,
    "Sum": StepOp.ADD,
    "Mean": StepOp.ADD,
    "Sub": StepOp.SUB,
    "Mul": StepOp.MUL,
    "Div": StepOp.DIV,
    "Pow": StepOp.POW,
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


ARITHMETIC: dict[str, Operator] = {name: _operator(op) for name, op in _STEPS.items()}
