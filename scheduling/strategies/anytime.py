"""Anytime curves: the least cost that a strategy knew after each schedule that it simulated, and after each second."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from scheduling.problem import Decide, Problem, Simulated, Solution
from scheduling.strategies import solve


class Point(NamedTuple):
    """From so many simulated schedules and seconds on, the least known cost."""

    simulated: int
    cost: float
    seconds: float


Curve = tuple[Point, ...]
"""One point for each time that the cost fell; costs fall, schedules rise strictly."""


def anytime(
    name: str, problem: Problem, beside: Mapping[str, Decide] = MappingProxyType({})
) -> tuple[Solution, Curve]:
    """Run a strategy as `solve` does, and tell how it got there."""
    log: list[Simulated] = []
    before, started = problem.evaluator.evaluations, time.perf_counter()
    solution = solve(name, replace(problem, log=log), beside)
    # A heuristic simulates nothing itself.
    cost = problem.objective.cost(solution.evaluation)
    spent, found = before + solution.evaluations, (solution.choices, solution.rules)
    log.append(Simulated(spent, cost, started + solution.seconds, found, solution.layer_order))
    curve: list[Point] = []
    for note in log:
        if not curve or note.cost < curve[-1].cost:
            curve.append(Point(note.schedules - before, note.cost, note.at_seconds - started))
    return solution, tuple(curve)


def cost_after(curve: Curve, simulated: int) -> float:
    """The least cost known after so many simulated schedules; infinite before the first."""
    return next((point.cost for point in reversed(curve) if point.simulated <= simulated), math.inf)


def cost_within(curve: Curve, seconds: float) -> float:
    """The least cost known after so many seconds; infinite before the first."""
    return next((point.cost for point in reversed(curve) if point.seconds <= seconds), math.inf)
