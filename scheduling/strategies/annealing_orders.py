"""`annealing_orders`: simulated annealing over the order of layers, with dynamic programming inside.

It starts where `dp_orders` ends, within a share of the budget. Three moves: a layer is shifted within its slack (behind
what it reads, before what reads it); two neighbouring blocks of layers change places; a window of layers is written
anew. An order costs what the cheapest chain of runs on it does when it is simulated (`scheduling.chains.order_costs`).
The best orders then get more estimates of `dp`, and what is left of the budget anneals cuts, splits and rules on the
best.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from graph.network import Network
from scheduling.chains.chain_search import Priced, advance_together
from scheduling.chains.order_costs import OrderCosts
from scheduling.choice import Choice
from scheduling.layer_order import Order, producers_of
from scheduling.problem import Problem, simulated_cost
from scheduling.rules import Rules
from scheduling.strategies.annealing import anneal
from scheduling.strategies.dp_orders import orders_by_rule
from scheduling.strategies.graphturbo import graphturbo

RULED, MOST_RULED = 0.5, 120
"""Share of the budget that orders by rule get, and the most schedules that are worth it."""

WALKED = 0.6
"""Share of the rest that the walk over orders may simulate."""

FAR = 1.05
"""Where the best schedule on the orders by rule is so many times as dear as that of `dp` on the file's order, no orders
are walked: what makes that one good is not among the cuts by which orders are compared."""

ESTIMATED = 30
"""Most schedules for `dp` on the order that the walk found and on those by rule."""

MOVES_EACH = 8
"""Moves that are tried, per schedule that the walk may simulate: not every one is possible or changes a schedule."""

SHIFTED_EXCHANGED_REWRITTEN = (0.25, 0.25, 0.5)
"""How often each kind of move is drawn."""

LONGEST_WINDOW = 32
"""Layers of a window that is rewritten."""

HOT, COLD = 0.005, 0.0001
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
    if evaluator.evaluations < last:
        scale = evaluator.evaluate(*state)
        costs = OrderCosts(problem, scale)
        ruled = min(int(RULED * (last - evaluator.evaluations)), MOST_RULED)
        searches = orders_by_rule(problem, costs, scale, best, evaluator.evaluations + ruled)
        best = min(search.best for search in searches)
        walked = int(WALKED * (last - evaluator.evaluations))
        others = [search.best.cost for search in searches[1:]]
        if walked and min(others, default=best.cost) <= FAR * best.cost:
            start = costs.cheapest(best.order)
            met = walk(problem, costs, start, evaluator.evaluations + walked)
            searches.append(costs.search(met))
        advance_together(searches, min(ESTIMATED, last - evaluator.evaluations))
        best = min(search.best for search in searches)
    order, state = () if best.order == file else best.order, best.state
    if evaluator.evaluations < last:
        part = problem.reordered(order)
        state = anneal(replace(part, budget=last - evaluator.evaluations), state)
    return order, *state


def walk(problem: Problem, costs: OrderCosts, start: Priced, last: int) -> Priced:
    """The best order that is met, from one with its cheapest chain on, before so many schedules were simulated."""
    evaluator = problem.evaluator
    random = np.random.default_rng(problem.seed)
    moves, first = Moves(evaluator.network), evaluator.evaluations
    best = now = start
    for _ in range(MOVES_EACH * (last - first)):
        done = (evaluator.evaluations - first) / (last - first)
        if done >= 1.0:
            break
        changed = moves.changed(now.order, random)
        if changed is None:
            continue
        new = costs.cheapest(changed)
        if new.cost == math.inf:
            continue
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
        """A shifted layer, two exchanged blocks or a rewritten window; None where that changes nothing or is not
        possible where luck wanted it."""
        kind = random.choice(3, p=SHIFTED_EXCHANGED_REWRITTEN)
        return (self.shifted, self.exchanged, self.rewritten)[kind](order, random)

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

    def rewritten(self, order: Order, random: np.random.Generator) -> Order | None:
        """A window of layers in another order, depth first from its ready layers and drawn among those; None where it
        has no other one or luck finds none."""
        length = int(random.integers(3, LONGEST_WINDOW + 1))
        first = int(random.integers(0, max(1, len(order) - length + 1)))
        window = order[first : first + length]
        inside = set(window)
        missing = {layer: sum(source in inside for source in self._producers[layer]) for layer in window}
        stack = [layer for layer in window if not missing[layer]]
        random.shuffle(stack)
        found = []
        while stack:
            layer = stack.pop()
            found.append(layer)
            ready = []
            for user in self._consumers[layer]:
                if user in missing:
                    missing[user] -= 1
                    if not missing[user]:
                        ready.append(user)
            random.shuffle(ready)
            stack += ready
        return (*order[:first], *found, *order[first + length :]) if tuple(found) != window else None
