"""List scheduling of kernels on ranges of cores: which instances run side by side, estimated from their lone times.

A task is an instance, or the instances of a slice of the batch that must follow one another. Tasks are taken in the
order of the longest way from them to the end (their bottom level; Graham 1969, Coffman 1976), as soon as all have been
that they read, and go to the cores that can start them first. So a packing comes about: one step, in which instances
wait for what they read. Then they are timed once more in the order in which they begin, since all share the links to
the LLB and to DRAM: none ends before a link has served it and all that began before it.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from scheduling.choice import Choice
from scheduling.core_groups.core_ranges import CoreRanges
from scheduling.core_groups.links import NO_LINKS, LinkCycles
from scheduling.lowering.tables import NetworkTable
from scheduling.timeline.packing import Packing, Placement, Step
from scheduling.timeline.slices import touching

MOST_WAVES = 48
"""Waves of a packing, or a few more."""


class Block(NamedTuple):
    """A sub-graph, the cycles of each of its tasks by itself, and what one of them needs of the links."""

    choice: Choice
    cycles: tuple[int, ...]
    links: LinkCycles = NO_LINKS

    @property
    def all_cycles(self) -> int:
        """Of all tasks one after the other."""
        return sum(self.cycles)


def together(choice: Choice) -> int:
    """How many instances of a sub-graph make a task."""
    return choice.slices if choice.consecutive else 1


class _Placed(NamedTuple):
    """A task and its place; ordered by when it begins."""

    start: int
    task: int
    end: int
    first_core: int


class Listed:
    """The tasks of blocks, placed on cores; `makespan` in cycles is when the last one ends, without launch, with links
    shared."""

    def __init__(self, table: NetworkTable, blocks: Sequence[Block], cores: int) -> None:
        self._blocks = blocks
        self._owner = [b for b, block in enumerate(blocks) for _ in block.cycles]
        self._start = [0]
        for block in blocks:
            self._start.append(self._start[-1] + len(block.cycles))
        reads = self._reads(table)
        self._placed = sorted(self._place(reads, cores))
        self.makespan = self._with_links(reads, cores)

    def packing(self) -> Packing:
        """The instances in one step in the order in which they begin. Tasks share a wave while the first to end of it
        has not ended, and while it is short: what is made in a later wave may take the place in the LLB of what is read
        in an earlier one, and then waits for it, so waves should be few."""
        members: list[Placement] = []
        shortest = max(placed.end for placed in self._placed) // MOST_WAVES
        wave, wave_start, wave_end = 0, 0, self._placed[0].end
        for placed in self._placed:
            block = self._owner[placed.task]
            choice = self._blocks[block].choice
            many = together(choice)
            if placed.start >= max(wave_end, wave_start + shortest):
                wave, wave_start, wave_end = wave + 1, placed.start, placed.end
            wave_end = min(wave_end, placed.end)
            first = (placed.task - self._start[block]) * many
            members += [
                Placement(block, instance, placed.first_core, wave) for instance in range(first, first + many)
            ]
        return Packing((Step(tuple(members)),))

    def _with_links(self, reads: Sequence[Sequence[int]], cores: int) -> int:
        free, served = [0] * cores, [0] * len(NO_LINKS)
        ends = [0] * len(reads)
        for placed in self._placed:
            block = self._blocks[self._owner[placed.task]]
            taken = range(placed.first_core, placed.first_core + block.choice.cores)
            start = max(max(free[core] for core in taken), *(ends[made] for made in reads[placed.task]), 0)
            end = start + placed.end - placed.start
            for link, cycles in enumerate(block.links):
                if cycles:
                    served[link] = max(served[link], start) + cycles
                    end = max(end, served[link])
            for core in taken:
                free[core] = end
            ends[placed.task] = end
        return max(ends, default=0)

    def _place(self, reads: Sequence[Sequence[int]], cores: int) -> list[_Placed]:
        readers: list[list[int]] = [[] for _ in reads]
        for task, made_by in enumerate(reads):
            for other in made_by:
                readers[other].append(task)
        cycles = [cycles for block in self._blocks for cycles in block.cycles]
        level = list(cycles)
        for task in range(len(level) - 1, -1, -1):  # tasks are in topological order
            level[task] += max((level[reader] for reader in readers[task]), default=0)
        missing = [len(made_by) for made_by in reads]
        ready = [0] * len(reads)
        waiting = [(-level[task], task) for task, count in enumerate(missing) if not count]
        heapq.heapify(waiting)
        ranges = CoreRanges(cores)
        placed = []
        while waiting:
            task = heapq.heappop(waiting)[1]
            given = ranges.place(self._blocks[self._owner[task]].choice.cores, ready[task], cycles[task])
            placed.append(_Placed(given.start, task, given.end, given.first_core))
            for reader in readers[task]:
                ready[reader] = max(ready[reader], given.end)
                missing[reader] -= 1
                if not missing[reader]:
                    heapq.heappush(waiting, (-level[reader], reader))
        return placed

    def _reads(self, table: NetworkTable) -> list[list[int]]:
        """For each task those that make what it reads."""
        choices = [block.choice for block in self._blocks]
        found: list[list[int]] = []
        for block, sources in enumerate(sources_of(table, choices)):
            reader = choices[block]
            per_slice = reader.slices // together(reader)
            for task in range(len(self._blocks[block].cycles)):
                made_by: list[int] = []
                for source in sources:
                    made = choices[source]
                    low, high = touching(task // per_slice, reader.split_batch, made.split_batch, table.batch)
                    each = made.slices // together(made)
                    made_by += range(self._start[source] + low * each, self._start[source] + high * each)
                found.append(made_by)
        return found


def sources_of(table: NetworkTable, choices: Sequence[Choice]) -> list[list[int]]:
    """For each sub-graph those that make what it reads, ascending."""
    home = [s for s, choice in enumerate(choices) for _ in range(choice.first, choice.stop)]
    producer, tensors, start = table.producer.tolist(), table.edge_tensor.tolist(), table.edge_start.tolist()
    found = []
    for s, choice in enumerate(choices):
        made_by = {producer[tensor] for tensor in tensors[start[choice.first] : start[choice.stop]]}
        found.append(sorted({home[layer] for layer in made_by if layer >= 0} - {s}))
    return found
