"""GatherND and ScatterND at constant positions: what exporters write for indexing and for assignments to slices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graph.folded.constants import Array
from graph.layering.operation import Operation
from graph.layering.values import Value
from graph.operators.pieces import concatenated, taken

_MOST_RUNS = 1024
"""Runs of positions that are put together one after another; each is a layer."""


def gather_nd(operation: Operation) -> Value:
    """The positions that the rows of constant indices name, each all of the dimensions behind it."""
    value, indices = operation.value(), operation.constant(1).astype(np.int64)
    skipped = operation.integer("batch_dims", 0)
    count = indices.shape[-1] if indices.ndim else 0
    if not 0 <= skipped < indices.ndim or skipped + count > value.rank:
        raise operation.error(
            f"indices of shape {list(indices.shape)} with batch_dims {skipped} for {operation.text(value)}; expected "
            "no more than its dimensions"
        )
    first = indices.reshape(-1, *indices.shape[skipped:])[0]
    if (indices != first).any():
        raise operation.error(f"indices differ along the first {skipped} dimensions; expected the same")
    flat = _positive(operation, first.reshape(-1, count), value.shape[skipped:])
    box = _box(flat)
    before = value.shape[:skipped]
    if box is None:
        shape = value.shape[skipped : skipped + count]
        places = [int(place) for place in np.ravel_multi_index(tuple(flat.T), shape)]
        value = operation.reshaped(value, [*before, math.prod(shape), *value.shape[skipped + count :]])
        _check_runs(operation, places)
        value = taken(operation, value, skipped, places)
    else:
        for axis, places in enumerate(box):
            value = taken(operation, value, skipped + axis, places)
    after = value.shape[skipped + (1 if box is None else count) :]
    return operation.reshaped(value, [*before, *first.shape[:-1], *after])


def scatter_nd(operation: Operation) -> Value:
    """The first input with the positions that constant indices name replaced by the third; they must be all pairs of
    some positions of each dimension, as in an assignment to slices.
    """
    if operation.word("reduction", "none") != "none":
        raise operation.error(f"attribute reduction is {operation.word('reduction', '')}; expected none")
    indices = operation.constant(1).astype(np.int64)
    data, updates = operation.operand(0), operation.operand(2)
    count = indices.shape[-1] if indices.ndim else 0
    if not 0 < count <= len(data.shape):
        raise operation.error(
            f"indices have shape {list(indices.shape)}; expected rows of at most {len(data.shape)} positions"
        )
    box = _box(_positive(operation, indices.reshape(-1, count), data.shape))
    if box is None:
        raise operation.error(
            "the indices are not all pairs of some positions of each dimension, in order; expected an assignment to "
            "slices"
        )
    shape = [*(len(places) for places in box), *data.shape[count:]]
    if isinstance(updates, Value):
        updates = operation.reshaped(updates, shape)
    if not isinstance(data, Value):
        like = updates if isinstance(updates, Value) else None
        data = operation.constant_tensor(data, str(operation.node.input[0]), like)
    if not isinstance(updates, Value):
        if updates.size != math.prod(shape):
            raise operation.error(
                f"input 2 has shape {list(updates.shape)}; expected as many elements as {shape}"
            )
        updates = operation.constant_tensor(updates.reshape(shape), str(operation.node.input[2]), data)
    return _replaced(operation, data, updates, box, 0)


def _positive(operation: Operation, indices: Array, shape: Sequence[int]) -> Array:
    """Rows of positions, none of them negative."""
    sizes = np.array(shape[: indices.shape[-1]], np.int64)
    found = np.where(indices < 0, indices + sizes, indices)
    if not found.size or (found < 0).any() or (found >= sizes).any():
        raise operation.error(
            f"indices {indices.reshape(-1).tolist()[:8]} are not positions of {list(shape)}"
        )
    return found


def _box(indices: Array) -> list[list[int]] | None:
    """The positions of each dimension of which the rows are all pairs in order; None where they are not."""
    lists = [list(dict.fromkeys(column.tolist())) for column in indices.T]
    if math.prod(len(places) for places in lists) != len(indices):
        return None
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*lists, indexing="ij")], axis=-1)
    return lists if (grid == indices).all() else None


def _replaced(
    operation: Operation, data: Value, updates: Value, box: Sequence[Sequence[int]], axis: int
) -> Value:
    """`data` with those positions of the dimensions from `axis` on replaced, in the ones before it all."""
    if axis == len(box):
        return updates
    places, size = list(box[axis]), data.shape[axis]
    if places == list(range(size)):
        return _replaced(operation, data, updates, box, axis + 1)
    inside = _replaced(operation, taken(operation, data, axis, places), updates, box, axis + 1)
    owner = dict(zip(places, range(len(places)), strict=True))
    runs: list[tuple[bool, list[int]]] = []
    for place in range(size):
        new = place in owner
        if not runs or runs[-1][0] != new:
            runs.append((new, []))
        runs[-1][1].append(owner[place] if new else place)
    if len(runs) > _MOST_RUNS:
        raise operation.error(f"{len(runs)} runs of positions; expected at most {_MOST_RUNS}")
    parts = [taken(operation, inside if new else data, axis, run) for new, run in runs]
    return concatenated(operation, parts, axis)


def _check_runs(operation: Operation, places: Sequence[int]) -> None:
    steps = np.diff(places)
    runs = 1 + int((np.diff(steps) != 0).sum()) if len(places) > 2 else 1
    if runs > _MOST_RUNS:
        raise operation.error(f"positions in {runs} runs; expected at most {_MOST_RUNS}")
