"""Ways to run a stack of layers tile by tile, each with what its instances by themselves take, the best ones first.

A stack costs the sum of its instances' isolated times (or counts), where instances that look alike are lowered and
timed once, and so are stacks that look alike. Of all tiles and modes only those are lowered whose bound
(`scheduling.strategies.stack_bound`) does not exceed what is known already, the least bounds first; what is found is
what timing all of them would find, as long as a large number of instructions is not exceeded.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from itertools import product
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodel.timing.counts import Counts
from hwmodel.timing.energy import energy_pj
from scheduling.candidates.alike_stacks import AlikeStacks
from scheduling.choice import (
    CACHE,
    CACHE_DRAM,
    CACHE_LLB,
    CHOICE_FIELDS,
    COLUMNS,
    RECOMPUTE,
    ROWS,
    RULE_SCALE,
    Choice,
)
from scheduling.errors import IllegalSchedule
from scheduling.lowering import Lowered, lower
from scheduling.lowering.inner_counts import count_inner
from scheduling.lowering.planning import kept_bytes
from scheduling.lowering.shapes import alike_columns, alike_rows
from scheduling.lowering.tables import Ints
from scheduling.lowering.tiling import LEGAL
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.strategies.stack_bound import StackBound
from scheduling.strategies.stack_extents import StackExtents, axes
from scheduling.timeline.isolated import lone_cycles

SMALLEST = 4
"""Tiles are SMALLEST high and wide, or as much as the engine's unrolling, or that times powers of a ratio."""

MOST_TILES = 8192
"""Tiles of a stack beyond which a tile is not tried."""

MOST_INSTRUCTIONS = 1_000_000
"""Instructions lowered for each schedule of the budget, after which stacks are taken by their bounds."""

Floats = NDArray[np.float64]

Weights = tuple[float, float, float]
"""Of cycles, energy and off-core bytes in a sum."""


class Stack(NamedTuple):
    """One way to run a stack: cycles, energy (0 where the objective has none) and off-core bytes of all its instances,
    each by itself."""

    choice: Choice
    cycles: int
    energy_pj: float
    off_core_bytes: int

    def sum(self, weights: Weights) -> float:
        """Its cost as a share of that of a schedule."""
        return weights[0] * self.cycles + weights[1] * self.energy_pj + weights[2] * self.off_core_bytes


