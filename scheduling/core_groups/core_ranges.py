"""When each core is estimated to be free, and the range of neighbouring cores that can start a kernel first."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple


class Range(NamedTuple):
    """Cores that a kernel is given: the first of them, and from when to when, in cycles."""

    first_core: int
    start: int
    end: int


class CoreRanges:
    """Cores that take kernels one by one.

    Neighbours that are free at the same time are kept as one run: there are few of them, since kernels take ranges.
    """

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._starts = [0, cores]  # the first core of each run, and the number of cores
        self._free = [0]  # when each run is free

    def copy(self) -> CoreRanges:
        """The same cores, free at the same times."""
        other = CoreRanges(self._cores)
        other._starts, other._free = self._starts.copy(), self._free.copy()
        return other

    def place(self, cores: int, ready: int, cycles: int) -> Range:
        """Take the cores that can start a kernel first that is `ready` at a time, of equal ranges the lowest.

        Only ranges that begin with a run are looked at: one core further down within a run, a range is free as soon.
        """
        starts, free = self._starts, self._free
        last, first, start = self._cores - cores, 0, -1
        for run, core in enumerate(starts):
            if core > last:
                break
            found, stop = ready, core + cores
            while starts[run] < stop:
                if free[run] > found:
                    found = free[run]
                run += 1
            if found < start or start < 0:
                first, start = core, found
                if start == ready:
                    break
        self.hold(first, cores, start + cycles)
        return Range(first, start, start + cycles)

    def free(self, first: int, cores: int) -> int:
        """When all cores of a range are free."""
        starts = self._starts
        return max(self._free[bisect_right(starts, first) - 1 : bisect_left(starts, first + cores)])

    def hold(self, first: int, cores: int, end: int) -> None:
        """Keep the cores of a range until then."""
        starts, free, stop = self._starts, self._free, first + cores
        low, high = bisect_right(starts, first) - 1, bisect_left(starts, stop)
        new_starts, new_free = [first], [end]
        if starts[low] < first:
            new_starts, new_free = [starts[low], first], [free[low], end]
        if starts[high] > stop:
            new_starts.append(stop)
            new_free.append(free[high - 1])
        starts[low:high] = new_starts
        free[low:high] = new_free
