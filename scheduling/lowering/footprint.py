"""Bytes of L1 that the rings of an instance need, found without putting its operations in order.

Operations are sorted by layer + a x piece, so which piece a reader has reached when a piece of its source is written
follows from that key alone, and so do the rows that are live then, and which tensors are live together. The peak is
that of `scheduling.lowering.operations.place` at a fraction of its cost; most candidates fail here. Where overlaps are
cached, more is written and read than the key says: there the order is needed.
"""

from __future__ import annotations

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from scheduling.choice import CHANNEL_RING, Choice
from scheduling.lowering.channel_rings import most_held_channels, stored_by_itself
from scheduling.lowering.geometry import Geometry
from scheduling.lowering.operations import (
    EXCHANGE_KEY,
    LAYER_KEY,
    LOAD_KEY,
    STORE_KEY,
    is_empty,
    order_key,
    rows_read,
)
from scheduling.lowering.region_maps import needed_start
from scheduling.lowering.shares import batch_part_max
from scheduling.lowering.tables import Ints, NetworkTable

_NEVER = 1 << 40


@compiled
def ring_footprint(net: NetworkTable, choice: Choice, geo: Geometry, element_bytes: int, enough: int) -> int:
    """Peak bytes of L1 of an instance that caches no overlaps; where that is above `enough`, some number above it that
    the peak is not below."""
    n, edges = geo.tensor.shape[0], geo.edge_local.shape[0]
    readers = np.empty((3, edges), np.int64)
    work = np.empty((8, n), np.int64)
    base, head, first_piece, last_piece = work[0], work[1], work[2], work[3]
    _read_keys(
        choice.first, choice.rule, geo.entries, geo.edge_local, net.edge_start,
        base, head, readers[0], readers[1], readers[2],
    )  # fmt: skip
    stored = geo.leaves
    if choice.axis == CHANNEL_RING:
        stored = geo.leaves.copy()
        for t in range(n):
            stored[t] = stored_by_itself(net, choice, geo, t)
    size, born, dies, order = work[4], work[5], work[6], work[7]
    _size_rings(
        net.edge_start[choice.first], choice.rule, choice.ways_channels > 1, geo.entries,
        geo.start, geo.ends, geo.own_start, geo.own_stop, stored, geo.full,
        net.edge_stride, net.edge_offset, net.edge_divisor, net.edge_whole,
        base, head, readers[0], readers[1], readers[2], first_piece, last_piece, size, born, dies,
    )  # fmt: skip
    images = -(-batch_part_max(net.batch, choice.split_batch) // choice.ways_batch)
    for t in range(n):
        tensor = geo.tensor[t]
        channels = most_held_channels(net, choice, geo, t)
        held = 1 if net.tensor_constant[tensor] else images
        size[t] *= (geo.held_stop[t] - geo.held_start[t]) * held * channels * element_bytes
    # What is needed no more takes the place of what was needed before.
    return int(first_fit_peak(size, born, dies, enough, order, head, base))


@compiled_leaf
def _read_keys(
    first: int,
    rule: int,
    entries: int,
    edge_local: Ints,
    edge_start: Ints,
    base: Ints,
    head: Ints,
    follow: Ints,
    reader: Ints,
    lag: Ints,
) -> None:
    """Fill in the key of every tensor's first piece and the list of its readers, each with how many pieces it is
    behind: when piece p is written it has read p - lag."""
    n = base.shape[0]
    edge0 = edge_start[first]
    for t in range(n):
        head[t] = -1
    for j in range(n - entries - 1, -1, -1):
        base[entries + j] = (j + 1) * LAYER_KEY
        for e in range(edge_start[first + j] - edge0, edge_start[first + j + 1] - edge0):
            t = edge_local[e]
            if t < entries:
                base[t] = j * LAYER_KEY + LOAD_KEY
            reader[e] = entries + j
            follow[e] = head[t]
            head[t] = e
    for t in range(n):
        e = head[t]
        while e >= 0:
            lag[e] = pieces_behind(base[reader[e]] - base[t], rule)
            e = follow[e]


@compiled_leaf
def pieces_behind(distance: int, rule: int) -> int:
    """How many pieces a reader is behind whose key is `distance` > 0 above that of what it reads."""
    return distance // rule if rule > 0 else _NEVER


@compiled_leaf
def _size_rings(
    edge0: int,
    rule: int,
    gathers: bool,
    entries: int,
    start: Ints,
    ends: Ints,
    own_start: Ints,
    own_stop: Ints,
    leaves: Ints,
    full: Ints,
    stride: Ints,
    offset: Ints,
    divisor: Ints,
    whole: Ints,
    base: Ints,
    head: Ints,
    follow: Ints,
    reader: Ints,
    lag: Ints,
    first_piece: Ints,
    last_piece: Ints,
    ring: Ints,
    born: Ints,
    dies: Ints,
) -> None:
    """Fill in rows of every ring, and the keys of its first writer and its last reader."""
    ways, n, pieces = ends.shape
    for t in range(n):
        first_piece[t], last_piece[t] = pieces, -1
        for way in range(ways):
            first, last = _first_and_last_piece(start[way, t], ends[way, t])
            first_piece[t] = min(first_piece[t], first)
            last_piece[t] = max(last_piece[t], last)
    exchange_lag = pieces_behind(EXCHANGE_KEY, rule)
    store_lag = pieces_behind(STORE_KEY, rule)
    for t in range(n):
        ring[t], born[t], dies[t] = 0, -1, -1
        low_piece, high_piece = first_piece[t], last_piece[t]
        if high_piece < 0:
            continue
        born[t] = order_key(base[t] + rule * low_piece, base[t], low_piece)
        dies[t] = order_key(base[t] + rule * high_piece, base[t], high_piece)
        e = head[t]
        while e >= 0:
            last = last_piece[reader[e]]
            if last >= 0:
                key = base[reader[e]]
                dies[t] = max(dies[t], order_key(key + rule * last, key, last))
            e = follow[e]
        exchanged = gathers and full[t] == 1 and t >= entries
        if exchanged:
            key = base[t] + EXCHANGE_KEY
            dies[t] = max(dies[t], order_key(key + rule * high_piece, key, high_piece))
        if leaves[t]:
            for p in range(pieces - 1, -1, -1):
                if not is_empty(start, ends, own_start, own_stop, t, p):
                    key = base[t] + STORE_KEY
                    dies[t] = max(dies[t], order_key(key + rule * p, key, p))
                    break
        # The rows from where each reader goes on are needed, and those of the piece itself.
        for way in range(ways):
            mine, first = ends[way, t], start[way, t]
            lag_here = exchange_lag if exchanged else 0
            rows = _most_rows_held(mine, low_piece, mine, first, lag_here, 1, 0, 1, 0)
            ring[t] = max(ring[t], rows)
            e = head[t]
            while e >= 0:
                k = edge0 + e
                rows = _most_rows_held(
                    mine, low_piece, ends[way, reader[e]], start[way, reader[e]], lag[e],
                    stride[k], offset[k], divisor[k], whole[k],
                )  # fmt: skip
                ring[t] = max(ring[t], rows)
                e = follow[e]
        if leaves[t]:
            # Pieces before `next_store` were looked at; those before `stored` have been stored, if there was any to.
            stored, next_store = 0, 0
            for p in range(low_piece, high_piece + 1):
                while next_store < p - store_lag:
                    if not is_empty(start, ends, own_start, own_stop, t, next_store):
                        stored = next_store + 1
                    next_store += 1
                for way in range(ways):
                    low = rows_read(start, ends, t, way, stored, 1, 0, 1, 0)
                    ring[t] = max(ring[t], ends[way, t, p] - low)


@compiled_leaf
def _first_and_last_piece(start: int, ends: Ints) -> tuple[int, int]:
    """First and last piece that is not empty; the number of pieces and -1 where all are."""
    pieces = ends.shape[0]
    first, last = 0, pieces - 1
    while first < pieces and ends[first] <= start:
        first += 1
    if first == pieces:
        return pieces, -1
    while last > first and ends[last] <= ends[last - 1]:
        last -= 1
    return first, last


@compiled_leaf
def _most_rows_held(
    ends: Ints,
    low_piece: int,
    reader_ends: Ints,
    reader_start: int,
    lag: int,
    stride: int,
    offset: int,
    divisor: int,
    whole: int,
) -> int:
    """Most rows of a tensor that are live on a core for one reader, which is `lag` pieces behind. What that needs moves
    on from piece to piece, so pieces in which this core makes nothing cannot decide it."""
    pieces = ends.shape[0]
    most = 0
    for p in range(low_piece, pieces):
        low = reader_start if p <= lag else reader_ends[p - lag - 1]
        if reader_ends[pieces - 1] <= low:
            break
        most = max(most, ends[p] - needed_start(low, stride, offset, divisor, whole))
    return most


@compiled_leaf
def first_fit_peak(
    size: Ints, born: Ints, dies: Ints, enough: int, order: Ints, placed: Ints, address: Ints
) -> int:
    """Peak of rings that are live from `born` to `dies`, larger ones first, each at the lowest place that is free for
    its whole life; or the first end above `enough`. The last three arrays (N,) are overwritten."""
    used = 0
    for t in range(size.shape[0]):
        if size[t] > 0:
            k = used
            while k > 0 and size[order[k - 1]] < size[t]:
                order[k] = order[k - 1]
                k -= 1
            order[k] = t
            used += 1
    peak = 0
    for count in range(used):
        t = order[count]
        offset = 0
        for i in range(count):  # sorted by address
            other = placed[i]
            if born[t] <= dies[other] and born[other] <= dies[t]:
                if address[other] >= offset + size[t]:
                    break
                offset = max(offset, address[other] + size[other])
        address[t] = offset
        peak = max(peak, offset + size[t])
        if peak > enough:
            return int(peak)
        i = count
        while i > 0 and address[placed[i - 1]] > offset:
            placed[i] = placed[i - 1]
            i -= 1
        placed[i] = t
    return int(peak)
