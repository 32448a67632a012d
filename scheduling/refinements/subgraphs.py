"""Which sub-graphs refinements change, and the change that is kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scheduling.candidates.configurations import times
from scheduling.choice import RECOMPUTE, Choice
from scheduling.evaluator import Evaluator
from scheduling.problem import Problem, State, simulated_cost


def whole(choice: Choice) -> bool:
    """Whether instances are slices of the batch alone, in one binding: no tiles, no slices over channels. Candidates
    for whole sub-graphs say nothing of others."""
    return choice.slices == 1 and choice.halo == RECOMPUTE and not choice.several_bindings


def slowest_first(evaluator: Evaluator, choices: tuple[Choice, ...]) -> list[tuple[int, int]]:
    """Places of the whole sub-graphs, and the cycles of each in isolation, those that take longest first."""
    places = [at for at, choice in enumerate(choices) if whole(choice)]
    if not places:
        return []
    cycles = times(evaluator, np.array([choices[at] for at in places], np.int64))
    return [(places[k], int(cycles[k])) for k in np.argsort(-cycles, kind="stable").tolist()]


def with_cheapest(
    problem: Problem, last: int, state: State, cost: float, at: int, replaced: int, forms: Sequence[Choice]
) -> tuple[tuple[Choice, ...], float]:
    """The sub-graphs, with the one of `forms` in place of `replaced` of them from `at` on that makes the schedule
    cheapest, and its cost; as they were where none is below `cost`. No form is tried once `last` evaluations are."""
    (choices, rules), best = state, cost
    found = choices
    for form in forms:
        if problem.evaluator.evaluations < last:
            changed = (*choices[:at], form, *choices[at + replaced :])
            changed_cost = simulated_cost(problem, changed, rules)
            if changed_cost < best:
                found, best = changed, changed_cost
    return found, best
