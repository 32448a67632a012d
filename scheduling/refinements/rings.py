"""`rings`: outputs of sub-graphs in rings of channels where that pays.

A sub-graph is split over the batch until it fits. Often it is the output of its last contraction that does not fit,
though no layer of the sub-graph reads it: in a ring of channels (`scheduling.lowering.channel_rings`) a part of it is
enough, and the sub-graph runs in fewer instances, which read the weights less often. So each sub-graph is offered its
fastest legal form with a ring and no finer split: first all change together where that simulates cheaper, then one by
one, to the ring or back. Never worse than what they begin with.

Inferred: GraphTurbo's paper keeps whole tensors; its published BERT reads the weights about once at batch 8, which
whole outputs do not allow (docs/results.md).
"""

from __future__ import annotations

import numpy as np

from scheduling.candidates.space import survey
from scheduling.choice import CHANNEL_RING, CHOICE_FIELDS, Choice
from scheduling.problem import Problem, State, simulated_cost
from scheduling.refinements.subgraphs import whole
from scheduling.timeline.isolated import isolated

FORMS = np.array([(CHANNEL_RING, 8, 0)], np.int64)
"""What is offered, as `scheduling.candidates.space.PIECES`: axis, pieces, and how many pieces of rows are under way."""


def with_rings(problem: Problem, state: State) -> State:
    """A schedule with rings of channels in those of its sub-graphs where they pay; at most the budget is simulated."""
    evaluator = problem.evaluator
    last = evaluator.evaluations + problem.budget
    plain, rules = state
    rings = tuple((_with_ring(problem, choice) if whole(choice) else None) or choice for choice in plain)
    if rings == plain:
        return state
    found, best = plain, simulated_cost(problem, plain, rules)
    for at in range(-1, len(plain)):
        changed = rings
        if at >= 0:
            other = plain[at] if found[at] == rings[at] else rings[at]
            changed = (*found[:at], other, *found[at + 1 :])
        if changed == found:
            continue
        if evaluator.evaluations >= last:
            break
        cost = simulated_cost(problem, changed, rules)
        if cost < best:
            found, best = changed, cost
    return found, rules


def _with_ring(problem: Problem, choice: Choice) -> Choice | None:
    """The fastest legal form of a sub-graph with a ring, with no finer a split; None where there is none."""
    evaluator = problem.evaluator
    table, machine = evaluator.table, evaluator.machine_table
    splits = problem.space.splits
    stops = np.array([choice.stop], np.int64)
    rows = survey(table, machine, choice.first, stops, splits[splits <= choice.split_batch], FORMS)
    if not len(rows):
        return None
    forms = np.ascontiguousarray(rows[:, :CHOICE_FIELDS])
    fastest = np.argmin(isolated(table, machine, forms).max(axis=1))
    return Choice(*forms[fastest].tolist())
