"""`dp_orders`: the order of layers as a decision; `dp` on several topological orders, the best of all.

Orders by rule (`scheduling.layer_order`): the file's, breadth first, depth first, list scheduling that keeps few bytes
live, or few bytes live and both engines busy; and the one of least peak memory (`least_memory`). On networks with
branches the order decides which layers can share a kernel, and what they take of L1 together.

`dp` on the file's order goes first and gets the budget but for a few schedules: with what `dp` needs and these, the
result is never worse than `dp`'s. Then the cheapest chain of runs on each order is simulated
(`scheduling.chains.order_costs`), and the orders with the best schedules by then go on with all estimates of `dp`.
"""

from __future__ import annotations

import numpy as np

from scheduling.candidates.estimate import Estimate
from scheduling.candidates.space import PIECES, survey
from scheduling.chains.best import RULES, schedules_of
from scheduling.chains.chain_search import ChainSearch, Priced, advance_together
from scheduling.chains.offered import candidates, cut_points
from scheduling.chains.order_costs import OrderCosts, as_in_dp
from scheduling.choice import CHOICE_FIELDS, Choice
from scheduling.evaluator import Evaluation
from scheduling.layer_order import Order, balanced, rule_orders
from scheduling.problem import Problem, simulated_cost
from scheduling.rules import Rules
from scheduling.strategies.graphturbo import graphturbo
from scheduling.strategies.least_memory import least_memory_order

REFINED = 2
"""Orders that get all estimates of `dp`, beside the file's."""

SET_ASIDE = 2 * len(RULES)
"""Schedules that `dp` on the file's order leaves to the best others, besides one for each of them."""

MATRIX, VECTOR = (CHOICE_FIELDS + Estimate._fields.index(name) for name in ("matrix", "vector"))


def dp_orders(problem: Problem) -> tuple[Order, tuple[Choice, ...], Rules]:
    """Dynamic programming on several orders of layers by rule; the best of all."""
    evaluator = problem.evaluator
    last = evaluator.evaluations + problem.budget
    state = graphturbo(problem)
    file = tuple(range(problem.space.layers))
    best = Priced(simulated_cost(problem, *state), file, state)
    if evaluator.evaluations < last:
        scale = evaluator.evaluate(*state)
        searches = orders_by_rule(problem, OrderCosts(problem, scale), scale, best, last)
        best = min(search.best for search in searches)
    return () if best.order == file else best.order, *best.state


def orders_by_rule(
    problem: Problem, costs: OrderCosts, scale: Evaluation, given: Priced, last: int
) -> list[ChainSearch]:
    """`dp` on the file's order, from a schedule on it, and the best of the other orders by rule: as far as they come
    before so many schedules were simulated. `scale` as in `OrderCosts`."""
    evaluator = problem.evaluator
    searches = [ChainSearch(problem, given, schedules_of(problem, cut_points, candidates, scale))]
    orders = [order for order in orders_of(problem) if order or not as_in_dp(problem)]
    left = last - evaluator.evaluations
    aside = len(orders) + SET_ASIDE if orders else 0
    searches[0].advance(max(left - aside, left // 2))
    priced = [costs.cheapest(order or given.order) for order in orders[: last - evaluator.evaluations]]
    searches += [costs.search(one) for one in sorted(priced)[:REFINED]]
    advance_together(searches, last - evaluator.evaluations)
    return searches


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
