"""Concat of activations along the channels."""

from __future__ import annotations

from graph.network import AxisMap, RegionMap
from graph.operation import Anchored, Operation, View
from graph.primitives import Concat
from graph.values import Value


def concat(operation: Operation) -> Anchored | View:
    """A Concat; with one input, nothing but another name."""
    values = tuple(operation.value(index) for index in range(len(operation.inputs)))
    if len(values) == 1:
        return View(values[0])
    first = values[0]
    axis = operation.integer("axis", 1)
    axis = axis + 1 + len(first.dims) if axis < 0 else axis
    if axis != 1:
        raise operation.error(f"attribute axis is {axis}; expected 1 (the channels)")
    maps: list[RegionMap] = []
    channels = 0
    for index, value in enumerate(values):
        if not value.natural or (value.dims[1:], value.rows) != (first.dims[1:], first.rows):
            raise operation.error(
                f"input {index} has shape {value.shape_text}; "
                f"expected {first.shape_text} but for the channels, not flattened"
            )
        maps.append(RegionMap(AxisMap(), AxisMap(), AxisMap(offset=-channels)))
        channels += value.channels
    dims = (channels, *first.dims[1:])
    output = Value(operation.output, channels, first.rows, first.columns, dims)
    return Anchored(Concat(), values, tuple(maps), output)
