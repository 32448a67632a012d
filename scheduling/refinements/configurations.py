"""`configurations`: the kernels of the sub-graphs, chosen among all configurations by a learned ranker.

After Morpheus, whose first part picks each kernel's configuration: bindings, pieces and their axis, the instruction
order and the run-ahead of weights (`scheduling.candidates.configurations`). The ranker orders all legal configurations
of a sub-graph at its split without timing any; the first few are timed in isolation, and the fastest of those takes the
place of the given one where the whole schedule then simulates cheaper. Sub-graphs come by their time, longest first.
In a packed schedule a kernel keeps the number of its cores.

Inferred: which part of Morpheus' space this is; its oracle is exhaustive search here too.
"""

from __future__ import annotations

import numpy as np

from scheduling.candidates.configurations import Configurations, configurations, times
from scheduling.candidates.ranker import shipped_ranker
from scheduling.choice import Choice
from scheduling.problem import Problem, State, simulated_cost
from scheduling.refinements.subgraphs import slowest_first, with_cheapest

TIMED = 6
"""Configurations of a sub-graph that are timed: those that the ranker puts first."""

TRIED = 2
"""Of those, how many are simulated in the whole schedule."""

_WAYS = [Choice._fields.index(name) for name in ("ways_batch", "ways_rows", "ways_channels")]


def with_configurations(problem: Problem, state: State) -> State:
    """A schedule with the kernels of its sub-graphs chosen among all configurations."""
    choices, rules = state
    evaluator, ranker = problem.evaluator, shipped_ranker()
    last = evaluator.evaluations + problem.budget
    best = simulated_cost(problem, choices, rules)
    for at, _ in slowest_first(evaluator, choices):
        if evaluator.evaluations >= last:
            break
        found = configurations(evaluator, choices[at])
        if rules.packing is not None:
            found = _on_cores(found, choices[at].cores)
        if not len(found.choices):
            continue
        picked = found.choices[ranker.order(evaluator, found)[:TIMED]]
        rows = picked[np.argsort(times(evaluator, picked), kind="stable")][:TRIED].tolist()
        forms = [Choice(*row) for row in rows]
        choices, best = with_cheapest(problem, last, (choices, rules), best, at, 1, forms)
    return choices, rules


def _on_cores(found: Configurations, cores: int) -> Configurations:
    """Those that spread an instance over so many cores."""
    kept = found.choices[:, _WAYS].prod(axis=1) == cores
    return Configurations(found.choices[kept], found.estimates[kept])
