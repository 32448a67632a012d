"""`l1_first`: as `llb_first`, but neighbours are joined while the group fits L1 without splitting the batch.

The second rung of the GraphTurbo paper's ladder (OSDI'23), tensors that stay in L1. Decides groups and scopes only:
an instance runs layer by layer, whole, each layer's weights loaded when the layer before has ended. Inferred: groups
are taken front to back, each as long as it fits; a layer that must be split stands alone, as in `layerwise`.
"""

from __future__ import annotations

import numpy as np

from scheduling.candidates.space import PIECES, survey
from scheduling.choice import CHOICE_FIELDS, Choice
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.strategies.joining import join
from scheduling.strategies.llb_first import RULES, llb_first

UNSPLIT = np.array([1], np.int64)
WHOLE = PIECES[:1]


def l1_first(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """The longest groups of layers that fit L1 with the whole batch, tensors between them in the LLB."""
    table, machine = problem.evaluator.table, problem.evaluator.machine_table

    def unsplit(first: int, stop: int) -> Choice | None:
        rows = survey(table, machine, first, np.array([stop], np.int64), UNSPLIT, WHOLE)
        return Choice(*rows[0, :CHOICE_FIELDS].tolist()) if len(rows) else None

    return join(llb_first(problem)[0], unsplit), RULES
