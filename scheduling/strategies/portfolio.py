"""`portfolio`: the best of all within one budget.

First strategies that begin in different ways, each with its share of the budget: `dp_orders`, whose order of the layers
all others take over; heuristics, which cost one simulated schedule each, the best ones first; on machines that run
kernels side by side `rammer`; then searches. Then what they found is made better: sub-graphs of all schedules that were
simulated on the way are put together (`scheduling.refinements.splice`), the best schedules are refined by all
refinements, all is put together again, and the best refined once more. Last `annealing` with the rest, from the best
schedule so far that is not packed.

Where kernels run side by side, what a chain of sub-graphs costs with a launch for each says little of what it is worth
as one program. So there few heuristics are tried and long searches get less, the best chain may be refined with all
that is left, and what is refined once more is the best program.

Shares are of what is left: what one part does not use goes to those behind it. Never worse than any part with the share
that it got, but a part with the whole budget may find more. Left out: `random`, which is long before it is good,
`lookahead`, which is close to a narrow `beam`, and exact strategies and walks over orders of the layers.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from scheduling.choice import Choice
from scheduling.layer_order import Order
from scheduling.problem import Decide, Problem, Refine, Simulated, State, simulated_cost
from scheduling.refinements import refined, weights
from scheduling.refinements.splice import spliced
from scheduling.rules import Rules
from scheduling.strategies.annealing import anneal
from scheduling.strategies.beam import beam
from scheduling.strategies.depth_first import depth_first
from scheduling.strategies.dp_orders import dp_orders
from scheduling.strategies.genetic import genetic
from scheduling.strategies.graphturbo import (
    graphturbo,
    graphturbo_bfs,
    graphturbo_bfs_plain,
    graphturbo_dfs_plain,
)
from scheduling.strategies.l1_first import l1_first
from scheduling.strategies.layerwise import layerwise
from scheduling.strategies.llb_first import llb_first
from scheduling.strategies.rammer import rammer
from scheduling.strategies.stitch import stitch

HEURISTICS: tuple[Decide, ...] = (
    graphturbo,
    llb_first,
    l1_first,
    stitch,
    graphturbo_bfs,
    graphturbo_dfs_plain,
    graphturbo_bfs_plain,
    layerwise,
)


class Shares(NamedTuple):
    """What parts of a budget get: all but heuristics a share of what is left then."""

    orders: float
    """For `dp_orders`."""
    heuristics: int
    """One of so many schedules of the whole budget is a heuristic's."""
    searches: tuple[tuple[Decide, float], ...]
    splice: float
    refined: tuple[float, ...]
    """For the best schedules by then that are not packed, one after the other."""
    again: float
    """For the best one of all by then."""


ONE_BY_ONE = Shares(0.2, 20, ((depth_first, 0.3), (beam, 0.1), (genetic, 0.1)), 0.1, (0.7, 0.5, 0.4), 0.5)
SIDE_BY_SIDE = Shares(0.3, 60, ((beam, 0.1), (depth_first, 0.1), (genetic, 0.1)), 0.05, (1.0, 1.0, 1.0), 1.0)
"""Where kernels run side by side; before the searches comes `rammer`."""

LEAST = 10
"""Searches and refinements for which there are fewer schedules than this are left out."""

MOST_SPLICED = 12
"""Of the schedules that were simulated on the way, how many give their sub-graphs: the cheapest."""


def portfolio(problem: Problem) -> tuple[Order, tuple[Choice, ...], Rules]:
    """An order of the layers, heuristics, searches, refinements, `annealing` and parts put together in one budget."""
    machine = problem.evaluator.machine
    side_by_side = machine.concurrent_kernels
    shares = SIDE_BY_SIDE if side_by_side else ONE_BY_ONE
    fitting = tuple(weights(machine))

    def all_refinements(part: Problem, state: State) -> State:
        return refined(part, state, fitting)

    work = _Portfolio(problem)
    order = work.arrange(shares.orders)
    for heuristic in HEURISTICS[: max(1, problem.budget // shares.heuristics)]:
        work.take(heuristic, 0.0)
    if side_by_side:
        work.take(rammer, 0.1)
    for search, share in shares.searches:
        work.take(search, share, LEAST)
    work.splice(shares.splice)
    for state, share in zip(work.chains(), shares.refined, strict=False):
        work.improve(all_refinements, state, share, LEAST)
    work.splice(shares.splice)
    for state in [work.best()] if side_by_side else work.chains()[:1]:
        work.improve(all_refinements, state, shares.again, LEAST)
    for state in work.chains()[:1]:
        work.improve(anneal, state, 1.0, 2)
    return order, *work.best()


class _Portfolio:
    """What parts found, and what is left of the budget."""

    def __init__(self, problem: Problem) -> None:
        self._log = [] if problem.log is None else problem.log
        self._before = len(self._log)
        self._problem = replace(problem, log=self._log)
        self._last = problem.evaluator.evaluations + problem.budget
        self._found: dict[State, float] = {}

    def best(self) -> State:
        """The cheapest that any part ended with."""
        return min(self._found, key=self._found.__getitem__)

    def chains(self) -> list[State]:
        """What parts ended with that fits and packs nothing side by side, and so can be changed; the cheapest first."""
        found = [state for state, cost in self._found.items() if state[1].packing is None and cost < math.inf]
        return sorted(found, key=self._found.__getitem__)

    def arrange(self, share: float) -> Order:
        """Run `dp_orders` with a share of the budget; the order of layers that it finds, on which all goes on."""
        budget = max(1, int(share * self._left()))
        order, choices, rules = dp_orders(replace(self._problem, budget=budget))
        self._problem = self._problem.reordered(order)
        self._judge((choices, rules))
        return order

    def take(self, strategy: Decide, share: float, least: int = 1) -> None:
        """Run a strategy with a share of what is left, unless that is less than `least` schedules; one is always needed
        to simulate what it gives."""
        left = self._left()
        budget = max(1, int(share * left))
        if left > 0 and budget >= least:
            self._judge(strategy(replace(self._problem, budget=budget)))

    def improve(self, refine: Refine, state: State, share: float, least: int) -> None:
        """Run a refinement with a share of what is left, unless that is less than `least` schedules."""
        budget = int(share * self._left())
        if budget >= least:
            self._judge(refine(replace(self._problem, budget=budget), state))

    def splice(self, share: float) -> None:
        """Put together what all parts ended with and the cheapest schedules that they simulated on the way."""
        budget = int(share * self._left())
        if budget > 0:
            notes = sorted(self._notes(), key=lambda note: note.cost)
            cheapest = dict.fromkeys(note.state for note in notes)
            cost = {note.state: note.cost for note in notes}
            found = {state: cost[state] for state in list(cheapest)[:MOST_SPLICED]} | self._found
            self._judge(spliced(replace(self._problem, budget=budget), found))

    def _notes(self) -> list[Simulated]:
        """What parts simulated on the order that was found."""
        mine = self._problem.layer_order
        return [note for note in self._log[self._before :] if note.layer_order == mine]

    def _left(self) -> int:
        return self._last - self._problem.evaluator.evaluations

    def _judge(self, state: State) -> None:
        known = {note.state: note.cost for note in self._notes()}
        if state not in known and self._left() > 0:
            known[state] = simulated_cost(self._problem, *state)
        if state in known:
            self._found[state] = known[state]
