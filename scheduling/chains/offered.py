"""What dynamic programming chooses from: where sub-graphs may begin and end, and ways to run them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from scheduling.candidates.defaults import Defaults
from scheduling.candidates.estimate import Estimate
from scheduling.candidates.space import PIECES, survey
from scheduling.chains.segments import Segments, segments
from scheduling.choice import CHOICE_FIELDS, Choice
from scheduling.problem import Problem

PIECES_FIELD = Choice._fields.index("pieces")
ESTIMATED_CYCLES = CHOICE_FIELDS + Estimate._fields.index("cycles")
"""The column of `scheduling.candidates.space.survey`."""

SMALL = 40
"""Networks of at most so many layers may be cut everywhere."""

MOST_AHEAD = 24
"""Cuts ahead at which a sub-graph may end."""

TIMED_EACH = 2
"""Choices timed for each run of layers and split: those with the best estimates, and the one in whole layers."""

MANY_CUTS = 64
"""With more cuts than this, only the choice with the best estimate is timed for each run of layers."""

HOPELESS = 2
"""Choices whose estimate is so many times the best one's for the same run of layers are not timed."""


def cut_points(problem: Problem) -> list[int]:
    """Where sub-graphs may begin and end, 0 and the number of layers among them."""
    crossing, layers = problem.space.border_bytes, problem.space.layers
    if layers <= SMALL:
        return list(range(layers + 1))
    cuts = [0]
    for at in range(1, layers):
        falls = crossing[at] < crossing[at - 1] or (crossing[at] == crossing[at - 1] and cuts[-1] != at - 1)
        if falls and crossing[at] <= crossing[at + 1]:
            cuts.append(at)
    cuts.append(layers)
    whole = Defaults(problem.space)
    refined = [0]
    for first, stop in pairwise(cuts):
        refined += [stop] if whole.choice(first, stop) is not None else range(first + 1, stop + 1)
    return refined


def candidates(problem: Problem, cuts: list[int], at: int) -> Segments:
    """Candidates with good estimates, for sub-graphs that start at a cut."""
    evaluator, space = problem.evaluator, problem.space
    stops = np.array(cuts[at + 1 : at + 1 + MOST_AHEAD], np.int64)
    rows = survey(evaluator.table, evaluator.machine_table, cuts[at], stops, space.splits, PIECES)
    if not (rows[:, 1] == stops[0]).any():
        every = space.all(cuts[at])
        rows = np.concatenate((rows, every[every[:, 1] == stops[0]]))
    kept: list[int] = []
    least: dict[int, int] = {}
    order = np.argsort(rows[:, ESTIMATED_CYCLES], kind="stable")
    taken: dict[tuple[int, int], int] = {}
    many = len(cuts) > MANY_CUTS
    for row in order.tolist():
        key = (int(rows[row, 1]), int(rows[row, 2]))
        cycles = int(rows[row, ESTIMATED_CYCLES])
        if cycles > HOPELESS * least.setdefault(key[0], cycles) or (many and (key[0], 0) in taken):
            continue
        taken[key[0], 0] = 1
        taken[key] = taken.get(key, 0) + 1
        if taken[key] <= TIMED_EACH or rows[row, PIECES_FIELD] == 1:
            kept.append(row)
    choices = np.ascontiguousarray(rows[kept, :CHOICE_FIELDS])
    return segments(evaluator.table, evaluator.machine, evaluator.machine_table, choices)
