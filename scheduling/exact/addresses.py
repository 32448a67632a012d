"""Offsets for buffers that live for an interval of time each, so that none overlap in a memory.

Source: Moffitt, MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning, ASPLOS 2023:
canonical solutions, sections, dominance, decomposition and several orders of the buffers in turn.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduling.exact.address_search import NONE, UNDECIDED, Given, most_crowded_first, place, split, start
from scheduling.exact.arrays import concatenated
from scheduling.lowering.tables import Ints

NODES = 1_000_000
"""Nodes that a search may visit by default."""

KEYS = 3
"""Orders of the buffers: by life, by size and by life again, the last two after what crowds most."""

ROUND_NODES = 1000
"""Nodes of the first try of each order; every round doubles it."""

SPREADS = (0.1, 0.3)
"""Orders are also tried with keys drawn up to these parts away from what they are, in turn, in more and shorter rounds
that together visit as many nodes: some problems need the one, some the other."""


class Buffer(NamedTuple):
    """A buffer that lives at times begin <= t < end and takes a number of bytes."""

    begin: int
    end: int
    size_bytes: int


class Answer(Enum):
    """What is known after a search."""

    FOUND = "found"
    IMPOSSIBLE = "impossible"
    UNDECIDED = "undecided"


class Addresses(NamedTuple):
    """The answer, an offset in bytes for each buffer where it is FOUND (else none), and the nodes visited."""

    answer: Answer
    offsets: tuple[int, ...]
    nodes: int


def address_assignment(
    buffers: Sequence[Buffer], capacity_bytes: int, *, nodes: int = NODES, seconds: float | None = None
) -> Addresses:
    """Find offsets so that buffers that live at the same time do not overlap within the capacity.

    Ends when offsets are found, it is proven that there are none, or after about `nodes` nodes. With `seconds` also
    after that time, at the end of a try, and the answer may then depend on the machine's speed; else it is
    deterministic. Raises ValueError for a buffer that ends before it begins or has a negative size.
    """
    check_buffers(buffers)
    started = time.perf_counter()
    wanted = [i for i, buffer in enumerate(buffers) if buffer.end > buffer.begin and buffer.size_bytes]
    problem = _Problem([buffers[i] for i in wanted])
    if problem.peak_bytes > capacity_bytes:
        return Addresses(Answer.IMPOSSIBLE, (), 0)
    offsets = [0] * len(buffers)
    left = nodes
    for members in problem.groups():
        rng = np.random.default_rng(0)
        outcome, tries, spent = UNDECIDED, [0, 0], [0, 0]
        while outcome == UNDECIDED:
            elapsed = time.perf_counter() - started
            if left <= 0 or (seconds is not None and elapsed > seconds):
                return Addresses(Answer.UNDECIDED, (), nodes - left)
            drawn = int(spent[1] < spent[0])
            rounds, key = divmod(tries[drawn], KEYS)
            allowed = min(left, ROUND_NODES * (rounds + 2) if drawn else ROUND_NODES << rounds)
            if seconds is not None:
                allowed = min(allowed, ROUND_NODES + int((nodes - left) * (seconds - elapsed) / elapsed))
            spread = SPREADS[rounds % len(SPREADS)]
            factor = rng.uniform(1 - spread, 1 + spread, len(members)) if drawn else 1.0
            order = problem.order(members, key, factor)
            outcome, found, visited = problem.search(order, capacity_bytes, allowed, crowded=key > 0)
            left -= visited
            spent[drawn] += visited
            tries[drawn] += 1
        if outcome == NONE:
            return Addresses(Answer.IMPOSSIBLE, (), nodes - left)
        for member, offset in zip(order.tolist(), found, strict=True):
            offsets[wanted[member]] = offset
    return Addresses(Answer.FOUND, tuple(offsets), nodes - left)


def check_buffers(buffers: Sequence[Buffer]) -> None:
    """Raise ValueError for a buffer that ends before it begins or has a negative size."""
    for index, buffer in enumerate(buffers):
        if buffer.end < buffer.begin or buffer.size_bytes < 0:
            raise ValueError(f"buffer {index} is {buffer}; expected begin <= end and size_bytes >= 0")


class _Problem:
    """Buffers and the sections in which they live."""

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        self._size = np.array([buffer.size_bytes for buffer in buffers], np.int64)
        self._time = np.array([buffer.end - buffer.begin for buffer in buffers], np.int64)
        self._first = np.empty(len(buffers), np.int64)
        self._stop = np.empty(len(buffers), np.int64)
        # A section ends where a buffer ends that began since the last one: others hold no more than a neighbour.
        events = sorted(
            [(buffer.end, 0, i) for i, buffer in enumerate(buffers)]
            + [(buffer.begin, 1, i) for i, buffer in enumerate(buffers)]
        )
        sections, began = 0, False
        for _, begins, i in events:
            if begins:
                self._first[i] = sections
                began = True
            else:
                sections += began
                began = False
                self._stop[i] = sections
        self._sections = sections
        self._total = np.zeros(sections, np.int64)
        for first, stop, size in zip(self._first, self._stop, self._size, strict=True):
            self._total[first:stop] += size

    @property
    def peak_bytes(self) -> int:
        return int(self._total.max(initial=0))

    def groups(self) -> list[Ints]:
        """Sets of buffers that live at different times."""
        members = np.arange(len(self._size))
        group = np.zeros(len(members), np.int64)
        count = split(members, self._first, self._stop, group, np.empty(self._sections + 1, np.int64))
        return [members[group == g] for g in range(count)]

    def order(self, members: Ints, which: int, factor: NDArray[np.float64] | float) -> Ints:
        """Sort buffers by what makes one hard to place, keys times `factor`; there are KEYS ways, from 0 on."""
        size, lasts = self._size[members], self._time[members]
        area = size * lasts
        crowd = np.array([self._total[self._first[i] : self._stop[i]].max() for i in members], np.int64)
        keys = ((lasts, area, crowd), (area, lasts), (lasts, area))[which]
        return members[np.lexsort([-key * factor for key in reversed(keys)])]

    def search(
        self, order: Ints, capacity_bytes: int, nodes: int, crowded: bool
    ) -> tuple[int, list[int], int]:
        """Place buffers, at equal offsets in the given order, or with `crowded` after what crowds most at the time.

        Returns the outcome, offsets and nodes visited.
        """
        first, stop, size = self._first[order], self._stop[order], self._size[order]
        count = len(order)
        meets = (
            (first[:, None] < stop[None, :]) & (first[None, :] < stop[:, None]) & ~np.eye(count, dtype=bool)
        )
        twin = np.full(count, -1, np.int64)
        known: dict[tuple[int, int, int], int] = {}
        for i, key in enumerate(zip(first.tolist(), stop.tolist(), size.tolist(), strict=True)):
            twin[i] = known.get(key, -1)
            known[key] = i
        given = Given(
            first,
            stop,
            size,
            twin,
            *concatenated([np.nonzero((first <= s) & (s < stop))[0].tolist() for s in range(self._sections)]),
            np.concatenate(([0], np.cumsum(meets.sum(axis=1)))),
            np.nonzero(meets)[1],
            capacity_bytes,
            crowded,
        )
        state = start(given, nodes)
        members = np.arange(count)
        if crowded:
            members = most_crowded_first(members, given, state.top)
        outcome = place(members, given, state, 0)
        return outcome, state.offsets.tolist(), nodes - max(0, int(state.nodes[0]))
