"""Softmax over the channels of a vector."""

from __future__ import annotations

from graph.network import AxisMap, RegionMap
from graph.operation import Anchored, Operation
from graph.primitives import Softmax
from graph.values import Value


def softmax(operation: Operation) -> Anchored:
    """A Softmax; rows and columns must be 1.

    Before opset 13 the operator flattens from `axis` (default 1) on; from then on it works along `axis`
    (default -1). Both mean the channels here when the axis is 1.
    """
    value = operation.value()
    axis = operation.integer("axis", 1 if operation.opset < 13 else -1)
    axis = axis + 1 + len(value.dims) if axis < 0 else axis
    if axis != 1 or not value.natural or value.rows != 1 or value.columns != 1:
        raise operation.error(
            f"softmax along dimension {axis} of {value.shape_text}; "
            "expected dimension 1, all others but the batch 1"
        )
    whole = AxisMap(whole=True)
    return Anchored(
        anchor=Softmax(),
        inputs=(value,),
        maps=(RegionMap(AxisMap(), AxisMap(), whole),),
        output=Value(operation.output, value.channels, 1, 1, value.dims),
    )
