"""Relu: max(x, 0)."""

from __future__ import annotations

from graph.effects import Limit
from graph.operation import Operation, Pointwise


def relu(operation: Operation) -> Pointwise:
    """max(x, 0)."""
    return Pointwise((operation.value(),), (Limit(0.0, None),))
