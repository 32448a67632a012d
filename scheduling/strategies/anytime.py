"""Anytime curves: the least cost that a strategy knew after each schedule that it simulated."""

from __future__ import annotations

import math
from dataclasses import replace

from scheduling.problem import Problem, Solution
from scheduling.strategies import solve

Curve = tuple[tuple[int, float], ...]
"""(schedules simulated, least cost so far), one for each time that it fell, both strictly monotonic."""


def anytime(name: str, problem: Problem) -> tuple[Solution, Curve]:
    """Run a strategy as `solve` does, and tell how it got there."""
    log: list[tuple[int, float]] = []
    before = problem.evaluator.evaluations
    solution = solve(name, replace(problem, log=log))
    # A heuristic simulates nothing itself.
    log.append((before + solution.evaluations, problem.objective.cost(solution.evaluation)))
    curve: list[tuple[int, float]] = []
    for simulated, cost in log:
        if not curve or cost < curve[-1][1]:
            curve.append((simulated - before, cost))
    return solution, tuple(curve)


def cost_after(curve: Curve, simulated: int) -> float:
    """The least cost known after so many simulated schedules; infinite before the first."""
    return next((cost for at, cost in reversed(curve) if at <= simulated), math.inf)
