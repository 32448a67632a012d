"""`portfolio`: runs the others within one budget and returns the best schedule that any of them found.

First the heuristics, which cost one simulated schedule each, the best ones first; then searches that begin in
different ways, each with half of what is left; last `annealing` with the rest, from the best schedule so far instead
of the default one. What a search does not use goes to the next. Never worse than any part with the share that it got,
but a part with the whole budget may find more. Left out: `greedy` and `random`, which are long before they are good,
and `lookahead`, which is close to a narrow `beam`.
"""

from __future__ import annotations

from dataclasses import replace

from scheduling.problem import Decide, Problem, State, simulated_cost
from scheduling.strategies.annealing import anneal
from scheduling.strategies.beam import beam
from scheduling.strategies.dp import dp
from scheduling.strategies.genetic import genetic
from scheduling.strategies.graphturbo import (
    graphturbo,
    graphturbo_bfs,
    graphturbo_bfs_plain,
    graphturbo_dfs_plain,
)
from scheduling.strategies.l1_first import l1_first
from scheduling.strategies.layerwise import layerwise
from scheduling.strategies.llb_first import llb_first
from scheduling.strategies.stitch import stitch

HEURISTICS: tuple[Decide, ...] = (
    graphturbo,
    graphturbo_bfs,
    graphturbo_dfs_plain,
    graphturbo_bfs_plain,
    l1_first,
    llb_first,
    stitch,
    layerwise,
)


SEARCHES: tuple[Decide, ...] = (dp, beam, genetic)


def portfolio(problem: Problem) -> State:
    """The heuristics, `dp`, `beam`, `genetic` and `annealing` within one budget; the best of all."""
    evaluator = problem.evaluator
    last = evaluator.evaluations + problem.budget
    found: list[tuple[float, State]] = []

    def judge(state: State) -> None:
        found.append((simulated_cost(problem, *state), state))

    def best() -> State:
        return min(found, key=lambda one: one[0])[1]

    def share(part: int) -> Problem:
        """Limited to a part of the schedules that are left, less the one that simulates what is found."""
        return replace(problem, budget=(last - evaluator.evaluations) // part - 1)

    for heuristic in HEURISTICS[: problem.budget]:
        judge(heuristic(problem))
    for search in SEARCHES:
        if (half := share(2)).budget > 0:
            judge(search(half))
    if (rest := share(1)).budget > 0:
        judge(anneal(rest, best()))
    return best()
