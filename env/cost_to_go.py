"""An additive estimate of the cost of the layers from a given one on: a feature, never a reward.

Dynamic programming over few ends (where locally the fewest bytes cross) and few pieces, with the additive estimate of
a sub-graph and the split of the sub-graph before it, which decides with its own what must be in the LLB between them.
It needs no candidate tables, so it is cheap enough to be asked for every end of every candidate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwmodel.machines.machine_table import MachineTable
from hwmodel.timing.costs import dram_rate
from scheduling.candidates.space import MOST_LAYERS, PIECES, CandidateSpace, survey
from scheduling.choice import CHOICE_FIELDS
from scheduling.lowering.tables import Ints

Doubles = NDArray[np.float64]

FEW_PIECES = PIECES[[0, 2]]
"""Whole layers, and row pieces."""

ENDS_AHEAD = 4
"""How many of the next local minima of crossing bytes a sub-graph may end at here."""

LLB_SHARE = 0.75
"""Of the LLB, what tensors may take; the rest is for weights."""


class CostToGo:
    """Cycles from a layer to the end, for each split that the sub-graph before may have; found when first asked for."""

    def __init__(self, space: CandidateSpace) -> None:
        self._space = space
        layers = space.layers
        crossing = space.border_bytes
        self._ends = np.array(
            [
                stop
                for stop in range(1, layers + 1)
                if stop == layers
                or (crossing[stop] <= crossing[stop - 1] and crossing[stop] <= crossing[stop + 1])
            ],
            np.int64,
        )
        self._rows: dict[int, Ints] = {}
        self._cycles: Doubles = np.zeros((layers + 1, len(space.splits)))  # rows of the layers in `_known`
        self._known = {layers}

    def after(self, stops: Ints, splits: Ints) -> Doubles:
        """Estimated cycles of what follows sub-graphs that end at `stops` with these splits of the batch."""
        for stop in set(stops.tolist()) - self._known:
            self.at(stop)
        return np.asarray(self._cycles[stops, np.searchsorted(self._space.splits, splits)], np.float64)

    def at(self, layer: int) -> Doubles:
        """Estimated cycles of layers [layer, end), per split of the sub-graph before."""
        todo = [layer]
        while todo:
            first = todo[-1]
            if first in self._known:
                todo.pop()
                continue
            rows = self._segments(first)
            missing = [stop for stop in sorted(set(rows[:, 1].tolist())) if stop not in self._known]
            if missing:
                todo += missing
                continue
            self._cycles[first] = self._best(first, rows)
            self._known.add(first)
            todo.pop()
        return np.asarray(self._cycles[layer], np.float64)

    def spill_cycles(self, layer: int, before: int | Ints, splits: Ints) -> Doubles:
        """DRAM cycles to write and read what crosses into `layer`, from a sub-graph of split `before` to ones of
        `splits`: nothing where one slice of the coarser of the two fits the LLB. An array `before` is broadcast."""
        if layer in (0, self._space.layers):
            return np.zeros(np.broadcast_shapes(np.shape(before), np.shape(splits)))
        slices = np.minimum(splits, before)
        crossing = np.full(slices.shape, float(self._space.border_bytes[layer]))
        return spill_cycles(self._space.evaluator.machine_table, crossing, slices)

    def _best(self, first: int, rows: Ints) -> Doubles:
        after = self.after(rows[:, 1], rows[:, 2])
        spill = self.spill_cycles(first, self._space.splits[:, None], rows[:, 2])
        figures = rows[:, CHOICE_FIELDS:]
        cycles = with_spill(figures[:, 1], figures[:, 4], figures[:, 5], spill) + after
        return np.asarray(cycles.min(axis=1), np.float64)

    def _segments(self, first: int) -> Ints:
        known = self._rows.get(first)
        if known is None:
            table, machine = self._space.evaluator.table, self._space.evaluator.machine_table
            begin = int(np.searchsorted(self._ends, first, side="right"))
            stops = self._ends[begin : begin + ENDS_AHEAD]
            stops = stops[stops <= first + MOST_LAYERS]
            known = survey(table, machine, first, stops, self._space.splits, FEW_PIECES)
            if not len(known):
                near = np.arange(first + 1, min(first + 3, self._space.layers) + 1)
                known = survey(table, machine, first, near, self._space.splits, PIECES)
            if not len(known):
                known = self._space.all(first)
            self._rows[first] = known
        return known


def spill_cycles(machine: MachineTable, crossing: Doubles, slices: Ints) -> Doubles:
    """DRAM cycles to write and read `crossing` bytes where one slice of them does not fit the LLB. Nothing where there
    is no LLB: then they are among what a sub-graph moves by itself."""
    cycles = crossing / dram_rate(machine, 1) + crossing / dram_rate(machine, 0)
    spills = (crossing > LLB_SHARE * machine.llb_bytes * slices) & (machine.llb_bytes > 0)
    return np.where(spills, cycles, 0.0)


def with_spill(cycles: Ints | Doubles, dma: Ints | Doubles, dram: Ints | Doubles, spill: Doubles) -> Doubles:
    """Cycles of sub-graphs whose DMA also moves `spill` cycles of DRAM traffic."""
    return np.maximum(cycles, np.maximum(dma, dram) + spill)
