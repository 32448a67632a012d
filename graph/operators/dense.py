"""What Gemm and MatMul share: a fully connected layer as a Contraction whose kernel covers its input map."""

from __future__ import annotations

from graph.constants import Array
from graph.effects import Effect
from graph.network import AxisMap, RegionMap
from graph.operation import Anchored, Operation
from graph.primitives import Contraction
from graph.values import Value


def dense(operation: Operation, weight: Array, effects: tuple[Effect, ...]) -> Anchored:
    """Contraction of a (B, D) activation with `weight` (K, D); the activation is a flat map or a vector."""
    value = operation.value()
    if value.dims != (value.elements,):
        raise operation.error(f"input 0 has shape {value.shape_text}; expected (B, D)")
    outputs, inputs = (int(size) for size in weight.shape)
    if inputs != value.elements:
        raise operation.error(f"the weight takes {inputs} features; expected {value.elements} as input 0 has")
    whole = AxisMap(whole=True)
    return Anchored(
        anchor=Contraction(outputs, value.channels, value.rows, value.columns),
        inputs=(value,),
        maps=(RegionMap(whole, whole, whole),),
        output=Value(operation.output, outputs, 1, 1, (outputs,)),
        weight=weight.reshape(outputs, value.channels, value.rows, value.columns),
        effects=effects,
    )
