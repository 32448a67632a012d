"""`cores`: how many cores each sub-graph has, and which kernels run side by side.

Where a machine runs kernels concurrently, the whole schedule becomes one launch (scheduling.refinements.one_program),
with its sub-graphs cut and joined anew. Elsewhere a launch holds the machine, and a sub-graph gets fewer cores where
its kernel on them makes the schedule cheaper: of all configurations on fewer (scheduling.candidates.configurations)
those that are fastest in isolation, sub-graphs by their time, longest first.
"""

from __future__ import annotations

import numpy as np

from scheduling.candidates.configurations import configurations, times
from scheduling.choice import Choice
from scheduling.problem import Problem, State, simulated_cost
from scheduling.refinements.one_program import best_program
from scheduling.refinements.subgraphs import slowest_first, with_cheapest

TRIED = 2
"""Kernels on fewer cores that are simulated for each sub-graph where a launch holds the machine."""

_WAYS = [Choice._fields.index(name) for name in ("ways_batch", "ways_rows", "ways_channels")]


def with_cores(problem: Problem, state: State) -> State:
    """A schedule with the core groups that simulate cheapest."""
    if problem.evaluator.machine.concurrent_kernels:
        return best_program(problem, state)
    return _with_fewer_cores(problem, state)


def _with_fewer_cores(problem: Problem, state: State) -> State:
    evaluator = problem.evaluator
    last = evaluator.evaluations + problem.budget
    choices, rules = state
    best = simulated_cost(problem, choices, rules)
    for at, _ in slowest_first(evaluator, choices):
        if evaluator.evaluations >= last:
            break
        found = configurations(evaluator, choices[at]).choices
        fewer = found[found[:, _WAYS].prod(axis=1) < choices[at].cores]
        rows = fewer[np.argsort(times(evaluator, fewer), kind="stable")][:TRIED].tolist()
        forms = [Choice(*row) for row in rows]
        choices, best = with_cheapest(problem, last, (choices, rules), best, at, 1, forms)
    return choices, rules
