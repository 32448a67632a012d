"""`least_memory`: the order of layers whose live tensors take the fewest bytes at their peak, and the best chain on it.

The order is exact where the search ends within its states (`scheduling.exact.memory`; Morpheus, Serenity: MLSys'20),
else the best that it met. It keeps most on chip, which is not always what is fastest. Chains are those of `dp`, on
large networks between fewer cuts (`scheduling.chains.order_costs`).
"""

from __future__ import annotations

from scheduling.chains.chain_search import Priced
from scheduling.chains.order_costs import OrderCosts
from scheduling.choice import Choice
from scheduling.exact.memory import least_memory as search_orders
from scheduling.exact.operator_graph import operator_graph
from scheduling.layer_order import Order
from scheduling.problem import Problem, simulated_cost
from scheduling.rules import Rules
from scheduling.strategies.graphturbo import graphturbo

STATES = 200_000
"""Sets of layers that the search may look at."""


def least_memory_order(problem: Problem) -> Order:
    """The order of least peak memory that the search finds."""
    evaluator = problem.evaluator
    graph = operator_graph(evaluator.network, evaluator.machine.element_bytes)
    return tuple(search_orders(graph, STATES).order)


def least_memory(problem: Problem) -> tuple[Order, tuple[Choice, ...], Rules]:
    """`dp` on the order of layers of least peak memory; the file's where that is one."""
    file = tuple(range(problem.space.layers))
    order = least_memory_order(problem)
    part = problem.reordered(() if order == file else order)
    state = graphturbo(part)
    found = Priced(simulated_cost(part, *state), order, state)
    if problem.budget > 1:
        costs = OrderCosts(problem, part.evaluator.evaluate(*state))
        search = costs.search(found)
        search.advance(problem.budget - 2)
        found = search.best
    choices, rules = found.state
    return () if order == file else order, choices, rules
