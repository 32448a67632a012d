"""`random`: schedules of uniformly random legal decisions; the best of the budget.

What a search has to beat with as many simulated schedules. Front to back, each sub-graph is drawn from all legal
candidates that start where the last one ended; order, weights and prefetch are drawn too. The scopes stay with the
rule that all searches use: the last-level buffer where a tensor fits. Schedules are drawn one after the other, so the
first ones are the same for every budget, and more budget is never worse.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from scheduling.candidates.defaults import Defaults
from scheduling.choice import CHOICE_FIELDS, Choice
from scheduling.problem import Problem, State, simulated_cost
from scheduling.refinements.prefetch import PREFETCH
from scheduling.rules import Rules
from scheduling.timeline.arrangement import WEIGHTS_RELOADED, WEIGHTS_RESIDENT
from scheduling.timeline.instance_order import BREADTH_FIRST, DEPTH_FIRST

RULES = tuple(
    Rules(order=order, weights=weights, prefetch=prefetch)
    for order, weights, prefetch in product(
        (BREADTH_FIRST, DEPTH_FIRST), (WEIGHTS_RELOADED, WEIGHTS_RESIDENT), PREFETCH
    )
)


def random_search(problem: Problem) -> State:
    """The best of as many random schedules as the budget has; the default completion where none fits."""
    random = np.random.default_rng(problem.seed)
    best, least = None, math.inf
    for _ in range(problem.budget):
        state = random_schedule(problem, random)
        cost = simulated_cost(problem, *state)
        if cost < least:
            best, least = state, cost
    return best if best is not None else (Defaults(problem.space).complete(()), Rules())


def random_schedule(problem: Problem, random: np.random.Generator) -> State:
    """A schedule of which every decision is drawn from the legal ones."""
    choices: list[Choice] = []
    first = 0
    while first < problem.space.layers:
        rows = problem.space.all(first)
        choices.append(Choice(*rows[random.integers(len(rows)), :CHOICE_FIELDS].tolist()))
        first = choices[-1].stop
    return tuple(choices), RULES[random.integers(len(RULES))]
