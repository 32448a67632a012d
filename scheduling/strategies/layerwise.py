"""`layerwise`: one kernel per layer and everything through DRAM, as an operator-level compiler does.

Stands for the TVM baseline of the GraphTurbo paper (OSDI'23). Inferred: a layer is split only when it must be (the
fewest instances that fit), its pieces are those with the best estimate, and nothing of the next kernel starts early.
"""

from __future__ import annotations

import numpy as np

from scheduling.candidates.space import PIECES, survey
from scheduling.choice import CHOICE_FIELDS, Choice
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.strategies.options import CYCLES
from scheduling.timeline.arrangement import SCOPE_DRAM, WEIGHTS_RELOADED
from scheduling.timeline.instance_order import BREADTH_FIRST

RULES = Rules(order=BREADTH_FIRST, scopes=SCOPE_DRAM, weights=WEIGHTS_RELOADED, prefetch=0)


def layerwise(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """One kernel per layer, everything through DRAM."""
    return tuple(_kernel(problem, layer) for layer in range(problem.space.layers)), RULES


def _kernel(problem: Problem, layer: int) -> Choice:
    evaluator = problem.evaluator
    stops = np.array([layer + 1], np.int64)
    rows = survey(evaluator.table, evaluator.machine_table, layer, stops, problem.space.splits, PIECES)
    if not len(rows):
        rows = problem.space.all(layer)
        rows = rows[rows[:, 1] == layer + 1]
    best = rows[np.lexsort((rows[:, CHOICE_FIELDS + CYCLES], rows[:, 2]))[0]]
    return Choice(*best[:CHOICE_FIELDS].tolist())._replace(overlap=0)
