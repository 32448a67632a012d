"""Which rows of every local tensor a core has in which piece of an instance.

Row ranges follow the region maps backwards from the rows that the core owns of every tensor that leaves the sub-graph;
where branches meet, the union. Pieces are increments: piece p of a tensor holds the rows from where piece p - 1 ended
to the last row that piece p of any consumer needs, so nothing is computed twice on one core and piece p depends on
pieces up to p only. The row ways of a layer share the rows evenly that other bindings need of it, and each sends its
share to the cores that need it.
"""

from __future__ import annotations

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from scheduling.choice import Choice
from scheduling.lowering.local_tensors import Locals
from scheduling.lowering.region_maps import needed_rows, needed_stop
from scheduling.lowering.tables import Ints, NetworkTable


@compiled
def row_ranges(
    net: NetworkTable,
    choice: Choice,
    row_part: int,
    own: Locals,
    start: Ints,
    ends: Ints,
    own_start: Ints,
    own_stop: Ints,
) -> None:
    """Write the rows of the instances with this row slice: `start`, `own_start` and `own_stop` (R, N), `ends`
    (R, N, P), as in Geometry."""
    last = np.empty(start.shape, np.int64)
    _row_ranges(net, choice, row_part, own, start, ends, own_start, own_stop, last)


@compiled_leaf
def _row_ranges(
    net: NetworkTable,
    choice: Choice,
    row_part: int,
    own: Locals,
    start: Ints,
    ends: Ints,
    own_start: Ints,
    own_stop: Ints,
    last: Ints,
) -> None:
    """`row_ranges`, with room for the row after the last one of each tensor (R, N)."""
    first, stop = choice.first, choice.stop
    count = stop - first
    row_ways, n, pieces = ends.shape
    entries, tensor_of, edge_local, leaves = own.entries, own.tensor, own.edge_local, own.leaves
    edge0 = net.edge_start[first]
    for t in range(n):
        rows = net.tensor_rows[tensor_of[t]]
        parts = choice.split_rows * own.row_ways[t]
        for way in range(row_ways):
            start[way, t] = rows
            last[way, t] = 0
            if leaves[t] and way < own.row_ways[t]:
                part = row_part * own.row_ways[t] + way
                own_start[way, t] = rows * part // parts if part > 0 else 0
                own_stop[way, t] = rows * (part + 1) // parts if part + 1 < parts else rows
                if own_stop[way, t] > own_start[way, t]:
                    start[way, t] = own_start[way, t]
                    last[way, t] = own_stop[way, t]
    for j in range(count - 1, -1, -1):
        out = entries + j
        copy = own.next_copy[out]
        while copy >= 0:
            _rows_sent(copy, out, own.row_ways[out], start, last, own_start, own_stop)
            copy = own.next_copy[copy]
        for way in range(own.row_ways[out]):
            if last[way, out] <= start[way, out]:
                continue
            for e in range(net.edge_start[first + j], net.edge_start[first + j + 1]):
                t = edge_local[e - edge0]
                low, high = needed_rows(net, e, start[way, out], last[way, out])
                if high > low:  # a part of a Concat reads nothing of the other inputs
                    start[way, t] = min(start[way, t], low)
                    last[way, t] = max(last[way, t], high)
    for way in range(row_ways):
        for t in range(n):
            if last[way, t] <= start[way, t]:
                start[way, t] = 0
                last[way, t] = 0
            if pieces == 1:
                ends[way, t, 0] = last[way, t]
            else:
                _even_ends(start[way, t], last[way, t], ends[way, t])
    if pieces == 1:
        return
    for j in range(count - 1, -1, -1):
        out = entries + j
        copy = own.next_copy[out]
        while copy >= 0:
            _send_in_time(copy, out, own.row_ways[out], start, ends, own_start, own_stop)
            copy = own.next_copy[copy]
        for way in range(own.row_ways[out]):
            if last[way, out] <= start[way, out]:
                continue
            for e in range(net.edge_start[first + j], net.edge_start[first + j + 1]):
                t = edge_local[e - edge0]
                _extend_ends(
                    ends[way, out], start[way, out], net.edge_stride[e], net.edge_offset[e], net.edge_extent[e],
                    net.edge_divisor[e], net.edge_whole[e], net.tensor_rows[tensor_of[t]], last[way, t],
                    ends[way, t],
                )  # fmt: skip


@compiled_leaf
def _rows_sent(
    copy: int, source: int, ways: int, start: Ints, last: Ints, own_start: Ints, own_stop: Ints
) -> None:
    """Share the rows that any core needs of a copy among the row ways that make its source."""
    low, high = start[0, copy], last[0, copy]
    for way in range(1, start.shape[0]):
        low, high = min(low, start[way, copy]), max(high, last[way, copy])
    for way in range(ways if high > low else 0):
        begin, stop = low + (high - low) * way // ways, low + (high - low) * (way + 1) // ways
        if stop > begin:
            own_start[way, copy], own_stop[way, copy] = begin, stop
            start[way, source] = min(start[way, source], begin)
            last[way, source] = max(last[way, source], stop)


@compiled_leaf
def _send_in_time(
    copy: int, source: int, ways: int, start: Ints, ends: Ints, own_start: Ints, own_stop: Ints
) -> None:
    """Let each piece of a copy's source reach as far as the same piece of the copy needs on any core."""
    for way in range(ways):
        for p in range(ends.shape[2]):
            for other in range(ends.shape[0]):
                if ends[other, copy, p] > start[other, copy]:
                    high = min(ends[other, copy, p], own_stop[way, copy])
                    if high > own_start[way, copy]:
                        ends[way, source, p] = max(ends[way, source, p], high)


@compiled_leaf
def _even_ends(start: int, last: int, ends: Ints) -> None:
    """Cut rows [start, last) into even pieces. Divides once: divisions are most of what small kernels cost."""
    pieces = ends.shape[0]
    rows = last - start
    each = rows // pieces
    over = rows - each * pieces
    end, rest = start, 0
    for p in range(pieces):
        end += each
        rest += over
        if rest >= pieces:
            rest -= pieces
            end += 1
        ends[p] = end


@compiled_leaf
def _extend_ends(
    out_ends: Ints,
    out_start: int,
    stride: int,
    offset: int,
    extent: int,
    divisor: int,
    whole: int,
    size: int,
    last: int,
    ends: Ints,
) -> None:
    """Let each piece of an input reach as far as the same piece of the output needs, though not beyond `last`."""
    for p in range(ends.shape[0]):
        if out_ends[p] > out_start:
            high = needed_stop(out_ends[p], stride, offset, extent, divisor, whole, size)
            ends[p] = max(ends[p], min(high, last))
