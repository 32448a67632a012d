"""Region maps of a Rearrange: which input rows, columns and channels its output rows, columns and channels
need.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graph.layout import Digits, extent
from graph.network import AxisMap, RegionMap

Numbers = NDArray[np.int64]


def rearrange_map(axes: tuple[Digits, Digits, Digits], offset: int, sizes: tuple[int, int, int]) -> RegionMap:
    """The maps of output axes whose digits are `axes` (rows, columns, channels) on an input of `sizes`, in
    the same order.
    """
    rows, columns, channels = sizes
    parts = [_numbers(digits) for digits in axes]
    fits = []
    # For each axis: elements of one input position, and of one step around it.
    for axis, (unit, cycle, size) in enumerate(
        ((columns * channels, None, rows), (channels, columns * channels, columns), (1, channels, channels))
    ):
        others = [part for place, part in enumerate(parts) if place != axis]
        rest = _sums(_residues(others[0], cycle), _residues(others[1], cycle)) + offset
        low, high = _hull(parts[axis], rest, unit, cycle)
        fits.append(_fit(low, high, size, _divisors(axes[axis], low) if axis < 2 else (1,)))
    row_map, column_map, channel_map = fits
    if (channel_map.stride, channel_map.extent) != (1, 1):
        channel_map = AxisMap(whole=True)
    return RegionMap(row_map, column_map, channel_map)


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
    return np.unique(numbers % cycle)


def _sums(first: Numbers, second: Numbers) -> Numbers:
    return np.unique(first[:, None] + second)


def _hull(numbers: Numbers, rest: Numbers, unit: int, cycle: int | None) -> tuple[Numbers, Numbers]:
    """First and last (exclusive) input position for each output position."""
    if cycle is None:
        return (numbers + rest.min()) // unit, (numbers + rest.max()) // unit + 1
    low, high = np.empty_like(numbers), np.empty_like(numbers)
    for place, number in enumerate(numbers):
        positions = (rest + number) % cycle // unit
        low[place], high[place] = positions.min(), positions.max() + 1
    return low, high


def _divisors(digits: Digits, low: Numbers) -> Sequence[int]:
    """How many output positions may share one input position: where a digit or the first change says so."""
    change = int((low != low[0]).argmax()) if (low != low[0]).any() else 1
    return sorted({1, change, *(extent(digits[place:]) for place in range(1, len(digits)))})


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
