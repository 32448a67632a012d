"""LRN: local response normalisation over neighbouring channels."""

from __future__ import annotations

from graph.layering.operation import Anchored, Operation
from graph.network import AxisMap, RegionMap
from graph.primitives import ChannelNorm


def lrn(operation: Operation) -> Anchored:
    """A ChannelNorm over an odd number of channels."""
    value = operation.map_input()
    size = operation.integer("size", 0)
    if size < 1 or size % 2 == 0:
        raise operation.error(f"attribute size is {size}; expected an odd number of channels")
    return Anchored(
        anchor=ChannelNorm(
            size=size,
            alpha=operation.number("alpha", 1e-4),
            beta=operation.number("beta", 0.75),
            bias=operation.number("bias", 1.0),
        ),
        inputs=(value,),
        maps=(RegionMap(AxisMap(), AxisMap(), AxisMap(whole=True)),),
        output=value,
    )
