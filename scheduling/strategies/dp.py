"""`dp`: the best contiguous cuts by dynamic programming over an additive segment estimate."""

from __future__ import annotations

import math

from scheduling.arrangement import BREADTH_FIRST, DEPTH_FIRST
from scheduling.choice import Choice
from scheduling.evaluator import Rules
from scheduling.problem import Problem
from scheduling.strategies.options import Option, additive_cost, simulated_cost


def dp(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """Best cuts for several estimates; the one that simulates best."""
    best: tuple[float, tuple[Choice, ...], Rules] | None = None
    for spill in (0.0, 0.5, 1.0):
        choices = _cuts(problem, spill)
        for order in (DEPTH_FIRST, BREADTH_FIRST):
            rules = Rules(order=order)
            cost = simulated_cost(problem, choices, rules)
            if best is None or cost < best[0]:
                best = (cost, choices, rules)
    assert best is not None
    return best[1], best[2]


def _cuts(problem: Problem, spill: float) -> tuple[Choice, ...]:
    space, m = problem.space, problem.evaluator.machine_table
    least = [0.0] + [math.inf] * space.layers
    taken: list[Choice | None] = [None] * (space.layers + 1)
    for first in range(space.layers):
        choices, figures = space.at(first)
        for choice, row in zip(choices, figures.tolist(), strict=True):
            cost = least[first] + additive_cost(problem, Option(choice, tuple(row)))
            if choice.stop < space.layers:
                crossing = int(space.border_bytes[choice.stop])
                if 2 * crossing > m.llb_bytes * choice.split_batch:
                    cost += spill * 2 * crossing / m.dram_read
            if cost < least[choice.stop]:
                least[choice.stop] = cost
                taken[choice.stop] = choice
    result: list[Choice] = []
    at = space.layers
    while at > 0:
        choice_at = taken[at]
        assert choice_at is not None
        result.append(choice_at)
        at = choice_at.first
    return tuple(reversed(result))
