"""Operations of an instance in order, and the place of every tensor in L1.

An operation is one piece of one tensor: load it (a copy for another binding: from the other cores), compute it, gather
its channels from the other cores, or store it; where overlaps are cached, restore its old columns from the cache, and
keep some there for the next instance. The order decides what is live when: a tensor is a ring of rows, as large as the
rows that are live at one time, and rings that are never live together share addresses.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from scheduling.choice import CACHE, RECOMPUTE, RULE_SCALE, Choice
from scheduling.lowering.channel_rings import most_held_channels, stored_by_itself
from scheduling.lowering.geometry import Geometry
from scheduling.lowering.region_maps import needed_start
from scheduling.lowering.shared_cache import shared_cache_bytes
from scheduling.lowering.shares import batch_part_max
from scheduling.lowering.tables import Ints, NetworkTable

LOAD, COMPUTE, EXCHANGE, STORE, RESTORE, KEEP = range(6)
READERS = 3
"""Beside the layers, that read a tensor: its gather, its store, its keeping."""

LAYER_KEY = RULE_SCALE
"""What the key of the order grows by from layer to layer, in the first piece."""

LOAD_KEY, EXCHANGE_KEY, STORE_KEY = 1, 5, 10
"""How far behind the key of a layer its exchange and its store are; a load is behind the layer before its reader's."""

NEVER_READ = 1 << 40
"""A row beyond all others."""

MOST_BASE = 1 << 16
MOST_PIECES = 1 << 12
"""Operations are sorted by one number; these bound its parts."""


class Plan(NamedTuple):
    """Operations in program order and the L1 layout. N local tensors."""

    kind: Ints  # (operations,) LOAD, COMPUTE, ...
    tensor: Ints  # (operations,) local tensor
    piece: Ints  # (operations,)
    ring_rows: Ints  # (N,)
    address: Ints  # (N,) bytes
    size_bytes: Ints  # (N,)
    born: Ints  # (N,) position of the first operation that writes it
    dies: Ints  # (N,) position of the last one that reads it
    peak_bytes: int  # with the cache, where that is in L1
    # (N,) bytes, the same in all instances of the sub-graph: in L1 behind the rings, or in the cache elsewhere
    cache_address: Ints
    cache_bytes: int  # of L1


@compiled
def order_operations(net: NetworkTable, choice: Choice, geo: Geometry) -> tuple[Ints, Ints, Ints]:
    """Kinds, local tensors and pieces in the order of the key layer + a x piece, never before what they need."""
    first = choice.first
    count = choice.stop - first
    entries = geo.entries
    n = entries + count
    pieces = geo.ends.shape[2]
    edge0 = net.edge_start[first]
    base = np.zeros((n, 3), np.int64)
    for j in range(count - 1, -1, -1):
        base[entries + j, 0] = (j + 1) * LAYER_KEY
        base[entries + j, 1] = (j + 1) * LAYER_KEY + EXCHANGE_KEY
        base[entries + j, 2] = (j + 1) * LAYER_KEY + STORE_KEY
        for e in range(net.edge_start[first + j], net.edge_start[first + j + 1]):
            t = geo.edge_local[e - edge0]
            if t < entries:
                base[t, 0] = j * LAYER_KEY + LOAD_KEY
    visited = np.empty(n, np.int64)  # a copy comes after its source
    seen = 0
    for t in range(n):
        if geo.copied_from[t] >= 0:
            base[t, 0] = base[geo.copied_from[t], 0] + EXCHANGE_KEY
            continue
        visited[seen] = t
        seen += 1
        copy = geo.next_copy[t]
        while copy >= 0:
            visited[seen] = copy
            seen += 1
            copy = geo.next_copy[copy]
    start, ends, low, high = geo.start, geo.ends, geo.own_start, geo.own_stop
    last = ends[:, :, pieces - 1].copy()
    key = np.zeros((n, 3, pieces), np.int64)
    total = 0
    composite = np.empty(n * 5 * pieces, np.int64)
    kinds = np.empty(n * 5 * pieces, np.int64)
    tensors = np.empty(n * 5 * pieces, np.int64)
    piece_of = np.empty(n * 5 * pieces, np.int64)
    for p in range(pieces):
        for at in range(n):
            t = visited[at]
            gathered = geo.gathered[t] == 1
            value = base[t, 0] + choice.rule * p
            if p > 0:
                value = max(value, key[t, 0, p - 1])
            if t >= entries:
                j = t - entries
                for e in range(net.edge_start[first + j], net.edge_start[first + j + 1]):
                    source = geo.edge_local[e - edge0]
                    value = max(value, key[source, geo.gathered[source], p])
            elif geo.copied_from[t] >= 0:
                value = max(value, key[geo.copied_from[t], 0, p])
            key[t, 0, p] = value
            made = geo.held_stop[t] > geo.new_start[t]
            for slot in range(3):
                if slot == 1 and not gathered:
                    continue
                if slot == 2 and not stored_by_itself(net, choice, geo, t):
                    continue
                if slot > 0:
                    value = max(key[t, 0, p], base[t, slot] + choice.rule * p)
                    if p > 0:
                        value = max(value, key[t, slot, p - 1])
                    key[t, slot, p] = value
                if not made or is_empty(
                    start, ends, low if slot == 2 else start, high if slot == 2 else last, t, p
                ):
                    continue
                composite[total] = order_key(key[t, slot, p], base[t, slot], p)
                kinds[total] = (0 if t < entries else 1) if slot == 0 else slot + 1
                tensors[total] = t
                piece_of[total] = p
                total += 1
            if choice.halo == RECOMPUTE or is_empty(start, ends, start, last, t, p):
                continue
            if geo.new_start[t] > geo.held_start[t]:
                composite[total] = order_key(key[t, 0, p], base[t, 0] - 1, p)
                kinds[total], tensors[total], piece_of[total] = RESTORE, t, p
                total += 1
            if geo.held_stop[t] > geo.keep_start[t]:
                value = max(key[t, 0, p], key[t, 1, p]) if gathered else key[t, 0, p]
                composite[total] = order_key(value, base[t, 1 if gathered else 0] + 2, p)
                kinds[total], tensors[total], piece_of[total] = KEEP, t, p
                total += 1
    chosen = np.argsort(composite[:total], kind="mergesort")
    return kinds[chosen], tensors[chosen], piece_of[chosen]


