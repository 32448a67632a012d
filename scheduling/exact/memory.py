"""The topological order with the least peak of live bytes, with a proof or a lower bound.

Sources: Ahn et al., Ordering Chaos: Memory-Aware Scheduling of Irregularly Wired Neural Networks for Edge Devices
(Serenity), MLSys 2020: dynamic programming over down-sets, divide and conquer, a budget. What it calls a cut, an
operator that all others are before or after, is here any two parts of which all of one precede all of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from scheduling.exact.arrays import bit_rows, concatenated
from scheduling.exact.memory_search import Words, search_orders
from scheduling.exact.operator_graph import INPUT, OperatorGraph, ancestors, part, peak_bytes
from scheduling.lowering.tables import Ints

STATES = 1_000_000
"""Down-sets that a search may hold by default: at most some hundred megabytes."""

RISING_STATES = 20_000
"""Down-sets that the search whose level rises may hold. Where they run out, the least peak is far above the
first bound, and searches that keep within a level each hold fewer."""

BISECTIONS = 6
"""Searches for a better order, and as many for a better bound, where the proof does not end in time."""


class LeastMemory(NamedTuple):
    """An order of all operators, its peak, and a lower bound on the peak of any order. Bytes."""

    order: tuple[int, ...]
    peak_bytes: int
    bound_bytes: int

    @property
    def proven(self) -> bool:
        """Whether no order has a lower peak."""
        return self.bound_bytes == self.peak_bytes


def least_memory(graph: OperatorGraph, states: int = STATES) -> LeastMemory:
    """Find the order with the least peak (`peak_bytes` defines it).

    `states` bounds the down-sets that each search holds; where it runs out, the order is the best found and the
    bound is lower than its peak. Deterministic. Raises ValueError for fewer than one state.
    """
    if states < 1:
        raise ValueError(f"{states} states; expected at least 1")
    pieces = [_Piece(graph, operators) for operators in decomposed(graph)]
    bound = max((piece.bound for piece in pieces), default=peak_bytes(graph, ()) if not graph.names else 0)
    for piece in sorted(pieces, key=lambda piece: -piece.peak):
        bound = max(bound, piece.improve(bound, states))
    order = tuple(operator for piece in pieces for operator in piece.order)
    return LeastMemory(order, peak_bytes(graph, order), bound)


def decomposed(graph: OperatorGraph) -> list[list[int]]:
    """Split the operators where all of one part precede all of the next: every order runs them part by part."""
    above = ancestors(graph)
    by_depth = sorted(range(len(above)), key=lambda operator: (above[operator].bit_count(), operator))
    common = -1  # operators before all of those from here on
    cuts = [len(by_depth)]
    for position in range(len(by_depth) - 1, 0, -1):
        common &= above[by_depth[position]]
        if common.bit_count() == position:
            cuts.append(position)
    return [by_depth[a:b] for a, b in pairwise([0, *reversed(cuts)]) if a < b]


class _Piece:
    """A part that every order runs as a whole, beside tensors that pass by. Peaks and bounds include these."""

    def __init__(self, graph: OperatorGraph, operators: Sequence[int]) -> None:
        self._graph = part(graph, operators)
        self._operators = sorted(operators)
        inside = set(operators)
        first = self._operators[0]
        self._passing = sum(
            size
            for t, (size, maker, users) in enumerate(
                zip(graph.tensor_bytes, graph.producer, graph.consumers, strict=True)
            )
            if maker < first
            and not inside.intersection(users)
            and (t in graph.outputs or (users and users[-1] > first))
        )
        own = range(len(self._operators))
        self._own = min((tuple(own), greedy_order(self._graph)), key=lambda o: peak_bytes(self._graph, o))
        self.bound = crossing_bound_bytes(self._graph) + self._passing

    @property
    def peak(self) -> int:
        return peak_bytes(self._graph, self._own) + self._passing

    @property
    def order(self) -> list[int]:
        return [self._operators[operator] for operator in self._own]

    def improve(self, bound: int, states: int) -> int:
        """Search until the peak is at most `bound` or the least; return a lower bound that holds for the whole."""
        if self.peak <= bound:
            return bound
        bound = max(bound, self._search(bound, True, min(states, RISING_STATES))[0])
        # In turn one byte below the best peak, the proof where that is the least, and halfway between it and the bound.
        below_best = True
        while self.peak > bound:
            before = self.peak
            level = before - 1 if below_best else (bound + before) // 2
            reached, ended = self._search(level, False, states)
            if not ended:
                return self._approach(bound, level, states // BISECTIONS)
            if self.peak == before:
                bound = max(bound, reached)
            below_best = not below_best
        return bound

    def _approach(self, bound: int, undecided: int, states: int) -> int:
        """A better order above a level that is undecided, and a better bound below it, by bisection of each."""
        low = undecided
        for _ in range(BISECTIONS):
            if low >= self.peak - 1:
                break
            before = self.peak
            reached, ended = self._search((low + before) // 2, False, states)
            if self.peak == before:
                low = reached
                bound = max(bound, reached) if ended else bound
        high = undecided
        for _ in range(BISECTIONS):
            if bound >= high - 1:
                break
            before, level = self.peak, (bound + high) // 2
            reached, ended = self._search(level, False, states)
            if ended and self.peak == before:
                bound = max(bound, reached)
            else:
                high = level
        return bound

    def _search(self, level: int, rises: bool, states: int) -> tuple[int, bool]:
        """Keep the order where it is better; return the level that was reached, and whether the search ended."""
        order, reached, ended = search_orders(
            *_tables(self._graph), level - self._passing, rises, max(states, len(self._own) + 1)
        )
        if len(order):
            self._own = min(self._own, tuple(order.tolist()), key=lambda o: peak_bytes(self._graph, o))
        return int(reached) + self._passing, ended


def greedy_order(graph: OperatorGraph) -> tuple[int, ...]:
    """Always run the operator that leaves the fewest live bytes, the one with the smallest working set first."""
    left = [len(users) for users in graph.consumers]
    missing = [len(before) for before in graph.predecessors]
    after = _successors(graph)
    waiting = {operator for operator, count in enumerate(missing) if not count}
    size = graph.tensor_bytes
    order: list[int] = []

    def cost(operator: int) -> tuple[int, int, int]:
        stays = sum(size[t] for t in graph.makes[operator] if left[t] or t in graph.outputs)
        ends = sum(size[t] for t in graph.reads[operator] if left[t] == 1 and t not in graph.outputs)
        return stays - ends, sum(size[t] for t in graph.makes[operator]), operator

    while waiting:
        operator = min(waiting, key=cost)
        waiting.remove(operator)
        order.append(operator)
        for tensor in graph.reads[operator]:
            left[tensor] -= 1
        for following in after[operator]:
            missing[following] -= 1
            if not missing[following]:
                waiting.add(following)
    return tuple(order)


def crossing_bound_bytes(graph: OperatorGraph) -> int:
    """A lower bound on the peak of any order: for some operator, what it reads and writes and every tensor that
    must exist before it and is read after it in every order."""
    above = ancestors(graph)
    best = sum(
        size
        for t, (size, maker, users) in enumerate(
            zip(graph.tensor_bytes, graph.producer, graph.consumers, strict=True)
        )
        if maker == INPUT and (users or t in graph.outputs)
    )
    for operator, own in enumerate(graph.working_set_bytes):
        needed = {*graph.reads[operator], *graph.makes[operator]}
        crossing = sum(
            graph.tensor_bytes[t]
            for t, (maker, users) in enumerate(zip(graph.producer, graph.consumers, strict=True))
            if t not in needed
            and (maker == INPUT or above[operator] >> maker & 1)
            and (t in graph.outputs or any(above[user] >> operator & 1 for user in users))
        )
        best = max(best, own + crossing)
    return best


def _successors(graph: OperatorGraph) -> list[list[int]]:
    after: list[list[int]] = [[] for _ in graph.names]
    for operator, before in enumerate(graph.predecessors):
        for earlier in before:
            after[earlier].append(operator)
    return after


def _tables(
    graph: OperatorGraph,
) -> tuple[Words, Ints, Ints, Words, Ints, Ints, Ints, Ints, Ints, int]:
    """The first arguments of search_orders, up to the bytes that are live at the start."""
    words = max(1, -(-len(graph.names) // 64))
    size = graph.tensor_bytes
    after_start, after = concatenated(_successors(graph))
    read_start, read = concatenated(graph.reads)
    freeable = [0 if t in graph.outputs else size[t] for t in range(len(size))]
    made = [sum(size[t] for t in tensors) for tensors in graph.makes]
    lasting = [
        sum(size[t] for t in tensors if graph.consumers[t] or t in graph.outputs) for tensors in graph.makes
    ]
    at_start = sum(
        size[t]
        for t, maker in enumerate(graph.producer)
        if maker == INPUT and (graph.consumers[t] or t in graph.outputs)
    )
    return (
        bit_rows(graph.predecessors, words),
        after_start,
        after,
        bit_rows(graph.consumers, words),
        read_start,
        read,
        np.array(freeable, np.int64),
        np.array(made, np.int64),
        np.array(lasting, np.int64),
        at_start,
    )
