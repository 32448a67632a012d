"""MatMul of an activation (B, D) with a constant (D, K)."""

from __future__ import annotations

from graph.operation import Anchored, Operation
from graph.operators.dense import dense


def matmul(operation: Operation) -> Anchored:
    """A Contraction without bias; the right side must be a constant matrix."""
    weight = operation.weight(1)
    if weight.ndim != 2:
        raise operation.error(f"input 1 has {weight.ndim} dimensions; expected a constant matrix (D, K)")
    return dense(operation, weight.T, ())
