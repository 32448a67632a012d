"""`dp_channels`: `dp` with sub-graphs that are split over channels (scheduling.lowering.channel_slices) besides.

Slices over channels let layers that widen stay in a kernel with those that carry channels through (depthwise
convolutions, attention's heads), a part of the channels at a time: what is between them never leaves L1, there are no
overlaps, and weights are read once; the price is that every slice reads the input. So the segments of dynamic
programming are those of `dp` and, for each run of layers that carries channels through, slices of even widths, with the
splits of the batch, bindings and pieces that estimate best for a slice. Never worse than `dp` with half of the budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from scheduling.candidates.space import PIECES, survey
from scheduling.choice import CHOICE_FIELDS, Choice
from scheduling.errors import IllegalSchedule
from scheduling.problem import Problem
from scheduling.strategies.dp import MOST_AHEAD, best_chain, candidates, dp
from scheduling.strategies.moves import State
from scheduling.strategies.options import CYCLES
from scheduling.strategies.segments import Segments, segments

SLICES = (2, 3, 4, 6, 8, 12, 16)
"""How many slices are offered, where they are all as wide."""

TIMED_EACH = 2
"""Choices timed for each run of layers and number of slices: those with the best estimates."""

SPLIT_CHANNELS = Choice._fields.index("split_channels")


def dp_channels(problem: Problem) -> State:
    """`dp` within half of the budget, then dynamic programming with slices over channels."""
    before = problem.evaluator.evaluations
    state = dp(replace(problem, budget=(problem.budget + 1) // 2))
    spent = problem.evaluator.evaluations - before
    if problem.budget - spent < 1:
        return state
    return best_chain(replace(problem, budget=problem.budget - spent), state, with_slices)


def with_slices(problem: Problem, cuts: list[int], at: int) -> Segments:
    """What `dp` offers for sub-graphs that start at a cut, and slices over channels."""
    found = [candidates(problem, cuts, at)]
    for stop in cuts[at + 1 : at + 1 + MOST_AHEAD]:
        sliced = list(_sliced(problem, cuts[at], stop))
        if not sliced:
            break
        found += sliced
    return Segments(*(np.concatenate(figures) for figures in zip(*found, strict=True)))


def _sliced(problem: Problem, first: int, stop: int) -> Iterator[Segments]:
    """Segments of layers [first, stop) in slices over channels, of each number of slices; none where a layer does not
    carry channels through."""
    templates, machine = problem.evaluator.templates, problem.evaluator.machine
    try:
        units = templates.channel_units(Choice(first, stop, split_channels=2)).units
    except IllegalSchedule:
        return
    for slices in (number for number in SLICES if units % number == 0):
        table = templates.frame(Choice(first, stop, split_channels=slices)).table
        m = templates.machine_table
        rows = survey(table, m, first, np.array([stop], np.int64), problem.space.splits, PIECES)
        best = np.argsort(rows[:, CHOICE_FIELDS + CYCLES], kind="stable")[:TIMED_EACH]
        one = segments(table, machine, m, np.ascontiguousarray(rows[best, :CHOICE_FIELDS]))
        choices = one.choices.copy()
        choices[:, SPLIT_CHANNELS] = slices
        yield Segments(choices, *(slices * figures for figures in one[1:]))