class Stacks:
    """The ways to run stacks of layers of a problem's network. `ratio`: of a tile's side to the next smaller one."""

    def __init__(self, problem: Problem, ratio: int) -> None:
        self._problem, self._ratio = problem, ratio
        self._evaluator = problem.evaluator
        batch, cores = self._evaluator.network.batch, self._evaluator.machine.cores
        self._images = max(w for w in (1 << k for k in range(11)) if batch % w == 0 and cores % w == 0)
        table = self._evaluator.machine_table
        self._step = max(SMALLEST, table.f_rows, table.f_columns)
        self._plan = self._evaluator.supposed_plan()
        self._axes = axes(self._evaluator.table)
        self._alike = AlikeStacks(self._evaluator.table, self._plan.in_llb)
        self._energy = problem.objective in (Objective.ENERGY, Objective.EDP)
        self._known: dict[tuple[int, int], tuple[list[Choice], Floats]] = {}
        self._kept_bytes: dict[tuple[int, int, int], int] = {}
        self._timed: dict[Choice, Stack | None] = {}
        self._most = MOST_INSTRUCTIONS * problem.budget
        self._instructions = 0  # lowered so far

    def best(self, first: int, stop: int, weights: Weights, count: int) -> list[Stack]:
        """Of all ways to run layers [first, stop) the `count` with the least sums, the best first; none where none is
        legal. Once MOST_INSTRUCTIONS are lowered, those with the least bounds that are legal."""
        known = self._like(first, stop)
        choices, costs = self._bounded(known, known + stop - first)
        bounds = costs @ np.array(weights)
        found: list[tuple[float, int, Stack]] = []
        for index in np.argsort(bounds, kind="stable").tolist():
            if len(found) >= count and (
                bounds[index] > found[count - 1][0] or self._instructions > self._most
            ):
                break
            stack = self._find(choices[index])
            if stack is not None:
                insort(found, (stack.sum(weights), index, stack))
        return [_moved(stack, first) for _, _, stack in found[:count]]

    def timed(self, choice: Choice) -> Stack | None:
        """A choice with its figures, pieces interleaved or else one after the other, weights kept where they fit,
        overlaps in the lowest memory that holds them; None where it does not fit."""
        known = self._like(choice.first, choice.stop)
        same = choice._replace(first=known, stop=known + choice.stop - choice.first)
        stack = self._find(self._settled(same))
        return None if stack is None else _moved(stack, choice.first)

    def ways(self, first: int, stop: int) -> list[Choice]:
        """Every tile and mode of layers [first, stop); for a single layer, also what the other strategies choose
        from."""
        single = []
        if stop == first + 1:
            rows = self._problem.space.all(first)
            single = [Choice(*row) for row in rows[rows[:, 1] == stop, :CHOICE_FIELDS].tolist()]
        return [*(self._settled(choice) for choice in single), *self._tiled(first, stop)]

    def _like(self, first: int, stop: int) -> int:
        """The first layer of the stack whose figures are known, or will be, of those like layers [first, stop). What
        single layers choose from is found layer by layer, so they are like no other one."""
        return first if stop == first + 1 else self._alike.of(first, stop)

    def _bounded(self, first: int, stop: int) -> tuple[list[Choice], Floats]:
        """The ways to run layers [first, stop), and (C, 3) the least that each can cost."""
        known = self._known.get((first, stop))
        if known is None:
            choices = self.ways(first, stop)
            extents = StackExtents(self._evaluator, self._axes, first, stop)
            bound = StackBound(self._evaluator, self._plan.in_llb, extents)
            known = self._known[first, stop] = choices, bound.costs(choices, self._energy)
        return known

    def _tiled(self, first: int, stop: int) -> Iterator[Choice]:
        network = self._evaluator.network
        exits = [network.tensors[t] for t in self._evaluator.templates.borders(first, stop)[1].tolist()]
        most_rows, most_columns = min(t.rows for t in exits), min(t.columns for t in exits)
        heights, widths = (_parts(size, self._step, self._ratio) for size in (most_rows, most_columns))
        left = self._evaluator.machine.cores // self._images
        for channels, across in dict.fromkeys(((left, 1), (1, left), (1, 1))):
            whole = Choice(
                first,
                stop,
                split_batch=network.batch // self._images,
                ways_batch=self._images,
                ways_rows=across,
                ways_channels=channels,
            )
            yield whole
            again = whole._replace(keep_weights=int(self._weights_fit(whole)))
            for high, wide in product(heights, widths):
                if high * wide > MOST_TILES:
                    continue
                if high * wide > 1:
                    yield again._replace(split_rows=high, split_columns=wide)
                if wide > 1:
                    stripe = again._replace(split_rows=high) if high > 1 else whole
                    yield stripe._replace(pieces=wide, axis=COLUMNS)
                    if high > 1:
                        yield stripe._replace(pieces=wide, axis=COLUMNS, halo=CACHE)
                elif high > 1:
                    yield whole._replace(pieces=high, axis=ROWS)

    def _settled(self, choice: Choice) -> Choice:
        """A choice that keeps its weights in the buffer where they fit and are used again."""
        return choice._replace(keep_weights=int(choice.slices > 1 and self._weights_fit(choice)))

    def _weights_fit(self, choice: Choice) -> bool:
        """Whether all weights of a choice fit the buffer."""
        key = choice.first, choice.stop, choice.ways_channels
        if key not in self._kept_bytes:
            element_bytes = self._evaluator.machine.element_bytes
            self._kept_bytes[key] = int(kept_bytes(self._evaluator.table, choice, element_bytes))
        return self._kept_bytes[key] <= self._evaluator.machine.memories.weights.bytes

    def _find(self, choice: Choice, most_cycles: float = inf) -> Stack | None:
        """`timed` of a settled choice, once; None too where it surely takes more than `most_cycles`."""
        if choice not in self._timed:
            fitting = self._first_that_fits(choice)
            if fitting is not None and self._cycles(*fitting) > most_cycles:
                return None
            self._timed[choice] = None if fitting is None else self._figures(*fitting)
        return self._timed[choice]

    def _first_that_fits(self, choice: Choice) -> tuple[Choice, list[Kind]] | None:
        """A settled choice with the first halo mode and order of pieces with which all of its instances fit, and
        these."""
        templates = self._evaluator.templates
        serial = RULE_SCALE * (choice.stop - choice.first + 2)
        rules = dict.fromkeys((choice.rule, serial) if choice.pieces > 1 else (choice.rule,))
        try:
            halos = self._halos(choice)
            for halo in halos:
                templates.check(choice._replace(halo=halo))
        except IllegalSchedule:
            return None
        frame = templates.frames.of(choice)
        rows = {0: 1} if frame.choice.split_rows == 1 else _slices(alike_rows(frame.table, frame.choice))
        columns = (
            {0: 1} if frame.choice.split_columns == 1 else _slices(alike_columns(frame.table, frame.choice))
        )
        for halo, rule in product(halos, rules):
            settled = choice._replace(halo=halo, rule=rule)
            instances = self._lowered(settled, rows, columns)
            if instances:
                return settled, instances
        return None

    def _halos(self, choice: Choice) -> tuple[int, ...]:
        """The halo modes of a choice: where it caches, in L1, or else in the lowest shared memory with room for it.
        Raises IllegalSchedule where the choice cannot be."""
        if choice.halo == RECOMPUTE:
            return (RECOMPUTE,)
        llb_bytes = self._evaluator.machine_table.llb_bytes
        in_llb = choice._replace(halo=CACHE_LLB)
        if llb_bytes and self._evaluator.templates.shared_cache_bytes(in_llb) <= llb_bytes:
            return CACHE, CACHE_LLB
        return CACHE, CACHE_DRAM

    def _lowered(self, choice: Choice, rows: Slices, columns: Slices) -> list[Kind]:
        """The kinds of instances of a choice with these kinds of row slices and column slices of its frame; none where
        one does not fit."""
        m, plan, frame = (
            self._evaluator.machine_table,
            self._plan,
            self._evaluator.templates.frames.of(choice),
        )
        found = []
        for row, column, kept, times in _kinds(choice, rows, columns):
            lowered = lower(
                frame.table, m, frame.choice, 0, row, column, kept,
                plan.in_llb, plan.source_batch, plan.source_rows, plan.staged,
            )  # fmt: skip
            self._instructions += len(lowered.rows)
            if lowered.status != LEGAL:
                return []
            found.append((times, lowered))
        return found

    def _cycles(self, choice: Choice, instances: list[Kind]) -> int:
        """Isolated times of all instances, without stalls for the ports of inner memories that are not counted yet."""
        m = self._evaluator.machine_table
        each = sum(times * int(lone_cycles(m, lowered.rows)) for times, lowered in instances)
        return choice.split_batch * choice.split_channels * each

    def _figures(self, choice: Choice, instances: list[Kind]) -> Stack:
        evaluator = self._evaluator
        frame, levels = evaluator.templates.frames.of(choice), evaluator.templates.level_table
        inner = np.zeros(0 if levels is None else 2 * levels.inner + 1, np.int64)
        if levels is not None:  # which changes the instances' rows and counts too
            for times, lowered in instances:
                table, m = frame.table, evaluator.machine_table
                inner += times * count_inner(table, m, levels, frame.choice, 0, lowered)
        counts = sum(times * lowered.counts for times, lowered in instances)
        alike = choice.split_batch * choice.split_channels
        summed = Counts(*(alike * np.asarray(counts)).tolist())
        energy = 0.0
        if self._energy:
            below = evaluator.inner_counts((alike * inner).tolist())
            energy = energy_pj(summed, evaluator.machine, below)
        return Stack(choice, self._cycles(choice, instances), energy, summed.off_core_bytes)


