"""Templates side by side in arrays, as the simulator reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwmodel.timing.counts import Counts
from scheduling.lowering import Lowered
from scheduling.lowering.tables import Ints
from scheduling.templates.frames import WHOLE, Parts
from scheduling.timeline.simulation import ARENA_COLUMNS, timing_rows
from scheduling.timeline.timed import Timed, timed

COUNTS = len(Counts._fields)

_FIRST_ROWS = 1 << 16
"""Rows of a store that there is room for at first: enough for a search of most networks, and memory only once used."""


@dataclass(frozen=True, eq=False)
class Template:
    """A lowered instance; `index` is its place in the store. It is that of the slice `parts`; slices that look alike
    share it."""

    lower: Callable[[], Lowered]
    index: int
    parts: Parts = WHOLE

    @cached_property
    def lowered(self) -> Lowered:
        """All of it, lowered again when first asked for: searches only time most templates."""
        return self.lower()


class TemplateStore:
    """Templates side by side in arrays that grow, so that compiled code gets a schedule as an array of indices."""

    def __init__(self, inner: int) -> None:
        """`inner` is the number of inner memories of the machine."""
        self.count = 0
        self.inner = np.empty((256, 2 * inner + 1 if inner else 0), np.int64)
        self.arena = np.empty((_FIRST_ROWS, ARENA_COLUMNS), np.int64)
        self.local = np.empty(1024, np.int64)
        self.counts = np.empty((256, COUNTS), np.int64)
        # Per template: first row in the arena, rows, first local tensor, entries.
        self.places = np.empty((256, 4), np.int64)
        self.rows = 0
        self._locals = 0

    def add(self, lowered: Lowered, parts: Parts = WHOLE) -> Template:
        """Keep a lowered instance of this slice."""
        return self.add_timed(timed(lowered), lowered.inner, lambda: lowered, parts)

    def add_timed(self, instance: Timed, inner: Ints, lower: Callable[[], Lowered], parts: Parts) -> Template:
        """Keep what is timed of an instance, of which `lower` gives the rest, and its counts of inner memories."""
        rows, local, index = instance.rows, instance.tensors, self.count
        _grow(self.arena, self.rows + len(rows))
        _grow(self.local, self._locals + len(local))
        _grow(self.counts, index + 1)
        _grow(self.places, index + 1)
        self.arena[self.rows : self.rows + len(rows)] = rows
        self.local[self._locals : self._locals + len(local)] = local
        _grow(self.inner, index + 1)
        self.counts[index] = instance.counts
        self.inner[index] = inner
        self.places[index] = (self.rows, len(rows), self._locals, instance.entries)
        self.count += 1
        self.rows += len(rows)
        self._locals += len(local)
        return Template(lower, index, parts)

    def retime(self, index: int, rows: Ints) -> None:
        """Time template `index` from now on by these rows: its own, in any order."""
        first, count, *_ = self.places[index]
        timing_rows(rows, self.arena[first : first + count])


def _grow(array: Ints, need: int) -> None:
    """Make room for `need` rows in place: large blocks are mapped anew and not copied. No view of it may be in use."""
    if need > len(array):
        array.resize((need + need // 4, *array.shape[1:]), refcheck=False)
