"""What dynamic programming chooses from: where sub-graphs may begin and end, and ways to run them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from scheduling.candidates.defaults import Defaults
from scheduling.candidates.estimate import Estimate
from scheduling.candidates.sliced import SPLIT_CHANNELS, slices_of
from scheduling.candidates.space import PIECES, survey
from scheduling.chains.segments import Segments, segments
from scheduling.choice import CHOICE_FIELDS, Choice
from scheduling.evaluator import Evaluator
from scheduling.lowering.tables import Ints
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

EVERY = 1 << 20
"""More choices than any run of layers has."""

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
    stops = np.array(cuts[at + 1 : at + 1 + MOST_AHEAD], np.int64)
    return timed_runs(problem, cuts[at], stops, 1 if len(cuts) > MANY_CUTS else EVERY)


def timed_runs(problem: Problem, first: int, stops: Ints, most: int) -> Segments:
    """Candidates with good estimates for the runs of layers from `first` to each of `stops`, ascending: at most `most`
    for each. The run to the first stop has one even where a single layer hardly fits."""
    evaluator, space = problem.evaluator, problem.space
    rows = survey(evaluator.table, evaluator.machine_table, first, stops, space.splits, PIECES)
    if not (rows[:, 1] == stops[0]).any():
        every = space.all(first)
        rows = np.concatenate((rows, every[every[:, 1] == stops[0]]))
    kept: list[int] = []
    least: dict[int, int] = {}
    order = np.argsort(rows[:, ESTIMATED_CYCLES], kind="stable")
    surveyed: dict[tuple[int, int], int] = {}
    timed: dict[int, int] = {}
    for row in order.tolist():
        stop, split = int(rows[row, 1]), int(rows[row, 2])
        cycles = int(rows[row, ESTIMATED_CYCLES])
        if cycles > HOPELESS * least.setdefault(stop, cycles) or timed.get(stop, 0) == most:
            continue
        surveyed[stop, split] = surveyed.get((stop, split), 0) + 1
        if surveyed[stop, split] <= TIMED_EACH or rows[row, PIECES_FIELD] == 1:
            timed[stop] = timed.get(stop, 0) + 1
            kept.append(row)
    choices = np.ascontiguousarray(rows[kept, :CHOICE_FIELDS])
    return _segments(evaluator, choices)


def _segments(evaluator: Evaluator, choices: Ints) -> Segments:
    """Figures of legal choices; those that cut channels, whose slices are added up, come last."""
    machine, m = evaluator.machine, evaluator.machine_table
    sliced = choices[:, SPLIT_CHANNELS] > 1
    found = [segments(evaluator.table, machine, m, np.ascontiguousarray(choices[~sliced]))]
    for row in choices[sliced]:
        parts = [
            (times, segments(frame.table, machine, m, np.array([frame.choice], np.int64)))
            for frame, times in slices_of(evaluator, Choice(*row.tolist()))
        ]
        figures = zip(*([times * values for values in part[1:]] for times, part in parts), strict=True)
        found.append(Segments(row[None], *(np.sum(values, axis=0) for values in figures)))
    return Segments(*(np.concatenate(values) for values in zip(*found, strict=True)))
