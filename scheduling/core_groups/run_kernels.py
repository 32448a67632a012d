"""Kernels of runs of layers: every way to spread one over a divisor of the cores, and its time on an empty machine.

A kernel is a binding and the fewest pieces with which it fits. The launch is left out, since a step of several
instances pays for one whatever is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from scheduling.candidates.alike_stacks import AlikeStacks
from scheduling.candidates.configurations import legal_choices
from scheduling.candidates.space import PIECES
from scheduling.chains.segments import ENTRY, EXIT, time_borders
from scheduling.choice import RULE_SCALE, Choice
from scheduling.core_groups.links import LinkCycles, link_cycles
from scheduling.evaluator import Evaluator
from scheduling.lowering.rows import N_DRAM_READ, N_DRAM_WRITE, N_LLB_READ, N_LLB_WRITE
from scheduling.lowering.tables import Ints
from scheduling.timeline.isolated import supposed_scopes

_WAYS = [Choice._fields.index(name) for name in ("ways_batch", "ways_rows", "ways_channels")]
_PIECES, _AXIS, _RULE, _OVERLAP = (
    Choice._fields.index(name) for name in ("pieces", "axis", "rule", "overlap")
)


class RunKernel(NamedTuple):
    """A sub-graph, the cycles of one of its instances on an empty machine, without launch, and what it needs of the
    links."""

    choice: Choice
    cycles: int
    links: LinkCycles


class RunKernels:
    """Kernels of runs of layers of one network on one machine; runs that look alike are looked at once."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._machine = evaluator.machine_table._replace(launch=0)
        self._supposed = supposed_scopes(evaluator.table, evaluator.machine_table)
        self._alike = AlikeStacks(evaluator.table, self._supposed)
        self._timed: dict[tuple[int, int, int], tuple[Ints, Ints]] = {}
        self._known: dict[tuple[int, int, int, int, int], tuple[RunKernel, ...]] = {}

    def where(self, in_llb: Ints) -> PlacedKernels:
        """Kernels where tensors (T,) are in the LLB or not. What enters a kernel is taken to be there where most of its
        bytes are, and so is what leaves."""
        table = self._evaluator.table
        sizes = table.tensor_rows * table.tensor_columns * table.tensor_channels * self._supposed
        return PlacedKernels(self, sizes.tolist(), (sizes * in_llb).tolist())

    def borders(self, first: int, stop: int) -> tuple[list[int], list[int]]:
        """The tensors that enter layers [first, stop), and those that leave them."""
        entries, exits = self._evaluator.templates.borders(first, stop)
        return entries.tolist(), exits.tolist()

    def of(
        self, first: int, stop: int, split: int, entries_in_dram: int, exits_in_dram: int
    ) -> tuple[RunKernel, ...]:
        """The fastest kernel for each number of cores that is faster than all on fewer, fewest cores first; none where
        nothing fits in so many slices of the batch. What enters and what leaves is in DRAM (1) or in the LLB (0)."""
        run = self._alike.of(first, stop), stop - first, split
        places = entries_in_dram, exits_in_dram
        if (*run, *places) not in self._known:
            if run not in self._timed:
                self._timed[run] = self._time(Choice(first, stop, split))
            self._known[*run, *places] = self._fastest(*self._timed[run], *places)
        found = self._known[*run, *places]
        return tuple(one._replace(choice=one.choice._replace(first=first, stop=stop)) for one in found)

    def _fastest(
        self, choices: Ints, times: Ints, entries_in_dram: int, exits_in_dram: int
    ) -> tuple[RunKernel, ...]:
        cycles = times[:, 2 * entries_in_dram + exits_in_dram]
        cores = choices[:, _WAYS].prod(axis=1)
        rows: list[int] = []
        for row in np.lexsort((cycles, cores)).tolist():
            if not rows or cycles[row] < cycles[rows[-1]]:
                rows = [other for other in rows if cores[other] < cores[row]]
                rows.append(row)
        return tuple(
            RunKernel(
                Choice(*choices[row].tolist()),
                int(cycles[row]),
                self._links(times[row], entries_in_dram, exits_in_dram),
            )
            for row in rows
        )

    def _time(self, given: Choice) -> tuple[Ints, Ints]:
        """(A, fields of Choice), and of one instance of each what `time_borders` says."""
        choices = bindings_that_fit(self._evaluator, given)
        return choices, time_borders(self._evaluator.table, self._machine, choices) // given.instances

    def _links(self, times: Ints, entries_in_dram: int, exits_in_dram: int) -> LinkCycles:
        """What a row of `_time` says with entries and exits in one memory or the other."""
        entered, left = times[ENTRY] * entries_in_dram, times[EXIT] * exits_in_dram
        return link_cycles(
            self._machine,
            int(times[4 + N_DRAM_READ] + entered),
            int(times[4 + N_DRAM_WRITE] + left),
            int(times[4 + N_LLB_READ] - entered),
            int(times[4 + N_LLB_WRITE] - left),
        )


class PlacedKernels:
    """Kernels of runs of layers where it is known which tensors are in the LLB."""

    def __init__(self, kernels: RunKernels, sizes: Sequence[int], sizes_in_llb: Sequence[int]) -> None:
        """Sizes of tensors that might be in the LLB, and of those that are there; 0 for the others."""
        self._kernels = kernels
        self._sizes = sizes
        self._sizes_in_llb = sizes_in_llb
        self._known: dict[tuple[int, int, int], tuple[RunKernel, ...]] = {}

    def of(self, first: int, stop: int, split: int) -> tuple[RunKernel, ...]:
        """As `RunKernels.of`."""
        run = first, stop, split
        if run not in self._known:
            entries, exits = self._kernels.borders(first, stop)
            self._known[run] = self._kernels.of(*run, self._in_dram(entries), self._in_dram(exits))
        return self._known[run]

    def _in_dram(self, tensors: Sequence[int]) -> int:
        """1 where most of the bytes of tensors that might be in the LLB are in DRAM."""
        there = sum(self._sizes_in_llb[tensor] for tensor in tensors)
        return int(2 * there < sum(self._sizes[tensor] for tensor in tensors))


def bindings_that_fit(evaluator: Evaluator, given: Choice) -> Ints:
    """(A, fields of Choice): a sub-graph in every binding whose ways divide the cores, with the first of PIECES that
    fit; those with which nothing does are left out. `given` says which layers, and how they are split. Layer after
    layer, weights not ahead."""
    cores, images = evaluator.machine.cores, evaluator.network.batch // given.split_batch
    divisors = [count for count in range(1, cores + 1) if cores % count == 0]
    ways = [
        each
        for each in product(divisors, repeat=3)
        if cores % (each[0] * each[1] * each[2]) == 0 and each[0] <= images
    ]
    left = np.tile(np.array(given, np.int64), (len(ways), 1))
    left[:, _WAYS] = ways
    left[:, _OVERLAP] = 0
    found: dict[tuple[int, ...], Ints] = {}
    for axis, pieces, flight in PIECES.tolist():
        if not len(left):
            break
        left[:, _AXIS], left[:, _PIECES] = axis, pieces
        left[:, _RULE] = RULE_SCALE if flight == 0 else max(RULE_SCALE, RULE_SCALE * 3 // flight)
        found.update((tuple(row[_WAYS].tolist()), row) for row in legal_choices(evaluator, left).choices)
        left = left[[tuple(each) not in found for each in left[:, _WAYS].tolist()]]
    rows = [found[each] for each in ways if each in found]
    return np.array(rows, np.int64).reshape(len(rows), len(Choice._fields))
