"""Region maps of a Rearrange: which input rows, columns and channels its output rows, columns and channels
need.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from graph.layering.layout import Digits, extent, sliced
from graph.network import AxisMap, RegionMap

Numbers = NDArray[np.int64]

Axes = tuple[Digits, Digits, Digits]
"""Digits of a copy's rows, columns and channels."""

# Elements that a row of a copy may need of its input: 128 KiB of fp16.
_MOST_READ = 2**16

# Runs of rows that a copy is cut into.
_MOST_RUNS = 256

# Positions of an axis, and pairs of them, that are tried out; with more of them, a map is the whole axis.
_MOST_TRIED = 2**22


def row_runs(axes: Axes, offset: int, sizes: tuple[int, int, int]) -> list[tuple[Digits, int]]:
    """The digits of the rows of a copy and the element that they begin at; of several runs of rows where one copy would
    need much of its input for every row, and copies of runs need less. `axes`, `offset` and `sizes` are those of
    `rearrange_map`.

    No map goes backwards, and none takes rows out of columns: what turns a tensor round reads all of it for each row.
    """
    rows, columns, channels = axes
    count = run = extent(rows)
    read = _read(axes, offset, sizes)
    while run > 1 and read > _MOST_READ:
        half = -(-run // 2)
        if -(-count // half) > _MOST_RUNS:
            break
        cut = sliced(rows, 0, 1, half)
        less = read if cut is None else _read((cut[0], columns, channels), offset + cut[1], sizes)
        if less > 0.75 * read:
            break
        run, read = half, less
    found = [sliced(rows, start, 1, min(run, count - start)) for start in range(0, count, run)]
    runs = [(digits, offset + before) for digits, before in filter(None, found)]
    return runs if len(runs) == len(found) else [(rows, offset)]


def _read(axes: Axes, offset: int, sizes: tuple[int, int, int]) -> int:
    """Elements of the input that a copy needs for its first row."""
    maps = rearrange_map(axes, offset, sizes)
    wanted = (1, extent(axes[1]), extent(axes[2]))
    needed = (
        axis.needed(0, count, size)
        for axis, count, size in zip((maps.rows, maps.columns, maps.channels), wanted, sizes, strict=True)
    )
    return math.prod(stop - start for start, stop in needed)


def rearrange_map(axes: Axes, offset: int, sizes: tuple[int, int, int]) -> RegionMap:
    """The maps of output axes whose digits are `axes` (rows, columns, channels) on an input of `sizes`, in
    the same order.
    """
    rows, columns, channels = sizes
    row, column, channel = axes
    line = columns * channels
    # Whole lines of offset only move the rows: the parts of an unrolled loop then share their maps.
    lines, place = divmod(offset, line)
    row_map = _axis_map(row, column, channel, place, line, None, rows)
    if not row_map.whole:
        row_map = replace(row_map, offset=row_map.offset + lines)
    row, column, channel = (_modulo(digits, line) for digits in axes)
    column_map = _axis_map(column, row, channel, place, channels, line, columns)
    row, column, channel = (_modulo(digits, channels) for digits in axes)
    channel_map = _axis_map(channel, row, column, place % channels, 1, channels, channels)
    if (channel_map.stride, channel_map.extent, channel_map.divisor) != (1, 1, 1):
        channel_map = AxisMap(whole=True)
    return RegionMap(row_map, column_map, channel_map)


def _modulo(digits: Digits, cycle: int) -> Digits:
    """The digits with strides below the cycle, after which all is the same again."""
    return tuple(digit._replace(stride=digit.stride % cycle) for digit in digits)


@lru_cache(maxsize=4096)
def _axis_map(
    own: Digits, first: Digits, second: Digits, offset: int, unit: int, cycle: int | None, size: int
) -> AxisMap:
    """The map of an output axis of digits `own` on the input axis of `size` positions, each of `unit` elements
    and all of them again after `cycle` elements; `first` and `second` are the other output axes.
    """
    if max(extent(digits) for digits in (own, first, second)) > _MOST_TRIED:
        return AxisMap(whole=True)
    residues = [_residues(_numbers(digits), cycle) for digits in (first, second)]
    if residues[0].size * residues[1].size > _MOST_TRIED:
        return AxisMap(whole=True)
    low, high = _hull(_numbers(own), _sums(*residues) + offset, unit, cycle)
    return _fit(low, high, size, _divisors(own, low))


def _numbers(digits: Digits) -> Numbers:
    """What each position of an axis adds to the element's number."""
    found = np.zeros(1, np.int64)
    for digit in digits:
        found = (found[:, None] + np.arange(digit.size) * digit.stride).ravel()
    return found


def _residues(numbers: Numbers, cycle: int | None) -> Numbers:
    """The numbers that matter: all that differ modulo the cycle, or the extremes where nothing wraps."""
    if cycle is None:
        return np.array([numbers.min(), numbers.max()])
    return _distinct(numbers % cycle)


def _distinct(numbers: Numbers) -> Numbers:
    """The numbers in order, each once (as numpy.unique, whose table of hashes costs half a millisecond)."""
    ordered: Numbers = np.sort(numbers, axis=None)
    first = np.ones(ordered.size, np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def _sums(first: Numbers, second: Numbers) -> Numbers:
    return _distinct(first[:, None] + second)


def _hull(numbers: Numbers, rest: Numbers, unit: int, cycle: int | None) -> tuple[Numbers, Numbers]:
    """First and last (exclusive) input position for each output position."""
    if cycle is None:
        return (numbers + rest.min()) // unit, (numbers + rest.max()) // unit + 1
    shifts = numbers % cycle
    rest = _distinct(rest % cycle)
    # Behind `wrapped`, a sum of shift and rest is at least the cycle and begins again.
    wrapped = np.searchsorted(rest, cycle - shifts)
    low = shifts + np.where(wrapped < rest.size, rest[np.minimum(wrapped, rest.size - 1)] - cycle, rest[0])
    high = shifts + np.where(wrapped > 0, rest[wrapped - 1], rest[-1] - cycle)
    return low // unit, high // unit + 1


def _divisors(digits: Digits, low: Numbers) -> Sequence[int]:
    """How many output positions may share one input interval: where a digit or the first change says so, or all of
    them, as where they go backwards."""
    change = int((low != low[0]).argmax()) if (low != low[0]).any() else 1
    return sorted({1, change, low.size, *(extent(digits[place:]) for place in range(1, len(digits)))})


def _fit(low: Numbers, high: Numbers, size: int, divisors: Sequence[int]) -> AxisMap:
    """The tightest AxisMap that covers [low, high) of every position."""
    places = np.arange(low.size)
    best = AxisMap(whole=True)
    best_extent = size
    for divisor in divisors:
        stride = int(low[divisor] - low[0]) if divisor < low.size else 0
        if stride < 0:
            continue
        base = places // divisor * stride
        offset = int((low - base).min())
        reach = int((high - base).max()) - offset
        if reach < best_extent or (reach == best_extent == 1 and best.whole):
            best_extent = reach
            best = AxisMap(stride if low.size > divisor else 1, offset, reach, divisor=divisor)
    return best
