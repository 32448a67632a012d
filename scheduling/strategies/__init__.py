"""Strategies: each a named, deterministic way to decide a whole schedule (docs/strategies.md)."""

from __future__ import annotations

import time

from scheduling.errors import ScheduleError
from scheduling.problem import Decide, Problem, Solution
from scheduling.strategies.annealing import annealing
from scheduling.strategies.beam import beam
from scheduling.strategies.dp import dp
from scheduling.strategies.genetic import genetic
from scheduling.strategies.graphturbo import (
    graphturbo,
    graphturbo_bfs,
    graphturbo_bfs_plain,
    graphturbo_dfs_plain,
)
from scheduling.strategies.greedy import greedy
from scheduling.strategies.l1_first import l1_first
from scheduling.strategies.layerwise import layerwise
from scheduling.strategies.llb_first import llb_first
from scheduling.strategies.lookahead import lookahead
from scheduling.strategies.portfolio import portfolio
from scheduling.strategies.random_search import random_search
from scheduling.strategies.stitch import stitch

STRATEGIES: dict[str, Decide] = {
    "layerwise": layerwise,
    "llb_first": llb_first,
    "l1_first": l1_first,
    "stitch": stitch,
    "graphturbo_bfs_plain": graphturbo_bfs_plain,
    "graphturbo_dfs_plain": graphturbo_dfs_plain,
    "graphturbo_bfs": graphturbo_bfs,
    "graphturbo": graphturbo,
    "greedy": greedy,
    "dp": dp,
    "lookahead": lookahead,
    "beam": beam,
    "random": random_search,
    "annealing": annealing,
    "genetic": genetic,
    "portfolio": portfolio,
}
"""By name, in the order in which tables print them."""


def solve(name: str, problem: Problem) -> Solution:
    """Run a strategy and simulate what it decides. Raises ScheduleError for a name that is not in STRATEGIES, and
    IllegalSchedule where the network does not fit the machine at all."""
    decide = STRATEGIES.get(name)
    if decide is None:
        raise ScheduleError(f"unknown strategy {name!r}; there are {', '.join(STRATEGIES)}")
    evaluator = problem.evaluator
    simulated = evaluator.evaluations
    started = time.perf_counter()
    choices, rules = decide(problem)
    spent = evaluator.evaluations - simulated
    evaluation = evaluator.evaluate(choices, rules)
    return Solution(name, choices, rules, evaluation, max(spent, 1), time.perf_counter() - started)
