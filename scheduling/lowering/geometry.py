"""Which rows and columns of which tensor a core computes in which piece of an instance.

Local tensors of a sub-graph: first its entries (tensors made elsewhere), in order of first use, then the output of
each of its layers. Row ranges follow the region maps backwards from the rows that the core owns of every tensor
that leaves the sub-graph; where branches meet, the union. Pieces are increments: piece p of a tensor holds the
rows from where piece p - 1 ended to the last row that piece p of any consumer needs, so nothing is computed twice
on one core and piece p depends on pieces up to p only.

Where some layers have a binding of their own (`Choice.own_first`), what a layer reads that one of the other binding
makes is an entry too: a *copy*, which the cores fill among themselves (`scheduling.lowering.redistribution`). The row
ways of the layer that makes it share its rows evenly, and each sends its share to the cores that need it. An entry that
layers of both bindings read is there twice.

Rows are the axis that is streamed; an instance has its part of the columns, the cross axis, whole (an instance that
streams along columns is described with both swapped, `scheduling.lowering.frames`). Columns follow backwards like rows.
Where overlaps are cached, a tensor has in L1 the columns [held_start, held_stop) that its readers need, of which those
before `new_start` come from the cache, and leaves those from `keep_start` on there for the next instance: the new
columns of all instances are a partition, so that nothing is made or loaded twice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from scheduling.choice import RECOMPUTE, Choice, layer_ways, most_row_ways, row_pieces
from scheduling.lowering.tables import Ints, NetworkTable


class Geometry(NamedTuple):
    """N local tensors, R row ways (the most that a layer has), P row pieces. Row ranges are absolute and half open;
    unused: start = stop = 0."""

    entries: int
    tensor: Ints  # (N,) index of the tensor in the network
    edge_local: Ints  # (edges of the sub-graph,) local tensor of each input, in layer order
    start: Ints  # (R, N) first row held
    ends: Ints  # (R, N, P) row after the last one of each piece
    # (R, N) rows stored to shared memory: of tensors that leave; of a copy, by row ways of its source, those sent; else
    # empty
    own_start: Ints
    own_stop: Ints  # (R, N)
    leaves: Ints  # (N,) 1 where a later layer or the user reads the tensor
    full: Ints  # (N,) 1 where every core of a channel group holds all channels
    gathered: Ints  # (N,) 1 where these get the channels of a layer's output from each other
    batch_ways: Ints  # (N,) how the layers that make or, of entries, read it are bound
    row_ways: Ints  # (N,)
    channel_ways: Ints  # (N,)
    copied_from: Ints  # (N,) local tensor of which this is a copy, else -1
    copied_to: Ints  # (N,) the copy of this one, else -1
    held_start: Ints  # (N,) columns in L1
    held_stop: Ints  # (N,)
    new_start: Ints  # (N,) first column that is made or loaded; those before it come from the cache
    keep_start: Ints  # (N,) first column that the next instance needs again; held_stop where none
    own_columns_start: Ints  # (N,) columns stored to shared memory
    own_columns_stop: Ints  # (N,)
    cache_columns: (
        Ints  # (N,) columns that the cache has room for, the same in all instances of the sub-graph
    )
    cache_rows: Ints  # (N,) rows likewise


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


class Locals(NamedTuple):
    """Local tensors of a sub-graph, as in Geometry: what does not depend on the instance."""

    entries: int
    tensor: Ints
    edge_local: Ints
    leaves: Ints
    full: Ints
    gathered: Ints
    batch_ways: Ints
    row_ways: Ints
    channel_ways: Ints
    copied_from: Ints
    copied_to: Ints


@compiled
def local_tensors(net: NetworkTable, choice: Choice) -> Locals:
    """Entries in order of first use, then the outputs of the layers."""
    first, stop = choice.first, choice.stop
    count = stop - first
    edge0 = net.edge_start[first]
    edges = net.edge_start[stop] - edge0
    edge_local = np.empty(edges, np.int64)
    entry_tensors = np.empty(edges, np.int64)
    entry_readers = np.empty(edges, np.int64)  # the first layer that reads it
    entries = 0
    for layer in range(first, stop):
        own = choice.own_first <= layer < choice.own_stop
        for e in range(net.edge_start[layer] - edge0, net.edge_start[layer + 1] - edge0):
            tensor = net.edge_tensor[edge0 + e]
            made_by = net.producer[tensor]
            if first <= made_by < stop and (choice.own_first <= made_by < choice.own_stop) == own:
                edge_local[e] = -1 - (made_by - first)
                continue
            found = -1
            for k in range(entries):
                reader = entry_readers[k]
                if entry_tensors[k] == tensor and (choice.own_first <= reader < choice.own_stop) == own:
                    found = k
            if found < 0:
                found = entries
                entry_tensors[entries] = tensor
                entry_readers[entries] = layer
                entries += 1
            edge_local[e] = found
    for e in range(edges):
        if edge_local[e] < 0:
            edge_local[e] = entries - 1 - edge_local[e]
    n = entries + count
    tensor_of = np.empty(n, np.int64)
    tensor_of[:entries] = entry_tensors[:entries]
    flags = np.zeros((8, n), np.int64)
    leaves, full, batch_ways, row_ways, channel_ways = flags[0], flags[1], flags[2], flags[3], flags[4]
    copied_from, copied_to, gathered = flags[5], flags[6], flags[7]
    copied_from[:] = -1
    copied_to[:] = -1
    for t in range(entries):
        batch_ways[t], row_ways[t], channel_ways[t] = layer_ways(choice, entry_readers[t])
        made_by = net.producer[entry_tensors[t]]
        if first <= made_by < stop:
            copied_from[t] = entries + made_by - first
            copied_to[entries + made_by - first] = t
    for j in range(count):
        tensor_of[entries + j] = net.input_count + first + j
        batch_ways[entries + j], row_ways[entries + j], channel_ways[entries + j] = layer_ways(
            choice, first + j
        )
        leaves[entries + j] = 1 if net.last_use[net.input_count + first + j] >= stop else 0
        for e in range(net.edge_start[first + j], net.edge_start[first + j + 1]):
            if net.edge_all_channels[e]:
                full[edge_local[e - edge0]] = 1
    for t in range(n):
        if channel_ways[t] == 1:
            full[t] = 1
        elif t >= entries:
            gathered[t] = full[t]
    return Locals(
        entries, tensor_of, edge_local, leaves, full, gathered, batch_ways, row_ways, channel_ways, copied_from,
        copied_to,
    )  # fmt: skip


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
        if own.copied_to[out] >= 0:
            _rows_sent(own.copied_to[out], out, own.row_ways[out], start, last, own_start, own_stop)
        for way in range(own.row_ways[out]):
            if last[way, out] <= start[way, out]:
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
                    last[way, out],
                    net.edge_stride[e],
                    net.edge_offset[e],
                    net.edge_extent[e],
                    net.edge_divisor[e],
                    net.edge_whole[e],
                    size,
                )
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
        if own.copied_to[out] >= 0:
            _send_in_time(own.copied_to[out], out, own.row_ways[out], start, ends, own_start, own_stop)
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


@compiled
def geometry(net: NetworkTable, choice: Choice, row_part: int, column_part: int) -> Geometry:
    """Geometry of the instances of a sub-graph with this row slice and this column slice."""
    own = local_tensors(net, choice)
    n = own.tensor.shape[0]
    pieces = row_pieces(choice)
    row_ways = most_row_ways(choice)
    rows = np.zeros((3, row_ways, n), np.int64)
    start, own_start, own_stop = rows[0], rows[1], rows[2]
    ends = np.empty((row_ways, n, pieces), np.int64)
    row_ranges(net, choice, row_part, own, start, ends, own_start, own_stop)
    columns = column_ranges(net, choice, column_part, own)
    cache_rows = np.zeros(n, np.int64)
    for t in range(n):
        if columns[6, t] > 0:
            for way in range(row_ways):
                cache_rows[t] = max(cache_rows[t], ends[way, t, pieces - 1] - start[way, t])
        if columns[1, t] <= columns[0, t]:  # what is needed of it lies in the padding: nothing
            start[:, t] = 0
            ends[:, t, :] = 0
            own_start[:, t] = 0
            own_stop[:, t] = 0
    return Geometry(
        own.entries, own.tensor, own.edge_local, start, ends, own_start, own_stop, own.leaves, own.full, own.gathered,
        own.batch_ways, own.row_ways, own.channel_ways, own.copied_from, own.copied_to,
        columns[0], columns[1], columns[2], columns[3], columns[4], columns[5], columns[6],
        cache_rows,
    )  # fmt: skip


@compiled
def column_ranges(net: NetworkTable, choice: Choice, part: int, own: Locals) -> Ints:
    """(7, N): held_start, held_stop, new_start, keep_start, own_columns_start, own_columns_stop, cache_columns."""
    tensor_of, leaves = own.tensor, own.leaves
    n = tensor_of.shape[0]
    parts = choice.split_columns
    result = np.zeros((7, n), np.int64)
    if parts == 1:
        for t in range(n):
            result[1, t] = net.tensor_columns[tensor_of[t]]
            result[3, t] = result[1, t]
            result[5, t] = result[1, t] if leaves[t] else 0
        return result
    low, high = np.empty(n, np.int64), np.empty(n, np.int64)
    if choice.halo == RECOMPUTE:
        _needed_columns(net, choice, part, part + 1, own, low, high)
        for t in range(n):
            result[0, t], result[1, t] = low[t], high[t]
            result[2, t], result[3, t] = low[t], high[t]
            if leaves[t]:
                columns = net.tensor_columns[tensor_of[t]]
                result[4, t], result[5, t] = columns * part // parts, columns * (part + 1) // parts
        return result
    cached: Ints = cached_columns(net, choice, own)[part]
    return cached


@compiled
def cached_columns(net: NetworkTable, choice: Choice, own: Locals) -> Ints:
    """(split_columns, 7, N): `column_ranges` of all column slices of a choice whose overlaps are cached."""
    tensor_of, edge_local, leaves = own.tensor, own.edge_local, own.leaves
    n = tensor_of.shape[0]
    parts = choice.split_columns
    result = np.zeros((parts, 7, n), np.int64)
    low, high = np.empty(n, np.int64), np.empty(n, np.int64)
    begin, end = np.empty(n, np.int64), np.empty(n, np.int64)
    _needed_columns(net, choice, 0, parts, own, begin, end)
    here = begin.copy()
    held = np.empty(n, np.int64)
    most = np.zeros(n, np.int64)
    for part in range(parts):
        _needed_columns(net, choice, 0, part + 1, own, low, high)
        _again(net, choice, tensor_of, edge_local, begin, end, here, held)
        for t in range(n):
            if part > 0:
                most[t] = max(most[t], here[t] - held[t])
                result[part - 1, 3, t] = held[t]
            result[part, 0, t], result[part, 2, t] = held[t], here[t]
            here[t] = max(here[t], high[t])
            result[part, 1, t], result[part, 3, t] = here[t], here[t]
            if leaves[t]:
                result[part, 4, t], result[part, 5, t] = result[part, 2, t], here[t]
    result[:, 6, :] = most
    return result


@compiled
def _needed_columns(
    net: NetworkTable,
    choice: Choice,
    first_part: int,
    stop_part: int,
    own: Locals,
    low: Ints,
    high: Ints,
) -> None:
    """Columns [low, high) of every tensor that slices [first_part, stop_part) of the outputs need; unused: 0, 0."""
    tensor_of, edge_local, leaves = own.tensor, own.edge_local, own.leaves
    n = tensor_of.shape[0]
    count = choice.stop - choice.first
    edge0 = net.edge_start[choice.first]
    for t in range(n):
        columns = net.tensor_columns[tensor_of[t]]
        low[t], high[t] = columns, 0
        if leaves[t]:
            low[t] = columns * first_part // choice.split_columns
            high[t] = columns * stop_part // choice.split_columns
    for j in range(count - 1, -1, -1):
        out = n - count + j
        if own.copied_to[out] >= 0:
            low[out] = min(low[out], low[own.copied_to[out]])
            high[out] = max(high[out], high[own.copied_to[out]])
        if high[out] <= low[out]:
            continue
        for e in range(net.edge_start[choice.first + j], net.edge_start[choice.first + j + 1]):
            t = edge_local[e - edge0]
            stride, offset, divisor = net.column_stride[e], net.column_offset[e], net.column_divisor[e]
            whole, columns = net.column_whole[e], net.tensor_columns[tensor_of[t]]
            first = needed_start(low[out], stride, offset, divisor, whole)
            stop = needed_stop(high[out], stride, offset, net.column_extent[e], divisor, whole, columns)
            if stop > first:
                low[t] = min(low[t], first)
                high[t] = max(high[t], stop)
    for t in range(n):
        if high[t] <= low[t]:
            low[t], high[t] = 0, 0


@compiled
def _again(
    net: NetworkTable,
    choice: Choice,
    tensor_of: Ints,
    edge_local: Ints,
    begin: Ints,
    end: Ints,
    here: Ints,
    held: Ints,
) -> None:
    """Write into `held` the first column of every tensor that its readers need once columns before `here` are made,
    where `begin` and `end` are what is ever needed of it."""
    count = choice.stop - choice.first
    edge0 = net.edge_start[choice.first]
    held[:] = here
    for j in range(count):
        out = tensor_of.shape[0] - count + j
        if here[out] >= end[out]:
            continue
        for e in range(net.edge_start[choice.first + j], net.edge_start[choice.first + j + 1]):
            t = edge_local[e - edge0]
            first = needed_start(
                here[out],
                net.column_stride[e],
                net.column_offset[e],
                net.column_divisor[e],
                net.column_whole[e],
            )
            held[t] = min(held[t], max(begin[t], first))
