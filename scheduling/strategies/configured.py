"""`configured`: the kernels of `dp`'s sub-graphs, chosen among all configurations by a learned ranker.

After Morpheus, whose first part picks each kernel's configuration: bindings, pieces and their axis, the instruction
order and the run-ahead of weights (`scheduling.candidates.configurations`). The ranker orders all legal configurations
of a sub-graph at its split without timing any; the first few are timed in isolation, and the fastest of those takes the
place of `dp`'s choice where the whole schedule then simulates cheaper. Sub-graphs come by their time, longest first.

Inferred: which part of Morpheus' space this is; its oracle is exhaustive search here too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scheduling.candidates.configurations import configurations, times
from scheduling.candidates.ranker import shipped_ranker
from scheduling.choice import Choice
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.strategies.dp import dp
from scheduling.strategies.options import simulated_cost

TIMED = 6
"""Configurations of a sub-graph that are timed: those that the ranker puts first."""

TRIED = 2
"""Of those, how many are simulated in the whole schedule."""


def configured(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """`dp` within half of the budget, then its kernels one by one; `dp` alone with a budget of fewer than 4."""
    if problem.budget < 4:
        return dp(problem)
    evaluator, ranker = problem.evaluator, shipped_ranker()
    last = evaluator.evaluations + problem.budget
    choices, rules = dp(replace(problem, budget=problem.budget // 2))
    best = simulated_cost(problem, choices, rules)
    cycles = times(evaluator, np.array(choices, np.int64))
    for at in np.argsort(-cycles, kind="stable").tolist():
        found = configurations(evaluator, choices[at])
        picked = found.choices[ranker.order(evaluator, found)[:TIMED]]
        for row in picked[np.argsort(times(evaluator, picked), kind="stable")][:TRIED].tolist():
            if evaluator.evaluations >= last:
                return choices, rules
            changed = (*choices[:at], Choice(*row), *choices[at + 1 :])
            cost = simulated_cost(problem, changed, rules)
            if cost < best:
                choices, best = changed, cost
    return choices, rules
