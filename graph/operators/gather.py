"""Gather: rows of a constant table by an activation's indices, or constant positions of an activation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from graph.folded.constants import Array
from graph.layering.layout import Digit, merged, ordinal
from graph.layering.operation import Anchored, Operation, Result
from graph.layering.values import Value
from graph.network import AxisMap, RegionMap
from graph.operators.linear import WHOLE
from graph.operators.pieces import taken
from graph.primitives import Embedding


def gather(operation: Operation) -> Result:
    """An Embedding, or a view of the activation."""
    data, indices = operation.item(0), operation.item(1)
    if isinstance(indices, Value) and isinstance(data, np.ndarray):
        axis = operation.integer("axis", 0)
        if axis not in (0, -data.ndim):
            raise operation.error(f"indices are an activation along axis {axis}; expected axis 0")
        return embedding(operation, data, indices, 1)
    if isinstance(indices, Value):
        raise operation.error("both inputs are activations; expected a constant table or constant indices")
    value = operation.value()
    axis = operation.axis(value, operation.integer("axis", 0))
    places = operation.constant(1).astype(np.int64)
    size = value.shape[axis]
    found = [int(place) + size if place < 0 else int(place) for place in places.ravel()]
    if not found or min(found) < 0 or max(found) >= size:
        raise operation.error(f"indices {found[:8]} are not positions of a dimension of {size}")
    result = taken(operation, value, axis, found)
    return operation.reshaped(result, [*value.shape[:axis], *places.shape, *value.shape[axis + 1 :]])


def embedding(operation: Operation, table: Array, indices: Value, place: int) -> Anchored:
    """The rows of a constant table that input `place` names."""
    if table.ndim != 2 or table.dtype != np.float32:
        raise operation.error(
            f"a table of shape {list(table.shape)} and type {table.dtype}; expected (entries, features) float32"
        )
    if not indices.indices:
        raise operation.error(
            f"indices {operation.node.input[place]!r} are computed; expected a graph input of integers that only "
            "Gathers read"
        )
    if not indices.plain:
        raise operation.error("indices are a part of a graph input; expected all of it")
    entries, channels = (int(size) for size in table.shape)
    dims = tuple(
        tuple(digit if digit.batch else Digit(digit.size, digit.stride // 2 * channels) for digit in dim)
        for dim in indices.dims
    )
    output = Value("", channels, indices.rows, indices.columns, (*dims, merged(ordinal([channels]))))
    return Anchored(
        anchor=Embedding(entries, channels),
        inputs=(replace(indices, dims=()),),
        maps=(RegionMap(AxisMap(), AxisMap(), WHOLE),),
        output=output,
        weight=table,
    )
