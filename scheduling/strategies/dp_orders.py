"""`dp_orders`: the order of layers as a decision; `dp` on several topological orders, the best of all.

Orders by rule (`scheduling.layer_order`): the file's, breadth first, depth first, and list scheduling that keeps few
bytes live, or few bytes live and both engines busy. On networks with branches the order decides which layers can share
a kernel.
"""

from __future__ import annotations

from dataclasses import replace

from scheduling.choice import Choice
from scheduling.layer_order import Order, balanced, rule_orders
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.strategies.dp import dp
from scheduling.strategies.order_estimate import order_table

LEAST_EACH = 2
"""Schedules of the budget that an order takes: one of `dp`, and its best once more to compare the orders."""


def dp_orders(problem: Problem) -> tuple[Order, tuple[Choice, ...], Rules]:
    """`dp` on several orders of the layers, as many as the budget allows; the best of all."""
    orders = orders_of(problem)[: max(1, problem.budget // LEAST_EACH)]
    if len(orders) == 1:
        return (), *dp(problem)
    share = problem.budget // len(orders)
    found = []
    for order in orders:
        part = replace(problem.reordered(order), budget=share - 1)
        choices, rules = dp(part)
        found.append((part.cost(choices, rules), order, choices, rules))
    _, order, choices, rules = min(found, key=lambda item: item[0])
    return order, choices, rules


def orders_of(problem: Problem) -> list[Order]:
    """All distinct orders by rule, the file's first."""
    network = problem.evaluator.network
    figures = order_table(problem)
    own = balanced(network, figures.matrix[0].tolist(), figures.vector[0].tolist())
    return list(dict.fromkeys([*rule_orders(network), () if own == tuple(range(len(own))) else own]))
