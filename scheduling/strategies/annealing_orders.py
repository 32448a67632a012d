"""`annealing_orders`: simulated annealing over the order of layers, with dynamic programming inside.

Two moves: a layer is shifted within its slack (behind what it reads, before what reads it), or two neighbouring
blocks of layers change places. An order costs what the cheapest chain of runs on it does when it is simulated
(`scheduling.chains.order_costs`). It starts from the best order by rule. The best order then gets all estimates of
`dp`; with `graphturbo` on the file's order beside it, what is left of the budget anneals cuts, splits and rules on the
better one.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from graph.network import Network
from scheduling.chains.order_costs import OrderCosts, Priced
from scheduling.choice import Choice
from scheduling.layer_order import Order, producers_of
from scheduling.problem import Problem, simulated_cost
from scheduling.rules import Rules
from scheduling.strategies.annealing import anneal
from scheduling.strategies.dp_orders import orders_of
from scheduling.strategies.graphturbo import graphturbo

WALKED = 0.5
"""Share of the budget that the walk over orders may simulate."""

ESTIMATED = 0.25
"""Share of the budget for `dp` on the best order."""

MOVES_EACH = 8
"""Moves that are tried, per schedule that the walk may simulate: not every one is possible or changes a schedule."""

HOT, COLD = 0.02, 0.0005
"""First and last temperature, in differences of log cost."""

LONGEST_BLOCK = 16
"""Layers of a block that changes places with its neighbour."""


def annealing_orders(problem: Problem) -> tuple[Order, tuple[Choice, ...], Rules]:
    """Simulated annealing over the order of layers, with dynamic programming inside."""
    evaluator = problem.evaluator
    last = evaluator.evaluations + problem.budget
    state = graphturbo(problem)
    file = tuple(range(problem.space.layers))
    best = Priced(simulated_cost(problem, *state), file, state)
    walked = int(WALKED * problem.budget)
    if evaluator.evaluations + walked < last:
        costs = OrderCosts(problem, evaluator.evaluate(*state))
        met = walk_orders(problem, costs, evaluator.evaluations + walked)
        budget = min(int(ESTIMATED * problem.budget), last - evaluator.evaluations)
        best = min(best, costs.best(met, budget))
    order, state = () if best.order == file else best.order, best.state
    if evaluator.evaluations < last:
        part = problem.reordered(order)
        state = anneal(replace(part, budget=last - evaluator.evaluations), state)
    return order, *state


def walk_orders(problem: Problem, costs: OrderCosts, last: int) -> Priced:
    """The best order that a walk meets before so many schedules were simulated, from the best one by rule on."""
    evaluator = problem.evaluator
    random = np.random.default_rng(problem.seed)
    file = tuple(range(problem.space.layers))
    best = Priced(math.inf, file, ((), Rules()))
    for order in orders_of(problem):
        if evaluator.evaluations < last:
            best = min(best, costs.cheapest(order or file))
    moves, now, first = Moves(evaluator.network), best, evaluator.evaluations
    for _ in range(MOVES_EACH * (last - first)):
        done = (evaluator.evaluations - first) / max(1, last - first)
        if done >= 1.0:
            break
        changed = moves.changed(now.order, random)
        if changed is None:
            continue
        new = costs.cheapest(changed)
        temperature = HOT * (COLD / HOT) ** done
        if new.cost <= now.cost or random.random() < math.exp(math.log(now.cost / new.cost) / temperature):
            now = new
            best = min(best, now)
    return best


class Moves:
    """Random changes of an order of one network's layers, to another one in which layers come behind what they read."""

    def __init__(self, network: Network) -> None:
        self._producers = producers_of(network)
        self._consumers: list[list[int]] = [[] for _ in self._producers]
        for layer, producers in enumerate(self._producers):
            for source in producers:
                self._consumers[source].append(layer)

    def changed(self, order: Order, random: np.random.Generator) -> Order | None:
        """A shifted layer or two exchanged blocks; None where that is not possible where luck wanted it."""
        return self.shifted(order, random) if random.random() < 0.5 else self.exchanged(order, random)

    def shifted(self, order: Order, random: np.random.Generator) -> Order | None:
        """A layer somewhere else within its slack; None where it has none."""
        at = int(random.integers(len(order)))
        place = {layer: position for position, layer in enumerate(order)}
        layer = order[at]
        low = max((place[source] + 1 for source in self._producers[layer]), default=0)
        high = min((place[user] - 1 for user in self._consumers[layer]), default=len(order) - 1)
        if low == high:
            return None
        to = int(random.integers(low, high))
        rest = order[:at] + order[at + 1 :]
        to += to >= at
        return (*rest[:to], layer, *rest[to:])

    def exchanged(self, order: Order, random: np.random.Generator) -> Order | None:
        """Two neighbouring blocks the other way round; None where the second reads of the first."""
        if len(order) < 2:
            return None
        middle = int(random.integers(1, len(order)))
        first = max(0, middle - int(random.integers(1, LONGEST_BLOCK + 1)))
        stop = min(len(order), middle + int(random.integers(1, LONGEST_BLOCK + 1)))
        before = set(order[first:middle])
        if any(source in before for layer in order[middle:stop] for source in self._producers[layer]):
            return None
        return (*order[:first], *order[middle:stop], *order[first:middle], *order[stop:])
