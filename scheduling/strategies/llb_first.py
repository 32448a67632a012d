"""`llb_first`: layer by layer as `layerwise`, but tensors go to the last-level buffer (LLB) where they fit.

The first rung of the GraphTurbo paper's ladder (OSDI'23), tensors that stay in the LLB. Decides nothing but the
scopes: kernels, order and weights are those of `layerwise`. Inferred: "where they fit" is the default scope rule, by
which a tensor is in the LLB for as long as it is used, and what came first stays.
"""

from __future__ import annotations

from dataclasses import replace

from scheduling.choice import Choice
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.strategies.layerwise import RULES as BASELINE
from scheduling.strategies.layerwise import layerwise
from scheduling.timeline.arrangement import SCOPE_DEFAULT

RULES = replace(BASELINE, scopes=SCOPE_DEFAULT)


def llb_first(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """One kernel per layer, tensors in the LLB where they fit."""
    return layerwise(problem)[0], RULES