@compiled_leaf
def order_key(value: int, base: int, piece: int) -> int:
    """One number that sorts by value, then base, then piece."""
    return (value * MOST_BASE + base) * MOST_PIECES + piece


@compiled_leaf
def is_empty(start: Ints, ends: Ints, low: Ints, high: Ints, t: int, p: int) -> bool:
    """Whether no core has a row of piece p of a tensor within its rows [low, high).

    Takes arrays and no named tuple of them: counting the references of those costs more than the work."""
    for way in range(start.shape[0]):
        first = start[way, t] if p == 0 else ends[way, t, p - 1]
        if min(ends[way, t, p], high[way, t]) > max(first, low[way, t]):
            return False
    return True


@compiled_leaf
def rows_read(
    start: Ints,
    ends: Ints,
    reader: int,
    way: int,
    piece: int,
    stride: int,
    offset: int,
    divisor: int,
    whole: int,
) -> int:
    """First row that `reader` (a layer's output, or with the identity map the tensor itself, for gather and store)
    reads in `piece` or, where that is empty, in the next one that is not; a large number when there is none.
    Takes two arrays and no named tuple of them: counting the references of those costs more than the work."""
    pieces = ends.shape[2]
    if piece < pieces:
        low = (
            start[way, reader] if piece == 0 else ends[way, reader, piece - 1]
        )  # where the next one begins too
        if ends[way, reader, pieces - 1] > low:
            return needed_start(low, stride, offset, divisor, whole)
    return NEVER_READ


