"""GlobalAveragePool and GlobalMaxPool: a window that covers the whole map."""

from __future__ import annotations

from graph.network import AxisMap, RegionMap
from graph.operation import Anchored, Operation
from graph.primitives import Window
from graph.values import map_value


def global_average_pool(operation: Operation) -> Anchored:
    """Mean of each channel's map."""
    return _global_pool(operation, "average")


def global_max_pool(operation: Operation) -> Anchored:
    """Largest element of each channel's map."""
    return _global_pool(operation, "max")


def _global_pool(operation: Operation, mode: str) -> Anchored:
    value = operation.map_input()
    whole = AxisMap(whole=True)
    return Anchored(
        anchor=Window(mode, value.rows, value.columns),
        inputs=(value,),
        maps=(RegionMap(whole, whole, AxisMap()),),
        output=map_value(operation.output, value.channels, 1, 1),
    )
