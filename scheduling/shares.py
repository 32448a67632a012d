"""Shares: which part of a slice, a piece or a tile falls to which way of the cores."""

from __future__ import annotations

from hwmodel.compiled import compiled
from scheduling.geometry import Geometry, needed_start, needed_stop
from scheduling.tables import NetworkTable


@compiled
def part_of(position: int, size: int, parts: int) -> int:
    """Which of `parts` even slices of `size` holds `position`."""
    return ((position + 1) * parts - 1) // size


@compiled
def overlap(low: int, high: int, size: int, parts: int, index: int) -> tuple[int, int]:
    """The part of [low, high) in the index-th slice that it touches, of `parts` even slices of `size`."""
    if high <= low:
        return low, low
    part = part_of(low, size, parts) + index
    if part >= parts:
        return high, high
    a = max(low, size * part // parts)
    b = min(high, size * (part + 1) // parts)
    return (a, b) if b > a else (high, high)


@compiled
def piece_rows(geo: Geometry, way: int, tensor: int, piece: int) -> tuple[int, int]:
    """New rows of a tensor in a piece, on the cores of row way `way`."""
    low = geo.start[way, tensor] if piece == 0 else geo.ends[way, tensor, piece - 1]
    return low, geo.ends[way, tensor, piece]


@compiled
def most_rows(geo: Geometry, tensor: int, piece: int) -> int:
    most = 0
    for way in range(geo.start.shape[0]):
        a, b = piece_rows(geo, way, tensor, piece)
        most = max(most, b - a)
    return most


@compiled
def active(size: int, ways: int, low: int, high: int) -> int:
    """Ways whose even share of `size` reaches into [low, high)."""
    active = 0
    for way in range(ways):
        have = size * (way + 1) // ways - size * way // ways
        if min(have, high) > min(have, low):
            active += 1
    return active


@compiled
def active_rows(geo: Geometry, tensor: int, piece: int, low: int, high: int) -> int:
    active = 0
    for way in range(geo.start.shape[0]):
        a, b = piece_rows(geo, way, tensor, piece)
        if min(b - a, high) > min(b - a, low):
            active += 1
    return active


@compiled
def input_rows(
    net: NetworkTable, geo: Geometry, edge: int, edge0: int, tensor: int, piece: int, low: int, high: int
) -> int:
    """Input rows that tile rows [low, high) of a piece read, summed over row ways."""
    size = net.tensor_rows[geo.tensor[geo.edge_local[edge - edge0]]]
    total = 0
    for way in range(geo.start.shape[0]):
        a, b = piece_rows(geo, way, tensor, piece)
        first, stop = a + min(b - a, low), a + min(b - a, high)
        if stop > first:
            total += needed_stop(
                stop,
                net.edge_stride[edge],
                net.edge_offset[edge],
                net.edge_extent[edge],
                net.edge_whole[edge],
                size,
            ) - needed_start(first, net.edge_stride[edge], net.edge_offset[edge], net.edge_whole[edge])
    return total
