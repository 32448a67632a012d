"""LayerNormalization and RMSNormalization."""

from __future__ import annotations

from graph.layering.operation import Anchored, Operation, Result
from graph.network import AxisMap, RegionMap
from graph.operators.groups import grouped
from graph.operators.joining import scaled
from graph.operators.linear import channel_blocks
from graph.primitives import Normalize


def layer_normalization(operation: Operation) -> Result:
    """A Normalize over the dimensions from `axis` on, then scale and bias."""
    return _normalized(operation, center=True)


def rms_normalization(operation: Operation) -> Result:
    """A Normalize without its mean, then the scale."""
    return _normalized(operation, center=False)


def _normalized(operation: Operation, center: bool) -> Result:
    for name in operation.node.output[1:]:
        if name and name in operation.read_names:
            raise operation.error(f"output {name!r} is read; expected the first output only")
    value = operation.value()
    axis = operation.axis(value, operation.integer("axis", -1))
    value, group = grouped(operation, value, range(axis, value.rank))
    anchored = Anchored(
        anchor=Normalize(group, operation.number("epsilon", 1e-5), center),
        inputs=(value,),
        maps=(RegionMap(AxisMap(), AxisMap(), channel_blocks(value.channels // group, group, group)),),
        output=value,
    )
    scale, bias = operation.optional_constant(1), operation.optional_constant(2)
    if scale is None and bias is None:
        return anchored
    return scaled(operation, operation.emit(anchored), scale, bias)
