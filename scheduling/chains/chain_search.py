"""Searches for the best chain on an order of layers that can be left and taken up again, and how several share a
budget."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import NamedTuple

from scheduling.layer_order import Order
from scheduling.problem import Problem, State, simulated_cost


class Priced(NamedTuple):
    """An order with a schedule on it and what that costs, simulated; sorted by cost."""

    cost: float
    order: Order  # all layers, the file's order written out too
    state: State

    def __lt__(self, other: object) -> bool:
        """By cost, then by order; rules have no order."""
        return self[:2] < other[:2] if isinstance(other, Priced) else NotImplemented


class ChainSearch:
    """Schedules on one order of layers, simulated some at a time; `best` is the best one by now.

    `problem` has its layers in the order of `best`. `schedules` makes each when it is asked for.
    """

    def __init__(self, problem: Problem, best: Priced, schedules: Iterator[State]) -> None:
        self.best = best
        self._problem = problem
        self._schedules = schedules

    def advance(self, most: int) -> int:
        """Simulate so many more schedules, or all that are left; how many it were."""
        number = 0
        for number, state in enumerate(islice(self._schedules, max(0, most)), 1):  # noqa: B007 (counts)
            cost = simulated_cost(self._problem, *state)
            if cost < self.best.cost:
                self.best = Priced(cost, self.best.order, state)
        return number


def advance_together(searches: Collection[ChainSearch], most: int) -> None:
    """Simulate so many more schedules: of the search with the best one by now half of them, of the next one half of
    the rest, and so on; where some have no more, what that leaves goes to the others, the best first."""
    ranked = sorted(searches, key=lambda search: search.best)
    for search in ranked:
        most -= search.advance(-(-most // 2))
    for search in ranked:
        most -= search.advance(most)
