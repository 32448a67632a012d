"""`channels`: sub-graphs that are split over channels (scheduling.lowering.channel_slices), which may be heads.

Slices over channels let layers that widen stay in a kernel with those that carry channels through (depthwise
convolutions, attention's heads), a part of the channels at a time: what is between them never leaves L1, there are no
overlaps, and weights are read once; the price is that every slice reads the input. So the segments of dynamic
programming are those of `dp` and, for each run of layers that carries channels through, slices of even widths, with the
splits of the batch, bindings and pieces that estimate best for a slice. Cuts are tried where such runs end too. Never
worse than the given schedule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from scheduling.candidates.space import PIECES, survey
from scheduling.chains.best import best_chain
from scheduling.chains.offered import ESTIMATED_CYCLES, MOST_AHEAD, candidates, cut_points
from scheduling.chains.segments import Segments, segments
from scheduling.choice import CHOICE_FIELDS, Choice
from scheduling.errors import IllegalSchedule
from scheduling.problem import Problem, Simulated, State
from scheduling.refinements.splice import spliced
from scheduling.timeline.weight_places import weight_bytes

SLICES = (2, 3, 4, 6, 8, 12, 16)
"""How many slices are offered, where they are all as wide."""

TIMED_EACH = 2
"""Choices timed for each run of layers and number of slices: those with the best estimates."""

SPLICED = 8
"""Schedules, a quarter of the budget at most, that are set aside for putting sub-graphs of chains together."""

SPLIT_CHANNELS = Choice._fields.index("split_channels")


def with_channels(problem: Problem, state: State) -> State:
    """The best of a schedule, of the chains that dynamic programming finds with slices over channels, and of what the
    sub-graphs of all of them give together. A packed schedule stays as it is: chains are compared with launches apart.
    """
    if state[1].packing is not None:
        return state
    log: list[Simulated] = []
    evaluator = problem.evaluator
    last = evaluator.evaluations + problem.budget
    aside = min(SPLICED, problem.budget // 4)
    best_chain(replace(problem, budget=problem.budget - aside, log=log), state, cuts_of_slices, with_slices)
    if problem.log is not None:
        problem.log.extend(log)
    found = {state: math.inf} | {note.state: note.cost for note in log}  # it may not fit at all
    return spliced(replace(problem, budget=last - evaluator.evaluations), found)


def cuts_of_slices(problem: Problem) -> list[int]:
    """The cuts of `dp`, and where those runs of layers begin and end that may be worth slices: several layers, or one
    whose weights are more than the weight buffer holds."""
    evaluator, cuts = problem.evaluator, set(cut_points(problem))
    machine, end = evaluator.machine_table, 0
    for first in range(problem.space.layers):
        stop = first
        while stop < problem.space.layers and _slices(problem, first, stop + 1):
            stop += 1
        large = weight_bytes(evaluator.table, first, machine.element_bytes) > machine.weights_bytes
        if stop > max(first, end) and (stop > first + 1 or large):
            cuts |= {first, stop}
        end = max(end, stop)
    return sorted(cuts)


def with_slices(problem: Problem, cuts: list[int], at: int) -> Segments:
    """What `dp` offers for sub-graphs that start at a cut, and slices over channels."""
    found = [candidates(problem, cuts, at)]
    for stop in cuts[at + 1 : at + 1 + MOST_AHEAD]:
        sliced = list(_sliced(problem, cuts[at], stop))
        if not sliced:
            break
        found += sliced
    return Segments(*(np.concatenate(figures) for figures in zip(*found, strict=True)))


def _slices(problem: Problem, first: int, stop: int) -> list[int]:
    """In how many slices layers [first, stop) are offered; in none where one does not carry channels through."""
    try:
        units = problem.evaluator.templates.frames.channel_units(Choice(first, stop, split_channels=2)).units
    except IllegalSchedule:
        return []
    return [slices for slices in SLICES if units % slices == 0]


def _sliced(problem: Problem, first: int, stop: int) -> Iterator[Segments]:
    """Segments of layers [first, stop) in slices over channels, of each number of slices; none where a layer does not
    carry channels through."""
    templates, machine = problem.evaluator.templates, problem.evaluator.machine
    for slices in _slices(problem, first, stop):
        table = templates.frames.of(Choice(first, stop, split_channels=slices)).table
        m = templates.machine_table
        rows = survey(table, m, first, np.array([stop], np.int64), problem.space.splits, PIECES)
        best = np.argsort(rows[:, ESTIMATED_CYCLES], kind="stable")[:TIMED_EACH]
        one = segments(table, machine, m, np.ascontiguousarray(rows[best, :CHOICE_FIELDS]))
        choices = one.choices.copy()
        choices[:, SPLIT_CHANNELS] = slices
        yield Segments(choices, *(slices * figures for figures in one[1:]))
