"""Add and Sum: activations of one shape (a residual), numbers and per-channel vectors added up."""

from __future__ import annotations

from graph.operation import Operation, Pointwise
from graph.operators.broadcast import combined
from graph.primitives import StepOp


def add(operation: Operation) -> Pointwise:
    """Element-wise sum of all inputs."""
    return combined(operation, StepOp.ADD)
