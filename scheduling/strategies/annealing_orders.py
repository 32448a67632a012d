"""`annealing_orders`: simulated annealing over the order of layers, with dynamic programming inside.

Two moves: a layer is shifted within its slack (behind what it reads, before what reads it), or two neighbouring
blocks of layers change places. An order costs what `order_estimate` says, so nothing is simulated on the way. It
starts from the two rule-made orders with the least such cost. The best of these and of what was found then get a `dp`
each; with `graphturbo` on the file's order beside them, what is left of the budget anneals cuts, splits and rules on
the best. On irregular networks a hundred orders by rule leave several per cent, which no search on one of them
recovers.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from graph.network import Network
from scheduling.choice import Choice
from scheduling.layer_order import Order, producers_of
from scheduling.problem import Problem, simulated_cost
from scheduling.rules import Rules
from scheduling.strategies.annealing import anneal
from scheduling.strategies.dp import dp
from scheduling.strategies.dp_orders import orders_of
from scheduling.strategies.graphturbo import graphturbo
from scheduling.strategies.order_estimate import OrderTable, order_cost, order_table

STARTS = 2
"""Rule-made orders that are annealed."""

MOVES_EACH = 20
"""Orders that are looked at, per schedule of the budget and start."""

PRICED = 3
"""Orders on which `dp` runs."""

LEAST_EACH = 20
"""Fewer schedules of the budget than this are not worth another order."""

HOT, COLD = 0.01, 0.0001
"""First and last temperature, in differences of log cost."""

LONGEST_BLOCK = 16
"""Layers of a block that changes places with its neighbour."""


def annealing_orders(problem: Problem) -> tuple[Order, tuple[Choice, ...], Rules]:
    """`dp` and `annealing` on the orders of layers that annealing by estimates finds the most promising.

    Never worse than `graphturbo` on the file's order.
    """
    last = problem.evaluator.evaluations + problem.budget
    state = graphturbo(problem)
    orders = promising_orders(problem)[: max(1, min(PRICED, problem.budget // LEAST_EACH))]
    share = (problem.budget - 1) // (len(orders) + 1)
    if share < 2:
        return (), *state
    found: list[tuple[float, Order, Problem, tuple[tuple[Choice, ...], Rules]]]
    found = [(simulated_cost(problem, *state), (), problem, state)]
    for order in orders:
        part = replace(problem.reordered(order), budget=share - 1)
        state = dp(part)
        found.append((simulated_cost(part, *state), order, part, state))
    _, order, part, state = min(found, key=lambda one: one[0])
    choices, rules = anneal(replace(part, budget=last - problem.evaluator.evaluations), state)
    return order, choices, rules


def promising_orders(problem: Problem) -> list[Order]:
    """Orders by rule and what annealing makes of the best of them, the least estimate first."""
    figures = order_table(problem)
    random = np.random.default_rng(problem.seed)
    file = tuple(range(problem.space.layers))
    found = sorted((order_cost(figures, np.array(order or file)), order) for order in orders_of(problem))
    walk = Walk(problem.evaluator.network, figures)
    found += [walk.anneal(order or file, random, MOVES_EACH * problem.budget) for _, order in found[:STARTS]]
    return list(dict.fromkeys(() if order == file else order for _, order in sorted(found)))


class Walk:
    """Annealing over the orders of one network."""

    def __init__(self, network: Network, figures: OrderTable) -> None:
        self._figures = figures
        self._producers = producers_of(network)
        self._consumers: list[list[int]] = [[] for _ in self._producers]
        for layer, producers in enumerate(self._producers):
            for source in producers:
                self._consumers[source].append(layer)

    def anneal(self, start: Order, random: np.random.Generator, moves: int) -> tuple[float, Order]:
        """The least estimate met from an order on, and its order."""
        order = list(start)
        least = order_cost(self._figures, np.array(order))
        cost, best = math.log(least), start
        for step in range(moves):
            temperature = HOT * (COLD / HOT) ** (step / moves)
            changed = self.shifted(order, random) if random.random() < 0.5 else self.exchanged(order, random)
            if changed is None:
                continue
            estimate = order_cost(self._figures, np.array(changed))
            new = math.log(estimate)
            if new <= cost or random.random() < math.exp((cost - new) / temperature):
                order, cost = changed, new
                if estimate < least:
                    least, best = estimate, tuple(order)
        return least, best

    def shifted(self, order: list[int], random: np.random.Generator) -> list[int] | None:
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
        return [*rest[:to], layer, *rest[to:]]

    def exchanged(self, order: list[int], random: np.random.Generator) -> list[int] | None:
        """Two neighbouring blocks the other way round; None where the second reads of the first."""
        if len(order) < 2:
            return None
        middle = int(random.integers(1, len(order)))
        first = max(0, middle - int(random.integers(1, LONGEST_BLOCK + 1)))
        stop = min(len(order), middle + int(random.integers(1, LONGEST_BLOCK + 1)))
        before = set(order[first:middle])
        if any(source in before for layer in order[middle:stop] for source in self._producers[layer]):
            return None
        return [*order[:first], *order[middle:stop], *order[first:middle], *order[stop:]]
