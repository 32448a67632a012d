"""`least_memory`: the order of layers whose live tensors take the fewest bytes at their peak, then `dp` on it.

The order is exact where the search ends within its states (`scheduling.exact.memory`; Morpheus, Serenity: MLSys'20),
else the best that it met. It keeps most on chip, which is not always what is fastest.
"""

from __future__ import annotations

from scheduling.choice import Choice
from scheduling.exact.memory import least_memory as least_memory_order
from scheduling.exact.operator_graph import operator_graph
from scheduling.layer_order import Order
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.strategies.dp import dp

STATES = 200_000
"""Sets of layers that the search may look at."""


def least_memory(problem: Problem) -> tuple[Order, tuple[Choice, ...], Rules]:
    """`dp` on the order of layers of least peak memory; the file's where that is one."""
    evaluator = problem.evaluator
    network = evaluator.network
    order = least_memory_order(operator_graph(network, evaluator.machine.element_bytes), STATES).order
    if tuple(order) == tuple(range(len(network.layers))):
        order = ()
    choices, rules = dp(problem.reordered(tuple(order)))
    return tuple(order), choices, rules
