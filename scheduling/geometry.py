"""Which rows of which tensor a core computes in which piece of an instance.

Local tensors of a sub-graph: first its entries (tensors made elsewhere), in order of first use, then the output of
each of its layers. Row ranges follow the region maps backwards from the rows that the core owns of every tensor
that leaves the sub-graph; where branches meet, the union. Pieces are increments: piece p of a tensor holds the
rows from where piece p - 1 ended to the last row that piece p of any consumer needs, so nothing is computed twice
on one core and piece p depends on pieces up to p only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from scheduling.choice import Choice
from scheduling.tables import Ints, NetworkTable


class Geometry(NamedTuple):
    """N local tensors, R row ways, P row pieces. Row ranges are absolute and half open; unused: start = stop = 0."""

    entries: int
    tensor: Ints  # (N,) index of the tensor in the network
    edge_local: Ints  # (edges of the sub-graph,) local tensor of each input, in layer order
    start: Ints  # (R, N) first row held
    ends: Ints  # (R, N, P) row after the last one of each piece
    own_start: Ints  # (R, N) rows stored to shared memory: of tensors that leave, else empty
    own_stop: Ints  # (R, N)
    leaves: Ints  # (N,) 1 where a later layer or the user reads the tensor
    full: Ints  # (N,) 1 where every core of a channel group holds all channels


@compiled_leaf
def needed_start(row: int, stride: int, offset: int, divisor: int, whole: int) -> int:
    """First input row that output rows from `row` on need."""
    if whole:
        return 0
    step = (
        row if divisor == 1 else row // divisor
    )  # a division takes longer than the rest, and is rarely needed
    return max(0, step * stride + offset)


@compiled_leaf
def needed_stop(stop: int, stride: int, offset: int, extent: int, divisor: int, whole: int, size: int) -> int:
    """Row after the last input row that output rows up to `stop` (exclusive) need."""
    if whole:
        return size
    step = stop - 1 if divisor == 1 else (stop - 1) // divisor
    return max(0, min(size, step * stride + offset + extent))


@compiled
def geometry(net: NetworkTable, choice: Choice, row_part: int) -> Geometry:
    """Geometry of the instances of a sub-graph whose row slice is number `row_part`."""
    first, stop = choice.first, choice.stop
    count = stop - first
    pieces = choice.pieces if choice.axis == 0 else 1
    row_ways = choice.ways_rows
    edge0 = net.edge_start[first]
    edges = net.edge_start[stop] - edge0
    edge_local = np.empty(edges, np.int64)
    entry_tensors = np.empty(edges, np.int64)
    entries = 0
    for e in range(edges):
        tensor = net.edge_tensor[edge0 + e]
        made_by = net.producer[tensor]
        if first <= made_by < stop:
            edge_local[e] = -1 - (made_by - first)
            continue
        found = -1
        for k in range(entries):
            if entry_tensors[k] == tensor:
                found = k
        if found < 0:
            found = entries
            entry_tensors[entries] = tensor
            entries += 1
        edge_local[e] = found
    for e in range(edges):
        if edge_local[e] < 0:
            edge_local[e] = entries - 1 - edge_local[e]
    n = entries + count
    tensor_of = np.empty(n, np.int64)
    tensor_of[:entries] = entry_tensors[:entries]
    leaves = np.zeros(n, np.int64)
    full = np.zeros(n, np.int64)
    for j in range(count):
        tensor_of[entries + j] = net.input_count + first + j
        leaves[entries + j] = 1 if net.last_use[net.input_count + first + j] >= stop else 0
        for e in range(net.edge_start[first + j], net.edge_start[first + j + 1]):
            if net.edge_all_channels[e]:
                full[edge_local[e - edge0]] = 1
    if choice.ways_channels == 1:
        full[:] = 1

    start = np.zeros((row_ways, n), np.int64)
    ends = np.zeros((row_ways, n, pieces), np.int64)
    own_start = np.zeros((row_ways, n), np.int64)
    own_stop = np.zeros((row_ways, n), np.int64)
    parts = choice.split_rows * row_ways
    last = np.empty(n, np.int64)
    for way in range(row_ways):
        part = row_part * row_ways + way
        for t in range(n):
            rows = net.tensor_rows[tensor_of[t]]
            start[way, t] = rows
            last[t] = 0
            if leaves[t]:
                own_start[way, t] = rows * part // parts
                own_stop[way, t] = rows * (part + 1) // parts
                if own_stop[way, t] > own_start[way, t]:
                    start[way, t] = own_start[way, t]
                    last[t] = own_stop[way, t]
        for j in range(count - 1, -1, -1):
            out = entries + j
            if last[out] <= start[way, out]:
                continue
            for e in range(net.edge_start[first + j], net.edge_start[first + j + 1]):
                t = edge_local[e - edge0]
                size = net.tensor_rows[tensor_of[t]]
                low = needed_start(
                    start[way, out],
                    net.edge_stride[e],
                    net.edge_offset[e],
                    net.edge_divisor[e],
                    net.edge_whole[e],
                )
                high = needed_stop(
                    last[out],
                    net.edge_stride[e],
                    net.edge_offset[e],
                    net.edge_extent[e],
                    net.edge_divisor[e],
                    net.edge_whole[e],
                    size,
                )
                if high > low:  # a part of a Concat reads nothing of the other inputs
                    start[way, t] = min(start[way, t], low)
                    last[t] = max(last[t], high)
        for t in range(n):
            if last[t] <= start[way, t]:
                start[way, t] = 0
                last[t] = 0
        for p in range(pieces):
            for t in range(n):
                ends[way, t, p] = start[way, t] + (last[t] - start[way, t]) * (p + 1) // pieces
            for j in range(count - 1, -1, -1):
                out = entries + j
                if ends[way, out, p] <= start[way, out]:
                    continue
                for e in range(net.edge_start[first + j], net.edge_start[first + j + 1]):
                    t = edge_local[e - edge0]
                    size = net.tensor_rows[tensor_of[t]]
                    high = needed_stop(
                        ends[way, out, p],
                        net.edge_stride[e],
                        net.edge_offset[e],
                        net.edge_extent[e],
                        net.edge_divisor[e],
                        net.edge_whole[e],
                        size,
                    )
                    ends[way, t, p] = max(ends[way, t, p], min(high, last[t]))
    return Geometry(entries, tensor_of, edge_local, start, ends, own_start, own_stop, leaves, full)