@compiled
def place(
    net: NetworkTable,
    choice: Choice,
    geo: Geometry,
    kinds: Ints,
    tensors: Ints,
    pieces: Ints,
    element_bytes: int,
    l1_bytes: int,
) -> Plan:
    """Size every ring by what is live in this order, and give offsets: larger rings first, at the lowest place that
    is free for their whole life. What is cached in L1 lies at its end, below `l1_bytes`."""
    first = choice.first
    entries = geo.entries
    n = geo.tensor.shape[0]
    start, ends = geo.start, geo.ends
    stride, shift, divisor, whole = net.edge_stride, net.edge_offset, net.edge_divisor, net.edge_whole
    row_ways = start.shape[0]
    edge0 = net.edge_start[first]
    edges = geo.edge_local.shape[0]
    # First row that each reader (edges, then gathers, stores, keepings) still needs, per row way.
    needs = np.full((edges + READERS * n, row_ways), NEVER_READ, np.int64)
    ring = np.zeros(n, np.int64)
    born = np.full(n, -1, np.int64)
    dies = np.full(n, -1, np.int64)
    head = np.full(n, -1, np.int64)
    chain = np.full(edges, -1, np.int64)
    for j in range(choice.stop - first):
        for e in range(net.edge_start[first + j] - edge0, net.edge_start[first + j + 1] - edge0):
            chain[e] = head[geo.edge_local[e]]
            head[geo.edge_local[e]] = e
            for way in range(row_ways):
                needs[e, way] = rows_read(
                    start,
                    ends,
                    entries + j,
                    way,
                    0,
                    stride[edge0 + e],
                    shift[edge0 + e],
                    divisor[edge0 + e],
                    whole[edge0 + e],
                )
    for t in range(n):
        for way in range(row_ways):
            if geo.gathered[t]:
                needs[edges + t, way] = rows_read(start, ends, t, way, 0, 1, 0, 1, 0)
            if stored_by_itself(net, choice, geo, t):
                needs[edges + n + t, way] = rows_read(start, ends, t, way, 0, 1, 0, 1, 0)
            if geo.held_stop[t] > geo.keep_start[t]:
                needs[edges + 2 * n + t, way] = rows_read(start, ends, t, way, 0, 1, 0, 1, 0)
    for position in range(kinds.shape[0]):
        t, p = tensors[position], pieces[position]
        kind = kinds[position]
        if kind <= COMPUTE or kind == RESTORE:
            if born[t] < 0:
                born[t] = position
            dies[t] = max(dies[t], position)
            for way in range(row_ways):
                low = min(needs[edges + t, way], needs[edges + n + t, way])
                low = min(low, needs[edges + 2 * n + t, way])
                if (
                    geo.copied_from[t] < 0 and geo.next_copy[t] >= 0
                ):  # it is whole until the last piece is sent
                    low = min(low, start[way, t])
                e = head[t]
                while e >= 0:
                    low = min(low, needs[e, way])
                    e = chain[e]
                before = geo.start[way, t] if p == 0 else geo.ends[way, t, p - 1]
                ring[t] = max(ring[t], geo.ends[way, t, p] - min(low, before))
        if kind == LOAD and geo.copied_from[t] >= 0:
            dies[geo.copied_from[t]] = max(dies[geo.copied_from[t]], position)
        if kind == COMPUTE:
            for e in range(
                net.edge_start[first + t - entries] - edge0, net.edge_start[first + t - entries + 1] - edge0
            ):
                for way in range(row_ways):
                    needs[e, way] = rows_read(
                        start,
                        ends,
                        t,
                        way,
                        p + 1,
                        stride[edge0 + e],
                        shift[edge0 + e],
                        divisor[edge0 + e],
                        whole[edge0 + e],
                    )
                dies[geo.edge_local[e]] = max(dies[geo.edge_local[e]], position)
        elif kind in (EXCHANGE, STORE, KEEP):
            reader = edges + (0 if kind == EXCHANGE else n if kind == STORE else 2 * n) + t
            for way in range(row_ways):
                needs[reader, way] = rows_read(start, ends, t, way, p + 1, 1, 0, 1, 0)
            dies[t] = max(dies[t], position)

    part = batch_part_max(net.batch, choice.split_batch)
    size = np.zeros(n, np.int64)
    pixel_bytes = np.zeros(n, np.int64)
    for t in range(n):
        channels = most_held_channels(net, choice, geo, t)
        held = 1 if net.tensor_constant[geo.tensor[t]] else -(-part // geo.batch_ways[t])
        pixel_bytes[t] = held * channels * element_bytes
        size[t] = ring[t] * (geo.held_stop[t] - geo.held_start[t]) * pixel_bytes[t]
    address = np.zeros(n, np.int64)
    by_size = np.argsort(-size, kind="mergesort")
    placed = np.empty(n, np.int64)
    count = 0
    peak = 0
    for k in range(n):
        t = by_size[k]
        if size[t] == 0:
            continue
        offset = 0
        i = 0
        while i < count:  # placed is sorted by address
            other = placed[i]
            if born[t] <= dies[other] and born[other] <= dies[t]:
                if address[other] >= offset + size[t]:
                    break
                offset = max(offset, address[other] + size[other])
            i += 1
        address[t] = offset
        peak = max(peak, offset + size[t])
        i = count
        while i > 0 and address[placed[i - 1]] > offset:
            placed[i] = placed[i - 1]
            i -= 1
        placed[i] = t
        count += 1
    cache_address = np.full(n, -1, np.int64)
    cached, elsewhere = 0, 0
    for t in range(n):
        if geo.cache_columns[t] > 0 and choice.halo == CACHE:
            cached += geo.cache_rows[t] * geo.cache_columns[t] * pixel_bytes[t]
            cache_address[t] = l1_bytes - cached
        elif geo.cache_columns[t] > 0:
            cache_address[t] = elsewhere
            elsewhere += shared_cache_bytes(net, choice, geo, t, element_bytes)
    return Plan(kinds, tensors, pieces, ring, address, size, born, dies, peak + cached, cache_address, cached)
