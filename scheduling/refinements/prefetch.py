"""`prefetch`: how many kernels ahead weights are loaded, in which order instances run, and whether weights stay, tried
on a schedule that is otherwise decided."""

from __future__ import annotations

from dataclasses import replace

from scheduling.choice import Choice
from scheduling.problem import Problem, State, simulated_cost
from scheduling.rules import Rules
from scheduling.timeline.arrangement import WEIGHTS_RELOADED, WEIGHTS_RESIDENT
from scheduling.timeline.instance_order import BREADTH_FIRST, DEPTH_FIRST

PREFETCH = (0, 1, 2, 3)
"""How many kernels ahead weights may be loaded."""

WORTH = 16
"""Budgets below this are too small to set schedules aside for prefetch distances."""


def set_aside(budget: int) -> int:
    """How many schedules of a budget `best_prefetch` may simulate."""
    return len(PREFETCH) if budget >= WORTH else 0


def best_prefetch(problem: Problem, choices: tuple[Choice, ...], rules: Rules, budget: int) -> State:
    """The same schedule with the prefetch distance that simulates best; nothing is tried within a budget of 0."""
    tried = [rules, *_distances(rules)]
    if budget < len(tried):
        return choices, rules
    return choices, min(tried, key=lambda other: simulated_cost(problem, choices, other))


def with_prefetch(problem: Problem, state: State) -> State:
    """The same sub-graphs by the rules that simulate cheapest: prefetch distance, then order of instances, then whether
    weights stay, each with what was best before. A packed schedule keeps its order."""
    choices, best = state
    last = problem.evaluator.evaluations + problem.budget
    least = simulated_cost(problem, choices, best)
    for others in (_distances, _orders, _weights):
        for changed in others(best):
            if problem.evaluator.evaluations >= last:
                break
            cost = simulated_cost(problem, choices, changed)
            if cost < least:
                best, least = changed, cost
    return choices, best


def _distances(rules: Rules) -> list[Rules]:
    return [replace(rules, prefetch=ahead) for ahead in PREFETCH if ahead != rules.prefetch]


def _orders(rules: Rules) -> list[Rules]:
    if rules.packing is not None:
        return []
    return [replace(rules, order=BREADTH_FIRST if rules.order == DEPTH_FIRST else DEPTH_FIRST)]


def _weights(rules: Rules) -> list[Rules]:
    stay = rules.weights == WEIGHTS_RESIDENT
    return [replace(rules, weights=WEIGHTS_RELOADED if stay else WEIGHTS_RESIDENT)]
