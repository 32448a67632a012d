"""Mul: activations of one shape, numbers and per-channel vectors multiplied."""

from __future__ import annotations

from graph.operation import Operation, Pointwise
from graph.operators.broadcast import combined
from graph.primitives import StepOp


def mul(operation: Operation) -> Pointwise:
    """Element-wise product of the two inputs."""
    return combined(operation, StepOp.MUL)
