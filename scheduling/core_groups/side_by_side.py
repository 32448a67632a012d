"""List scheduling of kernels on ranges of cores: which instances run side by side, estimated from their lone times.

A task is an instance, or the instances of a slice of the batch that must follow one another. Tasks are taken in the
order of the longest way from them to the end (their bottom level; Graham 1969, Coffman 1976), as soon as all have been
that they read, and go to the cores that can start them first. So a packing comes about: one step, in which instances
wait for what they read. Then they are timed once more in the order in which they begin, since all share the links to
the LLB and to DRAM: none ends before a link has served it and all that began before it.
"""

from __future__ import annotations

import heapq
import math
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


class _Shape(NamedTuple):
    """Of a sub-graph: its cores, slices of the batch, and tasks for each of them."""

    cores: int
    split: int
    per_slice: int


class _Tasks(NamedTuple):
    """The tasks of blocks, block after block, so that each comes behind those that it reads."""

    owner: list[int]
    """The block of each."""
    first: list[int]
    """The first of each block, and how many there are."""
    cores: list[int]
    cycles: list[int]
    reads: list[list[int]]
    level: list[int]
    """Cycles of the longest way from the beginning of each to the end."""


class ListScheduler:
    """List schedules of the layers of one network on so many cores."""

    def __init__(self, table: NetworkTable, cores: int) -> None:
        self._batch = table.batch
        self._cores = cores
        self._made_by = _layers_read(table)
        self._read_from: dict[tuple[int, int], list[int]] = {}
        self._touched: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._shapes: dict[Choice, _Shape] = {}

    def makespan(self, blocks: Sequence[Block], limit: float = math.inf) -> float:
        """When the last task of blocks that hold all layers in order ends, in cycles, without launch, with links
        shared; infinite if that is not before `limit`, which the way that is left from a task to the end may say
        early."""
        tasks = self._tasks(blocks)
        placed = self._place(tasks, limit)
        if len(placed) < len(tasks.cycles):
            return math.inf
        return self._with_links(blocks, tasks, placed, limit)

    def packing(self, blocks: Sequence[Block]) -> Packing:
        """The instances in one step in the order in which they begin. Tasks share a wave while the first to end of it
        has not ended, and while it is short: what is made in a later wave may take the place in the LLB of what is read
        in an earlier one, and then waits for it, so waves should be few."""
        tasks = self._tasks(blocks)
        all_placed = self._place(tasks, math.inf)
        members: list[Placement] = []
        shortest = max(placed.end for placed in all_placed) // MOST_WAVES
        wave, wave_start, wave_end = 0, 0, all_placed[0].end
        for placed in all_placed:
            block = tasks.owner[placed.task]
            choice = blocks[block].choice
            many = together(choice)
            if placed.start >= max(wave_end, wave_start + shortest):
                wave, wave_start, wave_end = wave + 1, placed.start, placed.end
            wave_end = min(wave_end, placed.end)
            first = (placed.task - tasks.first[block]) * many
            members += [
                Placement(block, instance, placed.first_core, wave) for instance in range(first, first + many)
            ]
        return Packing((Step(tuple(members)),))

    def sources(self, choices: Sequence[Choice]) -> list[list[int]]:
        """For each sub-graph those that make what it reads, ascending."""
        home = [s for s, choice in enumerate(choices) for _ in range(choice.first, choice.stop)]
        return [sorted({home[made] for made in self._outside(c.first, c.stop)}) for c in choices]

    def _outside(self, first: int, stop: int) -> list[int]:
        """The layers before [first, stop) that make what these read."""
        run = first, stop
        if run not in self._read_from:
            made_by = {made for layer in range(first, stop) for made in self._made_by[layer]}
            self._read_from[run] = sorted(made for made in made_by if made < first)
        return self._read_from[run]

    def _shape(self, choice: Choice) -> _Shape:
        if choice not in self._shapes:
            per_slice = choice.slices // together(choice)
            self._shapes[choice] = _Shape(choice.cores, choice.split_batch, per_slice)
        return self._shapes[choice]

    def _tasks(self, blocks: Sequence[Block]) -> _Tasks:
        shapes = [self._shape(block.choice) for block in blocks]
        owner: list[int] = []
        cores: list[int] = []
        cycles: list[int] = []
        first = [0]
        for b, (block, shape) in enumerate(zip(blocks, shapes, strict=True)):
            many = len(block.cycles)
            first.append(first[-1] + many)
            owner += [b] * many
            cores += [shape.cores] * many
            cycles += block.cycles
        reads = self._reads(self.sources([block.choice for block in blocks]), shapes, first)
        level = [0] * len(cycles)  # first of those that read, of each the longest way
        for task in range(len(level) - 1, -1, -1):
            here = level[task] = level[task] + cycles[task]
            for made in reads[task]:
                if level[made] < here:
                    level[made] = here
        return _Tasks(owner, first, cores, cycles, reads, level)

    def _reads(
        self, sources: Sequence[Sequence[int]], shapes: Sequence[_Shape], first: Sequence[int]
    ) -> list[list[int]]:
        """For each task those that make what it reads."""
        found: list[list[int]] = []
        for (_, split, per_slice), made_in in zip(shapes, sources, strict=True):
            for part in range(split):
                made_by: list[int] = []
                for source in made_in:
                    _, other_split, each = shapes[source]
                    low, high = self._touching(split, other_split)[part]
                    made_by += range(first[source] + low * each, first[source] + high * each)
                found += [made_by] * per_slice
        return found

    def _touching(self, parts: int, other_parts: int) -> list[tuple[int, int]]:
        """Which of `other_parts` even slices of the batch each of `parts` touches: [first, stop)."""
        key = parts, other_parts
        if key not in self._touched:
            self._touched[key] = [touching(part, parts, other_parts, self._batch) for part in range(parts)]
        return self._touched[key]

    def _place(self, tasks: _Tasks, limit: float) -> list[_Placed]:
        """All tasks in the order in which they begin; only some where the last one does not end before the limit."""
        _, _, cores, cycles, reads, level = tasks
        readers: list[list[int]] = [[] for _ in reads]
        for task, made_by in enumerate(reads):
            for other in made_by:
                readers[other].append(task)
        missing = [len(made_by) for made_by in reads]
        ready = [0] * len(reads)
        waiting = [(-level[task], task) for task, count in enumerate(missing) if not count]
        heapq.heapify(waiting)
        ranges = CoreRanges(self._cores)
        placed = []
        while waiting:
            task = heapq.heappop(waiting)[1]
            first_core, start, end = ranges.place(cores[task], ready[task], cycles[task])
            if start + level[task] >= limit:
                break
            placed.append(_Placed(start, task, end, first_core))
            for reader in readers[task]:
                if ready[reader] < end:
                    ready[reader] = end
                missing[reader] -= 1
                if not missing[reader]:
                    heapq.heappush(waiting, (-level[reader], reader))
        placed.sort()
        return placed

    def _with_links(
        self, blocks: Sequence[Block], tasks: _Tasks, placed: Sequence[_Placed], limit: float
    ) -> float:
        """When the last task ends where each waits for its links too, so that none begins sooner than it was placed;
        infinite if that is not before the limit."""
        ranges, served = CoreRanges(self._cores), [0] * len(NO_LINKS)
        ends = [0] * len(placed)
        makespan = 0
        for placed_start, task, placed_end, first_core in placed:
            cores = tasks.cores[task]
            start = ranges.free(first_core, cores)
            for made in tasks.reads[task]:
                if ends[made] > start:
                    start = ends[made]
            end = start + placed_end - placed_start
            for link, cycles in enumerate(blocks[tasks.owner[task]].links):
                if cycles:
                    served[link] = max(served[link], start) + cycles
                    end = max(end, served[link])
            if end + tasks.level[task] - tasks.cycles[task] >= limit:
                return math.inf
            ranges.hold(first_core, cores, end)
            ends[task] = end
            makespan = max(makespan, end)
        return makespan


def _layers_read(table: NetworkTable) -> list[list[int]]:
    """For each layer those that make what it reads."""
    producer, tensors, start = table.producer.tolist(), table.edge_tensor.tolist(), table.edge_start.tolist()
    found = []
    for layer in range(len(start) - 1):
        made_by = {producer[tensor] for tensor in tensors[start[layer] : start[layer + 1]]}
        found.append(sorted(made for made in made_by if made >= 0))
    return found
