"""Prefetch distance: how many kernels ahead weights may be loaded, tried on a schedule that is otherwise decided."""

from __future__ import annotations

from dataclasses import replace

from scheduling.choice import Choice
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.strategies.moves import PREFETCH, State
from scheduling.strategies.options import simulated_cost

WORTH = 16
"""Budgets below this are too small to set schedules aside for prefetch distances."""


def set_aside(budget: int) -> int:
    """How many schedules of a budget `best_prefetch` may simulate."""
    return len(PREFETCH) if budget >= WORTH else 0


def best_prefetch(problem: Problem, choices: tuple[Choice, ...], rules: Rules, budget: int) -> State:
    """The same schedule with the prefetch distance that simulates best; nothing is tried within a budget of 0."""
    tried = [rules, *(replace(rules, prefetch=ahead) for ahead in PREFETCH if ahead != rules.prefetch)]
    if budget < len(tried):
        return choices, rules
    return choices, min(tried, key=lambda other: simulated_cost(problem, choices, other))
