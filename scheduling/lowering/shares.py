"""Shares: which part of a slice, a piece or a tile falls to which way of the cores."""

from __future__ import annotations

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from scheduling.choice import Choice
from scheduling.lowering.geometry import Geometry
from scheduling.lowering.region_maps import needed_columns, needed_start, needed_stop
from scheduling.lowering.tables import Ints, NetworkTable


@compiled_leaf
def batch_part_max(batch: int, parts: int) -> int:
    """Images of the largest of `parts` slices of the batch."""
    return -(-batch // parts)


@compiled_leaf
def part_of(position: int, size: int, parts: int) -> int:
    """Which of `parts` even slices of `size` holds `position`."""
    return 0 if parts == 1 else ((position + 1) * parts - 1) // size


@compiled_leaf
def overlap(low: int, high: int, size: int, parts: int, index: int) -> tuple[int, int]:
    """The part of [low, high) in the index-th slice that it touches, of `parts` even slices of `size`."""
    if high <= low:
        return low, low
    if parts == 1 and index == 0:
        return max(low, 0), min(high, size)
    part = part_of(low, size, parts) + index
    if part >= parts:
        return high, high
    a = max(low, size * part // parts)
    b = min(high, size * (part + 1) // parts)
    return (a, b) if b > a else (high, high)


@compiled_leaf
def even_share(size: int, ways: int, way: int) -> tuple[int, int]:
    """The part [low, high) of `size` that falls to a way."""
    if ways == 1:
        return 0, size
    each = size // ways
    if each * ways == size:
        return each * way, each * (way + 1)
    return size * way // ways, size * (way + 1) // ways


@compiled_leaf
def piece_rows(start: Ints, ends: Ints, way: int, tensor: int, piece: int) -> tuple[int, int]:
    """New rows of a tensor in a piece, on the cores of row way `way`; `start` and `ends` are a Geometry's.

    Takes the two arrays and no named tuple of them: counting the references of those costs more than the work.
    """
    low = start[way, tensor] if piece == 0 else ends[way, tensor, piece - 1]
    return low, ends[way, tensor, piece]


@compiled_leaf
def all_rows(start: Ints, ends: Ints, tensor: int, piece: int) -> int:
    """Rows of a piece, all row ways together."""
    total = 0
    for way in range(start.shape[0]):
        a, b = piece_rows(start, ends, way, tensor, piece)
        total += b - a
    return total


@compiled_leaf
def most_rows(start: Ints, ends: Ints, tensor: int, piece: int) -> int:
    """Rows of a piece, of the row way that has most."""
    most = 0
    for way in range(start.shape[0]):
        a, b = piece_rows(start, ends, way, tensor, piece)
        most = max(most, b - a)
    return most


@compiled_leaf
def spread(size: int, ways: int, low: int, high: int) -> tuple[int, int, int]:
    """Of [low, high), counted from the start of every way's even share of `size`: what all ways have of it, the most
    that one has, and how many have any."""
    each = size // ways
    if each * ways == size:
        width = max(0, min(each, high) - min(each, low))
        return ways * width, width, ways if width > 0 else 0
    total, most, active = 0, 0, 0
    for way in range(ways):
        a, b = even_share(size, ways, way)
        width = max(0, min(b - a, high) - min(b - a, low))
        total += width
        most = max(most, width)
        active += 1 if width > 0 else 0
    return total, most, active


@compiled_leaf
def spread_rows(
    start: Ints, ends: Ints, tensor: int, piece: int, low: int, high: int
) -> tuple[int, int, int]:
    """The same of rows [low, high), counted from the start of a piece on every row way."""
    total, most, active = 0, 0, 0
    for way in range(start.shape[0]):
        a, b = piece_rows(start, ends, way, tensor, piece)
        width = max(0, min(b - a, high) - min(b - a, low))
        total += width
        most = max(most, width)
        active += 1 if width > 0 else 0
    return total, most, active


@compiled_leaf
def input_rows(
    start: Ints,
    ends: Ints,
    tensor: int,
    piece: int,
    low: int,
    high: int,
    stride: int,
    offset: int,
    extent: int,
    divisor: int,
    whole: int,
    size: int,
) -> int:
    """Rows of an input of `size` rows that tile rows [low, high) of a piece read by a region map, over row ways."""
    total = 0
    for way in range(start.shape[0]):
        a, b = piece_rows(start, ends, way, tensor, piece)
        first, stop = a + min(b - a, low), a + min(b - a, high)
        if stop > first:
            low_row = needed_start(first, stride, offset, divisor, whole)
            total += max(0, needed_stop(stop, stride, offset, extent, divisor, whole, size) - low_row)
    return total


@compiled
def input_columns(net: NetworkTable, choice: Choice, geo: Geometry) -> Ints:
    """(edges of the sub-graph,) columns of each input that the new columns of the layer's output read."""
    edge0 = net.edge_start[choice.first]
    columns = np.zeros(geo.edge_local.shape[0], np.int64)
    for layer in range(choice.first, choice.stop):
        out = geo.entries + layer - choice.first
        low, high = geo.new_start[out], geo.held_stop[out]
        for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
            if choice.split_columns == 1:
                columns[e - edge0] = net.tensor_columns[net.edge_tensor[e]]
            elif high > low:
                first, stop = needed_columns(net, e, low, high)
                columns[e - edge0] = max(0, stop - first)
    return columns
