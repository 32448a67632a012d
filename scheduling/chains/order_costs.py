"""What orders of layers cost: the cheapest chain of runs on each, by the estimate of `dp`, simulated once.

What a run of layers costs depends on which layers it has, in which order, and on nothing else of the order; so each
run is lowered and timed once, whatever orders it is met in. Orders that differ in a few places share nearly all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from scheduling.candidates.defaults import Defaults
from scheduling.chains.best import Chains, chain_schedules, segment_costs
from scheduling.chains.chain_search import ChainSearch, Priced
from scheduling.chains.offered import EVERY, MOST_AHEAD, cut_points, timed_runs
from scheduling.chains.segments import IN_LLB, Segments
from scheduling.choice import Choice
from scheduling.evaluator import Evaluation
from scheduling.layer_order import Order
from scheduling.lowering.tables import Ints
from scheduling.problem import Problem, State, simulated_cost
from scheduling.rules import Rules

MANY_CUTS = 48
"""With more cuts than this, about FEW_CUTS of them are looked at: of each window of neighbours the one that the fewest
bytes cross. With fewer than FEW_CUTS, such cuts of windows of layers are added."""

FEW_CUTS, FEW_AHEAD, FEW_TIMED = 28, 10, 6
"""Then: cuts; cuts ahead at which a sub-graph may end; choices timed for each run of layers, by their estimates."""

ENDS_TOGETHER, HOPELESS = 4, 1.04
"""Where the cheapest of so many ends in a row is so many times as dear as the cheapest before, no further are tried."""

ROOM = 1.0
"""Share of the last-level buffer that borders may fill."""


class Cuts(NamedTuple):
    """Where sub-graphs may begin and end on an order, and how much of that is looked at."""

    at: list[int]
    ahead: int
    timed: int


class OrderCosts:
    """Costs of orders of a problem's layers; what runs of layers cost is kept from order to order.

    `scale` is any schedule's evaluation, for objectives that weigh cycles against energy.
    """

    def __init__(self, problem: Problem, scale: Evaluation) -> None:
        self._problem = problem
        self._scale = scale
        self._known: dict[Order, Segments] = {}
        self._simulated: dict[tuple[tuple[Order, Choice], ...], float] = {}

    def cheapest(self, order: Order) -> Priced:
        """The cheapest chain on an order of all layers; at most one schedule is simulated."""
        problem = self._problem_on(order)
        cuts = cuts_on(problem)
        table = self._table(problem, order, cuts)
        chains = Chains(problem, cuts.at, table)
        cost = next(segment_costs(problem.objective, table, self._scale))
        state = chains.cheapest(cost, ROOM, chains.nothing_seen()), Rules()
        runs = tuple((order[choice.first : choice.stop], choice) for choice in state[0])
        if runs not in self._simulated:
            self._simulated[runs] = simulated_cost(problem, *state) if runs else math.inf
        return Priced(self._simulated[runs], order, state)

    def search(self, one: Priced) -> ChainSearch:
        """Chains on an order by all estimates of `dp`, beginning with what is there."""
        problem = self._problem_on(one.order)
        return ChainSearch(problem, one, self._schedules(problem, one.order))

    def _schedules(self, problem: Problem, order: Order) -> Iterator[State]:
        cuts = cuts_on(problem)
        table = self._table(problem, order, cuts)
        yield from chain_schedules(problem, cuts.at, table, self._scale)

    def _problem_on(self, order: Order) -> Problem:
        return self._problem.reordered(() if order == tuple(range(len(order))) else order)

    def _table(self, problem: Problem, order: Order, cuts: Cuts) -> list[Segments]:
        """What there is for sub-graphs that start at each cut of an order. From the last cut on back: where all of some
        ends in a row cost clearly more than nearer ones, with the least cost of what follows, no further are tried."""
        to_go = np.full(len(cuts.at), math.inf)
        to_go[-1] = 0.0
        table: list[Segments] = []
        for at in reversed(range(len(cuts.at) - 1)):
            ends = cuts.at[at + 1 : at + 1 + cuts.ahead]
            found: list[Segments] = []
            for k in range(0, len(ends), ENDS_TOGETHER):
                part = self._runs(problem, order, cuts.at[at], ends[k : k + ENDS_TOGETHER], cuts.timed)
                found.append(part)
                cost = next(segment_costs(problem.objective, [part], self._scale))[:, IN_LLB, IN_LLB]
                least = (cost + to_go[np.searchsorted(cuts.at, part.choices[:, 1])]).min(initial=math.inf)
                if least > HOPELESS * to_go[at]:
                    break
                to_go[at] = min(to_go[at], least)
            table.append(joined(found))
        return table[::-1]

    def _runs(self, problem: Problem, order: Order, first: int, stops: list[int], most: int) -> Segments:
        """What there is for the runs of an order from a layer on."""
        runs = [order[first:stop] for stop in stops]
        new = [stop for stop, run in zip(stops, runs, strict=True) if run not in self._known]
        if runs[0] in self._known and not len(self._known[runs[0]].choices):
            new = [stops[0], *new]  # it did not come first before
        if new:
            found = timed_runs(problem, first, np.array(new, np.int64), most)
            for stop in new:
                mine = np.flatnonzero(found.choices[:, 1] == stop)
                own = Segments._make(figures[mine] for figures in found)
                self._known[order[first:stop]] = own._replace(choices=_moved(own.choices, -first))
        known = joined([self._known[run] for run in runs])
        return known._replace(choices=_moved(known.choices, first))


def joined(parts: list[Segments]) -> Segments:
    """Segments of several kinds together."""
    return Segments(*(np.concatenate(figures) for figures in zip(*parts, strict=True)))


def cuts_on(problem: Problem) -> Cuts:
    """The cuts of `dp`; of many only few, and more only where no kernel is as long as between two; to few come those
    that the fewest bytes cross in each window of layers."""
    cuts, layers = cut_points(problem), problem.space.layers
    if len(cuts) < FEW_CUTS:
        cuts = sorted({*cuts, *_narrowest(problem, range(1, layers))})
    if len(cuts) <= MANY_CUTS:
        return Cuts(cuts, MOST_AHEAD, EVERY)
    best = _narrowest(problem, cuts[1:-1])
    whole = Defaults(problem.space)
    found = [0]
    for first, stop in pairwise([0, *best, cuts[-1]]):
        found += [stop] if whole.choice(first, stop) is not None else [c for c in cuts if first < c <= stop]
    return Cuts(found, FEW_AHEAD, FEW_TIMED)


def _narrowest(problem: Problem, cuts: Sequence[int]) -> list[int]:
    """About FEW_CUTS of these cuts: of each window of neighbours the one that the fewest bytes cross."""
    crossing, window = problem.space.border_bytes, -(-(len(cuts) + 2) // FEW_CUTS)
    return [min(cuts[k : k + window], key=lambda cut: crossing[cut]) for k in range(0, len(cuts), window)]


def as_in_dp(problem: Problem) -> bool:
    """Whether an order's cuts, and what is timed between them, are those of `dp`."""
    return cuts_on(problem) == Cuts(cut_points(problem), MOST_AHEAD, EVERY)


def _moved(choices: Ints, layers: int) -> Ints:
    """Choices of runs so many layers further on."""
    moved = choices.copy()
    moved[:, :2] += layers
    return moved
