"""Shapes: which slices of a sub-graph look alike to lowering, so that they share one template.

Two row slices are alike when every tensor has as many rows in each piece, and every layer lies on its inputs alike:
with the same distance of windows to the first row held, and as much padding at either end. Columns likewise.
"""

from __future__ import annotations

import numpy as np

from hwmodel.compiled import compiled
from scheduling.choice import RECOMPUTE, Choice, row_pieces
from scheduling.lowering.column_ranges import cached_columns, column_ranges
from scheduling.lowering.local_tensors import Locals, local_tensors
from scheduling.lowering.row_ranges import row_ranges
from scheduling.lowering.tables import EMBEDS, JOINS_ROWS, REARRANGES, Ints, NetworkTable


@compiled
def alike_rows(net: NetworkTable, choice: Choice) -> Ints:
    """(split_rows,) for every row slice the first one that looks like it."""
    own = local_tensors(net, choice)
    n, ways = own.tensor.shape[0], choice.ways_rows
    pieces = row_pieces(choice)
    edges = own.edge_local.shape[0]
    start = np.zeros((ways, n), np.int64)
    ends = np.zeros((ways, n, pieces), np.int64)
    own_start = np.zeros((ways, n), np.int64)
    own_stop = np.zeros((ways, n), np.int64)
    shapes = np.empty((choice.split_rows, ways * (n * (pieces + 3) + 5 * edges)), np.int64)
    alike = np.empty(choice.split_rows, np.int64)
    for part in range(choice.split_rows):
        start[:] = 0
        own_start[:] = 0
        own_stop[:] = 0
        row_ranges(net, choice, part, own, start, ends, own_start, own_stop)
        k = 0
        for way in range(ways):
            for t in range(n):
                shapes[part, k] = start[way, t] - start[0, t]
                shapes[part, k + 1] = own_start[way, t] - start[way, t] if own.leaves[t] else 0
                shapes[part, k + 2] = own_stop[way, t] - own_start[way, t]
                k += 3
                for p in range(pieces):
                    shapes[part, k] = ends[way, t, p] - start[way, t]
                    k += 1
            k = _lie(
                net, choice, own, start[way], ends[way, :, pieces - 1], start[way], ends[way, :, pieces - 1],
                net.edge_stride, net.edge_offset, net.edge_extent, net.edge_divisor, net.edge_whole,
                net.tensor_rows, True, shapes[part], k,
            )  # fmt: skip
        alike[part] = _first_alike(shapes, alike, part)
    return alike


@compiled
def alike_columns(net: NetworkTable, choice: Choice) -> Ints:
    """(split_columns,) for every column slice the first one that looks like it."""
    own = local_tensors(net, choice)
    n = own.tensor.shape[0]
    shapes = np.empty((choice.split_columns, 5 * n + 5 * own.edge_local.shape[0]), np.int64)
    alike = np.empty(choice.split_columns, np.int64)
    caches = choice.halo != RECOMPUTE and choice.split_columns > 1
    cached = cached_columns(net, choice, own) if caches else np.empty((0, 7, n), np.int64)
    for part in range(choice.split_columns):
        ranges = cached[part] if caches else column_ranges(net, choice, part, own)
        k = 0
        for t in range(n):
            for row in range(1, 6):  # what is stored: only of tensors that leave
                shapes[part, k] = ranges[row, t] - ranges[0, t] if row < 4 or own.leaves[t] else 0
                k += 1
        _lie(
            net, choice, own, ranges[2], ranges[1], ranges[0], ranges[1],
            net.column_stride, net.column_offset, net.column_extent, net.column_divisor, net.column_whole,
            net.tensor_columns, False, shapes[part], k,
        )  # fmt: skip
        alike[part] = _first_alike(shapes, alike, part)
    return alike


@compiled
def _lie(
    net: NetworkTable,
    choice: Choice,
    own: Locals,
    made: Ints,
    made_stop: Ints,
    held: Ints,
    held_stop: Ints,
    stride: Ints,
    offset: Ints,
    extent: Ints,
    divisor: Ints,
    whole: Ints,
    size: Ints,
    is_rows: bool,
    shape: Ints,
    k: int,
) -> int:
    """Write how outputs [made, made_stop) lie on inputs [held, held_stop), five numbers for every edge."""
    edge0 = net.edge_start[choice.first]
    for j in range(choice.stop - choice.first):
        layer = choice.first + j
        out = own.entries + j
        for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
            t = own.edge_local[e - edge0]
            shape[k : k + 5] = 0
            if made_stop[out] > made[out]:
                kind = net.kind[layer]
                empty = held_stop[t] <= held[t]
                by_place = kind == REARRANGES or (is_rows and kind in (JOINS_ROWS, EMBEDS))
                if empty or by_place:
                    shape[k] = made[out] + 1
                if whole[e]:
                    shape[k + 1] = held[t] + 1
                else:
                    first = made[out] // divisor[e] * stride[e] + offset[e]
                    last = (made_stop[out] - 1) // divisor[e] * stride[e] + offset[e] + extent[e]
                    shape[k + 1] = 0 if empty else first - held[t]
                    shape[k + 2] = min(0, first)
                    shape[k + 3] = max(0, last - size[own.tensor[t]])
                    shape[k + 4] = made[out] % divisor[e]
            k += 5
    return k


@compiled
def _first_alike(shapes: Ints, alike: Ints, part: int) -> int:
    for other in range(part):
        if alike[other] == other and np.array_equal(shapes[other], shapes[part]):
            return other
    return part