def _moved(stack: Stack, first: int) -> Stack:
    """What is known of a stack, as that of an alike one that begins with layer `first`."""
    choice = stack.choice
    return stack._replace(choice=choice._replace(first=first, stop=first + choice.stop - choice.first))


Kind = tuple[int, Lowered]
"""An instance, and how many look like it."""

Slices = dict[int, int]
"""By the first slice of an axis that looks like them, how many slices do; the very first slice is among the keys."""


def _slices(alike: Ints) -> Slices:
    return dict(zip(*(values.tolist() for values in np.unique(alike, return_counts=True)), strict=True))


def _kinds(choice: Choice, rows: Slices, columns: Slices) -> Iterator[tuple[int, int, bool, int]]:
    """Row slice, column slice, whether it finds all weights in the buffer, and how many instances look like it; those
    that most do first."""
    for (row, high), (column, wide) in sorted(
        product(rows.items(), columns.items()), key=lambda k: -k[0][1] * k[1][1]
    ):
        times = high * wide
        leads = row == 0 and column == 0
        if choice.keep_weights and leads:
            yield row, column, False, 1
            times -= 1
        if times:
            yield row, column, choice.keep_weights == 1, times


def _parts(size: int, step: int, ratio: int) -> list[int]:
    """1, and into how many parts `size` falls when they are of `step`, step x ratio, ..."""
    counts = [1]
    while step < size:
        counts.append(-(-size // step))
        step *= ratio
    return sorted(set(counts))
