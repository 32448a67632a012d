"""Which sub-graphs refinements change."""

from __future__ import annotations

import numpy as np

from scheduling.candidates.configurations import times
from scheduling.choice import RECOMPUTE, Choice
from scheduling.evaluator import Evaluator


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
