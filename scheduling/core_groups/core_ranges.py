"""When each core is estimated to be free, and the range of neighbouring cores that can start a kernel first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scheduling.lowering.tables import Ints


class Range(NamedTuple):
    """Cores that a kernel is given: the first of them, and from when to when, in cycles."""

    first_core: int
    start: int
    end: int


class CoreRanges:
    """Cores that take kernels one by one."""

    def __init__(self, cores: int) -> None:
        self._free = np.zeros(cores, np.int64)
        self._ranges: dict[int, Ints] = {}  # views of the free times, by the number of cores of a range

    def copy(self) -> CoreRanges:
        """The same cores, free at the same times."""
        other = CoreRanges(0)
        other._free = self._free.copy()
        return other

    def place(self, cores: int, ready: int, cycles: int) -> Range:
        """Take the cores that can start a kernel first that is `ready` at a time, of equal ranges the lowest."""
        if cores == len(self._free):
            first, start = 0, max(self.free(0, cores), ready)
        else:
            if cores not in self._ranges:
                self._ranges[cores] = np.lib.stride_tricks.sliding_window_view(self._free, cores)
            starts = np.maximum(self._ranges[cores].max(axis=1), ready)
            first = int(starts.argmin())
            start = int(starts[first])
        self.hold(first, cores, start + cycles)
        return Range(first, start, start + cycles)

    def free(self, first: int, cores: int) -> int:
        """When all cores of a range are free."""
        return int(self._free[first : first + cores].max())

    def hold(self, first: int, cores: int, end: int) -> None:
        """Keep the cores of a range until then."""
        self._free[first : first + cores] = end
