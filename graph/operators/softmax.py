"""Softmax and LogSoftmax along any dimension."""

from __future__ import annotations

from collections.abc import Sequence

from graph.layering.operation import Anchored, Operation
from graph.layering.values import Value
from graph.network import AxisMap, RegionMap
from graph.operators.groups import grouped
from graph.operators.linear import channel_blocks
from graph.primitives import Softmax


def softmax(operation: Operation) -> Anchored:
    """A Softmax over a group of channels.

    Before opset 13 the operator works over all dimensions from `axis` (default 1) on; from then on along
    `axis` (default -1).
    """
    old = operation.opset < 13
    value = operation.value()
    axis = operation.axis(value, operation.integer("axis", 1 if old else -1))
    return softmax_over(operation, value, list(range(axis, value.rank)) if old else [axis])


def softmax_over(operation: Operation, value: Value, axes: Sequence[int]) -> Anchored:
    """A Softmax, or the node's LogSoftmax, over those dimensions."""
    value, group = grouped(operation, value, axes)
    count = value.channels // group
    return Anchored(
        anchor=Softmax(group, operation.node.op_type == "LogSoftmax"),
        inputs=(value,),
        maps=(RegionMap(AxisMap(), AxisMap(), channel_blocks(count, group, group)),),
        output=value,
    )
