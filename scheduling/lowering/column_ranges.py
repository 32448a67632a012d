"""Which columns of every local tensor an instance has.

Columns follow the region maps backwards like rows, but for the whole cross axis of an instance. Where overlaps are
cached, a tensor has in L1 the columns [held_start, held_stop) that its readers need, of which those before `new_start`
come from the cache, and leaves those from `keep_start` on there for the next instance: the new columns of all instances
are a partition, so that nothing is made or loaded twice.
"""

from __future__ import annotations

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from scheduling.choice import RECOMPUTE, Choice
from scheduling.lowering.local_tensors import Locals
from scheduling.lowering.region_maps import needed_columns
from scheduling.lowering.tables import REARRANGES, Ints, NetworkTable


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
        _narrow_sources(net, choice, own, result)
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


@compiled_leaf
def _narrow_sources(net: NetworkTable, choice: Choice, own: Locals, result: Ints) -> None:
    """Let an instance hold of entries that copies alone read only the columns that these need: what takes steps out of
    a sequence, or turns a part of it round, need not load all of it."""
    edge0 = net.edge_start[choice.first]
    for layer in range(choice.first, choice.stop):
        if net.kind[layer] != REARRANGES:
            continue
        for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
            t = own.edge_local[e - edge0]
            if t < own.entries and own.copied_from[t] < 0:
                low, high = _needed_by_copies(net, choice, own, t)
                result[0, t], result[1, t], result[2, t], result[3, t] = low, high, low, high


@compiled_leaf
def _needed_by_copies(net: NetworkTable, choice: Choice, own: Locals, t: int) -> tuple[int, int]:
    """Columns [low, high) of an entry that the layers of a sub-graph need; all where one of them is not a copy."""
    edge0 = net.edge_start[choice.first]
    low, high = net.tensor_columns[own.tensor[t]], 0
    for layer in range(choice.first, choice.stop):
        for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
            if own.edge_local[e - edge0] == t:
                if net.kind[layer] != REARRANGES:
                    return 0, net.tensor_columns[own.tensor[t]]
                first, stop = needed_columns(net, e, 0, net.tensor_columns[net.input_count + layer])
                low, high = min(low, first), max(high, stop)
    return low, high


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
        copy = own.next_copy[out]
        while copy >= 0:
            low[out] = min(low[out], low[copy])
            high[out] = max(high[out], high[copy])
            copy = own.next_copy[copy]
        if high[out] <= low[out]:
            continue
        for e in range(net.edge_start[choice.first + j], net.edge_start[choice.first + j + 1]):
            t = edge_local[e - edge0]
            first, stop = needed_columns(net, e, low[out], high[out])
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
            first, _ = needed_columns(net, e, here[out], end[out])
            held[t] = min(held[t], max(begin[t], first))
