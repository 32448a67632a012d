"""Hazards of a lowered instance: which of its instructions must follow which, in any order of them.

Two instructions conflict where both touch the same bytes of a core's memories and one of them writes. Addresses are
fixed, so whichever came first in the order that they were lowered in must stay first: rings of rows, tensors that take
each other's place, both halves of the accumulator and the weight buffer are all covered by that. What an instruction
touches is taken from its row, in boxes of rows, images and channels; where a box is larger than the truth, an order is
refused that would be legal, never the other way round. Everything but loads of weights follows the LAUNCH.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from scheduling.choice import Choice
from scheduling.lowering.channel_rings import in_channel_ring
from scheduling.lowering.geometry import Geometry
from scheduling.lowering.operations import Plan
from scheduling.lowering.region_maps import needed_rows
from scheduling.lowering.rows import (
    C_A,
    C_ACC,
    C_B,
    C_H0,
    C_H1,
    C_I0,
    C_I1,
    C_K0,
    C_K1,
    C_OP,
    C_PIECE,
    C_R0,
    C_R1,
    C_TENSOR,
    C_WEIGHT,
    OP_BROADCAST,
    OP_CONV,
    OP_GATHER,
    OP_LAUNCH,
    OP_LOAD,
    OP_LOADW,
    OP_MATMUL,
    OP_STORE,
    OP_VECTOR,
    VECTOR_COMPUTES,
    VECTOR_RESTORES,
)
from scheduling.lowering.shares import piece_rows
from scheduling.lowering.tables import Ints, NetworkTable

# Columns of a touch. Spaces of N local tensors: 0 to N - 1 their rings, N to 2 N - 1 their caches, then the
# accumulator and the weight buffer. Behind T_LOW one first row per row way, then one row after the last; of the
# accumulator and the weight buffer bytes, in the first way.
T_ROW, T_SPACE, T_WRITES, T_IMAGE0, T_IMAGE1, T_CHANNEL0, T_CHANNEL1, T_LOW = range(8)

ALL = 1 << 40
"""Images or channels up to here: all that there are."""


class Hazards(NamedTuple):
    """The instructions that each of I instructions must follow: before[start[i]:start[i + 1]], ascending, without
    those that follow from others."""

    start: Ints
    before: Ints


@compiled_leaf
def _touch(
    found: Ints, count: int, row: int, space: int, writes: int, i0: int, i1: int, k0: int, k1: int
) -> None:
    found[count, T_ROW], found[count, T_SPACE], found[count, T_WRITES] = row, space, writes
    found[count, T_IMAGE0], found[count, T_IMAGE1] = i0, i1
    found[count, T_CHANNEL0], found[count, T_CHANNEL1] = k0, k1


@compiled
def touches(
    net: NetworkTable, choice: Choice, geo: Geometry, tiles: Ints, rows: Ints, element_bytes: int
) -> Ints:
    """What each row touches, (touches, T_LOW + 2 x row ways), rows ascending."""
    first, entries, ways = choice.first, geo.entries, geo.start.shape[0]
    n = geo.tensor.shape[0]
    edge0 = net.edge_start[first]
    most = 4
    for layer in range(first, choice.stop):
        most = max(most, 4 + net.edge_start[layer + 1] - net.edge_start[layer])
    found = np.zeros((rows.shape[0] * most, T_LOW + 2 * ways), np.int64)
    accumulator, weights = 2 * n, 2 * n + 1
    low, high = T_LOW, T_LOW + ways
    count = 0
    for i in range(rows.shape[0]):
        op, t, p = rows[i, C_OP], rows[i, C_TENSOR], rows[i, C_PIECE]
        if op == OP_LAUNCH:
            continue
        layer = first + t - entries
        if op in (OP_LOADW, OP_CONV):
            size = (rows[i, C_K1] - rows[i, C_K0]) * (rows[i, C_R1] - rows[i, C_R0]) * net.taps[layer]
            if op == OP_LOADW and rows[i, C_A]:
                size = net.parameters[layer] * -(-net.tensor_channels[geo.tensor[t]] // geo.channel_ways[t])
            _touch(found, count, i, weights, op == OP_LOADW, 0, ALL, 0, ALL)
            found[count, low], found[count, high] = (
                rows[i, C_WEIGHT],
                rows[i, C_WEIGHT] + size * element_bytes,
            )
            count += 1
            if op == OP_LOADW:
                continue
        elsewhere = (
            op in (OP_LOAD, OP_STORE) and rows[i, C_R0] == 1
        )  # the other end is a cache in shared memory
        computes = op in (OP_CONV, OP_MATMUL, OP_GATHER)
        computes = computes or (op == OP_VECTOR and rows[i, C_B] == VECTOR_COMPUTES)
        tiled = computes and op != OP_GATHER
        i0, i1 = (rows[i, C_I0], rows[i, C_I1]) if tiled else (0, ALL)
        if op in (OP_CONV, OP_MATMUL) or (op == OP_VECTOR and computes and rows[i, C_R0]):
            _touch(found, count, i, accumulator, op != OP_VECTOR, 0, ALL, 0, ALL)
            found[count, low], found[count, high] = rows[i, C_ACC], rows[i, C_ACC] + 1
            count += 1
        if op == OP_VECTOR and computes and net.parameters[layer]:
            size = net.parameters[layer] * -(-net.tensor_channels[geo.tensor[t]] // geo.channel_ways[t])
            _touch(found, count, i, weights, 0, 0, ALL, 0, ALL)
            found[count, low], found[count, high] = (
                rows[i, C_WEIGHT],
                rows[i, C_WEIGHT] + size * element_bytes,
            )
            count += 1
        if op != OP_CONV and op != OP_MATMUL:  # the tensor itself
            writes = op != OP_STORE and not (
                op == OP_VECTOR and not computes and rows[i, C_B] != VECTOR_RESTORES
            )
            k0, k1 = 0, ALL
            if (op == OP_VECTOR and computes) or (op == OP_STORE and rows[i, C_K1] > 0):
                k0, k1 = rows[i, C_K0], rows[i, C_K1]
                if in_channel_ring(net, choice, geo, t):  # a part has one of two places
                    k0 %= 2 * tiles[t - entries, 0]
                    k1 = k0 + rows[i, C_K1] - rows[i, C_K0]
            _touch(found, count, i, t, writes, i0, i1, k0, k1)
            for way in range(ways):
                a, b = piece_rows(geo.start, geo.ends, way, t, p)
                if tiled:
                    a, b = a + min(b - a, rows[i, C_H0]), a + min(b - a, rows[i, C_H1])
                elif op == OP_STORE and not elsewhere:
                    a, b = max(a, geo.own_start[way, t]), min(b, geo.own_stop[way, t])
                found[count, low + way], found[count, high + way] = a, max(a, b)
            count += 1
        if op == OP_BROADCAST and geo.copied_from[t] >= 0:  # what it copies
            _touch(found, count, i, geo.copied_from[t], 0, 0, ALL, 0, ALL)
            for way in range(ways):
                found[count, low + way] = geo.start[way, geo.copied_from[t]]
                found[count, high + way] = geo.ends[way, geo.copied_from[t], p]
            count += 1
        if elsewhere or (op == OP_VECTOR and not computes):
            keeps = op == OP_STORE or (op == OP_VECTOR and rows[i, C_B] != VECTOR_RESTORES)
            _touch(found, count, i, n + t, keeps, 0, ALL, 0, ALL)
            for way in range(ways):
                found[count, high + way] = ALL
            count += 1
        if not computes:
            continue
        matrix = op in (OP_CONV, OP_MATMUL)
        for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
            anchor = e - net.edge_start[layer] < net.anchor_inputs[layer]
            if net.is_matrix[layer] and anchor != matrix:
                continue
            source = geo.edge_local[e - edge0]
            constant = net.tensor_constant[net.edge_tensor[e]]
            _touch(found, count, i, source, 0, 0 if constant else i0, ALL if constant else i1, 0, ALL)
            for way in range(ways):
                a, b = piece_rows(geo.start, geo.ends, way, t, p)
                if tiled:
                    a, b = a + min(b - a, rows[i, C_H0]), a + min(b - a, rows[i, C_H1])
                if b <= a:
                    continue
                begin, stop = needed_rows(net, e, a, b)
                found[count, low + way], found[count, high + way] = begin, max(begin, stop)
            count += 1
    return found[:count]


@compiled_leaf
def _share_bytes(
    found: Ints, a: int, b: int, n: int, ways: int, ring: Ints, address: Ints, size: Ints
) -> bool:
    """Whether two touches, one of them a write, have bytes in common."""
    one, other = found[a, T_SPACE], found[b, T_SPACE]
    if one != other:
        if one >= n or other >= n or size[one] == 0 or size[other] == 0:
            return False
        return bool(address[one] < address[other] + size[other] and address[other] < address[one] + size[one])
    if found[a, T_IMAGE0] >= found[b, T_IMAGE1] or found[b, T_IMAGE0] >= found[a, T_IMAGE1]:
        return False
    if found[a, T_CHANNEL0] >= found[b, T_CHANNEL1] or found[b, T_CHANNEL0] >= found[a, T_CHANNEL1]:
        return False
    around = ring[one] if one < n else ALL
    for way in range(ways):
        begin, long = found[a, T_LOW + way], found[a, T_LOW + ways + way] - found[a, T_LOW + way]
        after, wide = found[b, T_LOW + way], found[b, T_LOW + ways + way] - found[b, T_LOW + way]
        if long <= 0 or wide <= 0:
            continue
        behind = (after - begin) % max(1, around)
        if behind < long or behind + wide > around:
            return True
    return False


@compiled
def hazards(
    net: NetworkTable, choice: Choice, geo: Geometry, plan: Plan, tiles: Ints, rows: Ints, element_bytes: int
) -> Hazards:
    """The hazards of lowered rows, in the order of these rows; `tiles` as in Lowered."""
    count, n, ways = rows.shape[0], geo.tensor.shape[0], geo.start.shape[0]
    found = touches(net, choice, geo, tiles, rows, element_bytes)
    words = (count + 63) >> 6
    above = np.zeros((count, words), np.uint64)  # what each row follows, through others or not
    start = np.zeros(count + 1, np.int64)
    before = np.empty(1024, np.int64)
    held = 0
    launch = 0
    while launch < count and rows[launch, C_OP] != OP_LAUNCH:
        launch += 1
    marked = np.zeros(count, np.bool_)
    at = 0
    for i in range(count):
        marked[:i] = False
        if i > launch and rows[i, C_OP] != OP_LOADW:
            marked[launch] = True
        while at < found.shape[0] and found[at, T_ROW] == i:
            for other in range(at):
                row = found[other, T_ROW]
                if row == i:
                    break
                if (
                    not marked[row]
                    and (found[at, T_WRITES] or found[other, T_WRITES])
                    and _share_bytes(found, other, at, n, ways, plan.ring_rows, plan.address, plan.size_bytes)
                ):
                    marked[row] = True
            at += 1
        if held + i > before.shape[0]:
            larger = np.empty(2 * (held + i), np.int64)
            larger[:held] = before[:held]
            before = larger
        begin = held
        for row in range(i - 1, -1, -1):
            if marked[row] and not (above[i, row >> 6] >> np.uint64(row & 63)) & np.uint64(1):
                before[held] = row
                held += 1
                for w in range(words):
                    above[i, w] |= above[row, w]
                above[i, row >> 6] |= np.uint64(1) << np.uint64(row & 63)
        before[begin:held] = before[begin:held][::-1].copy()
        start[i + 1] = held
    return Hazards(start, before[:held].copy())
