"""Tensors that hold decisions between numbers, such as the results of comparisons and ArgMax.

Where two numbers are nearly equal, rounding turns the decision: the result is another one altogether, however small the
rounding was.
"""

from __future__ import annotations

from graph.network import Layer, Network
from graph.primitives import StepOp

_DECIDING = frozenset(
    {
        StepOp.LESS,
        StepOp.LESS_OR_EQUAL,
        StepOp.GREATER,
        StepOp.GREATER_OR_EQUAL,
        StepOp.EQUAL,
        StepOp.SIGN,
        StepOp.FLOOR,
        StepOp.CEIL,
        StepOp.ROUND,
    }
)


def decided_tensors(network: Network) -> frozenset[int]:
    """The tensors that hold decisions, and what is computed from such tensors and constants alone."""
    found: set[int] = set()
    for layer in network.layers:
        if _decides(layer, found):
            found.add(layer.output)
    return frozenset(found)


def _decides(layer: Layer, known: set[int]) -> bool:
    operands = {step.tensor for step in layer.steps if step.tensor is not None}
    decided = all(tensor in known for place, tensor in enumerate(layer.inputs) if place not in operands)
    for step in layer.steps:
        if step.op in _DECIDING:
            decided = True
        elif step.tensor is not None:
            decided = decided and layer.inputs[step.tensor] in known
    return decided
