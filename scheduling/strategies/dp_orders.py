"""`dp_orders`: the order of layers as a decision; `dp` on several topological orders, the best of all.

Orders by rule (`scheduling.layer_order`): the file's, breadth first, depth first, list scheduling that keeps few bytes
live, or few bytes live and both engines busy; and the one of least peak memory (`least_memory`). On networks with
branches the order decides which layers can share a kernel, and what they take of L1 together. On each order the
cheapest chain of runs is simulated (`scheduling.chains.order_costs`); then the best orders get all estimates of `dp`.
"""

from __future__ import annotations

import numpy as np

from scheduling.candidates.estimate import Estimate
from scheduling.candidates.space import PIECES, survey
from scheduling.chains.order_costs import OrderCosts, Priced
from scheduling.choice import CHOICE_FIELDS, Choice
from scheduling.layer_order import Order, balanced, rule_orders
from scheduling.problem import Problem, simulated_cost
from scheduling.rules import Rules
from scheduling.strategies.graphturbo import graphturbo
from scheduling.strategies.least_memory import least_memory_order

REFINED = 2
"""Orders that get all estimates of `dp`."""

MATRIX, VECTOR = (CHOICE_FIELDS + Estimate._fields.index(name) for name in ("matrix", "vector"))


def dp_orders(problem: Problem) -> tuple[Order, tuple[Choice, ...], Rules]:
    """Dynamic programming on several orders of layers by rule; the best of all."""
    evaluator = problem.evaluator
    last = evaluator.evaluations + problem.budget
    state = graphturbo(problem)
    file = tuple(range(problem.space.layers))
    found = [Priced(simulated_cost(problem, *state), file, state)]
    if evaluator.evaluations < last:
        costs = OrderCosts(problem, evaluator.evaluate(*state))
        found += orders_by_rule(problem, costs, last)
    _, order, (choices, rules) = min(found)
    return () if order == file else order, choices, rules


def orders_by_rule(problem: Problem, costs: OrderCosts, last: int) -> list[Priced]:
    """Schedules on the orders by rule, on the best of them also by all estimates of `dp`, as far as can be told before
    so many schedules were simulated."""
    evaluator = problem.evaluator
    file = tuple(range(problem.space.layers))
    found = []
    for order in orders_of(problem):
        if evaluator.evaluations < last:
            found.append(costs.cheapest(order or file))
    ranked = sorted(found)[:REFINED]
    for number, one in enumerate(ranked):
        found.append(costs.best(one, (last - evaluator.evaluations) // (len(ranked) - number)))
    return found


def orders_of(problem: Problem) -> list[Order]:
    """All distinct orders by rule, the file's first."""
    network = problem.evaluator.network
    file = tuple(range(problem.space.layers))
    found = [*rule_orders(network), balanced(network, *engine_cycles(problem)), least_memory_order(problem)]
    return list(dict.fromkeys(() if order == file else order for order in found))


def engine_cycles(problem: Problem) -> tuple[list[float], list[float]]:
    """Estimated cycles of the matrix and of the vector engine for each layer by itself."""
    evaluator, space = problem.evaluator, problem.space
    cycles = np.empty((2, space.layers))
    for layer in range(space.layers):
        stop = np.array([layer + 1], np.int64)
        rows = survey(evaluator.table, evaluator.machine_table, layer, stop, space.splits, PIECES, 1)
        if not len(rows):
            rows = space.all(layer)
            rows = rows[rows[:, 1] == layer + 1]
        cycles[:, layer] = rows[np.argmin(rows[:, [MATRIX, VECTOR]].max(axis=1))][[MATRIX, VECTOR]]
    return cycles[0].tolist(), cycles[1].tolist()
