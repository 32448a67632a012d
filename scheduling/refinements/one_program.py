"""A schedule as one program: all instances in one launch, side by side where that is faster.

For machines that run kernels concurrently. List scheduling puts the instances on ranges of cores
(scheduling.core_groups.side_by_side), as Rammer's policy (OSDI'20) puts layers. In a program launches are no reason for
large sub-graphs, and a kernel need not fill the machine. So the search starts from the sub-graphs as they are given or
from single layers, whichever program is estimated shorter, and goes through them from front to back: one joins its
neighbour, is cut in two, or gets another kernel (scheduling.core_groups.run_kernels), on all cores or on fewer, where
the list schedule becomes shorter. Every round is simulated, and the next one takes tensors to be where that has
them. What is kept is the cheapest that was simulated. Sub-graphs in tiles, in slices over channels, or with
several bindings stay as they are.

Inferred: all of the search; Rammer fuses nothing and has one kernel for each layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import add

from scheduling.choice import Choice
from scheduling.core_groups.links import NO_LINKS, LinkCycles, link_cycles
from scheduling.core_groups.run_kernels import PlacedKernels, RunKernels
from scheduling.core_groups.side_by_side import Block, ListScheduler, together
from scheduling.lowering.rows import (
    C_HOLD,
    C_LATENCY,
    C_OP,
    N_DRAM_READ,
    N_DRAM_WRITE,
    N_LLB_READ,
    N_LLB_WRITE,
    OP_LAUNCH,
)
from scheduling.problem import Problem, State, simulated_cost
from scheduling.refinements.subgraphs import whole
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.isolated import lone_cycles

ROUNDS = 4
"""Rounds of local search at most, each followed by a simulation."""

MOST_CUTS = 8
"""Places at which a sub-graph may be cut in two: those that the fewest bytes cross."""

MOST_JOINED = 12
"""Layers of a sub-graph that came about by joining, at most."""

FORMS = 2
"""Of the splits of the batch with which a run of layers fits, as many as this are tried, the coarsest first."""

MOST_PLACED = 400_000
"""So many tasks are placed by list scheduling at most."""


_CROSSING = [N_DRAM_READ, N_DRAM_WRITE, N_LLB_READ, N_LLB_WRITE]


def best_program(problem: Problem, state: State) -> State:
    """The cheapest program that is found from a schedule within the budget, or the schedule itself."""
    return _Search(problem, state).best


class _Search:
    """The search for a program; `best` is the cheapest schedule that was simulated."""

    def __init__(self, problem: Problem, state: State) -> None:
        evaluator = problem.evaluator
        self._problem = problem
        self._evaluator = evaluator
        self._cores = evaluator.machine.cores
        self._last = evaluator.evaluations + problem.budget
        self._kernels = RunKernels(evaluator)
        self._scheduler = ListScheduler(evaluator.table, self._cores)
        self._left = MOST_PLACED
        self.best = state
        choices, rules = state
        self._cost = simulated_cost(problem, choices, rules)
        plan = evaluator.arrange(choices, rules)
        blocks = self._timed(choices, plan)
        kernels, _ = self._try(blocks, self._kernels.where(plan.in_llb))
        if self._spent:
            return
        blocks = self._start(blocks, kernels)
        before = math.inf
        for _ in range(ROUNDS):
            if self._spent:
                break
            blocks = self._round(blocks, kernels)
            kernels, cost = self._try(blocks, kernels)
            if cost >= before:
                break
            before = cost
            blocks = [self._fastest_of(block, kernels, block.choice.cores) for block in blocks]
        self._try_overlap()

    @property
    def _spent(self) -> bool:
        return self._evaluator.evaluations >= self._last or self._left <= 0

    def _timed(self, choices: Sequence[Choice], plan: Arrangement) -> list[Block]:
        """Sub-graphs as they are, with the times of their tasks."""
        evaluator = self._evaluator
        machine, templates = evaluator.machine_table, evaluator.templates.of(choices, plan)
        known: dict[int, int] = {}
        cycles = [[0] * (choice.instances // together(choice)) for choice in choices]
        links = [NO_LINKS] * len(choices)
        for template, s, instance in zip(
            templates, plan.subgraph.tolist(), plan.instance.tolist(), strict=True
        ):
            if template.index not in known:
                rows = template.lowered.rows.copy()
                rows[rows[:, C_OP] == OP_LAUNCH, C_HOLD] = 0
                rows[rows[:, C_OP] == OP_LAUNCH, C_LATENCY] = 0
                known[template.index] = int(lone_cycles(machine, rows))
            cycles[s][instance // together(choices[s])] += known[template.index]
            if instance < together(choices[s]):
                crossing = evaluator.templates.store.counts[template.index][_CROSSING].tolist()
                links[s] = LinkCycles(*map(add, links[s], link_cycles(machine, *crossing)))
        return [Block(*each) for each in zip(choices, map(tuple, cycles), links, strict=True)]

    def _makespan(self, blocks: Sequence[Block], limit: float = math.inf) -> float:
        self._left -= sum(len(block.cycles) for block in blocks)
        return self._scheduler.makespan(blocks, limit)

    def _try(self, blocks: Sequence[Block], kernels: PlacedKernels) -> tuple[PlacedKernels, float]:
        """Simulate a program: kernels where its tensors are, and its cost; or those given where it does not fit."""
        choices = tuple(block.choice for block in blocks)
        rules = replace(self.best[1], packing=self._scheduler.packing(blocks))
        cost = self._keep_cheaper((choices, rules))
        if cost < math.inf:
            kernels = self._kernels.where(self._evaluator.arrange(choices, rules).in_llb)
        return kernels, cost

    def _keep_cheaper(self, state: State) -> float:
        cost = simulated_cost(self._problem, *state)
        if cost < self._cost:
            self.best, self._cost = state, cost
        return cost

    def _try_overlap(self) -> None:
        """Weights of all kernels loaded ahead, and of none."""
        choices, rules = self.best
        for overlap in (1, 0):
            if self._evaluator.evaluations < self._last:
                self._keep_cheaper((tuple(choice._replace(overlap=overlap) for choice in choices), rules))

    def _start(self, blocks: Sequence[Block], kernels: PlacedKernels) -> list[Block]:
        """The sub-graphs as they are given, or the layers of the whole ones apart, with kernels on at most so many
        cores: of each number the shortest list schedule."""
        starts = [list(blocks)]
        for most_cores in (count for count in range(1, self._cores + 1) if self._cores % count == 0):
            starts.append([self._fastest_of(block, kernels, most_cores) for block in blocks])
            apart: list[Block] = []
            for block in blocks:
                layers = range(block.choice.first, block.choice.stop)
                found = [self._fastest(layer, layer + 1, kernels, most_cores) for layer in layers]
                known = [layer for layer in found if layer is not None]
                apart += known if whole(block.choice) and len(known) == len(layers) else [block]
            starts.append(apart)
        return min(starts, key=self._makespan)

    def _fastest_of(self, block: Block, kernels: PlacedKernels, most_cores: int) -> Block:
        """A block with its fastest kernel on at most so many cores; itself where none is known."""
        if not whole(block.choice):
            return block
        return self._fastest(block.choice.first, block.choice.stop, kernels, most_cores) or block

    def _fastest(self, first: int, stop: int, kernels: PlacedKernels, most_cores: int) -> Block | None:
        forms = self._forms(first, stop, kernels, most_cores)
        return min(forms, key=lambda form: form.all_cycles, default=None)

    def _forms(self, first: int, stop: int, kernels: PlacedKernels, most_cores: int) -> list[Block]:
        """The fastest kernel of a run of layers on at most so many cores, for each of the splits that are tried; that
        on the fewest where all have more."""
        found: list[Block] = []
        for split in self._problem.space.splits.tolist():
            known = kernels.of(first, stop, split)
            if known:
                kernel = next((k for k in reversed(known) if k.choice.cores <= most_cores), known[0])
                found.append(Block(kernel.choice, (kernel.cycles,) * split, kernel.links))
            if len(found) == FORMS:
                break
        return found

    def _round(self, blocks: list[Block], kernels: PlacedKernels) -> list[Block]:
        """Joins, cuts and then other numbers of cores, each taken where the list schedule becomes shorter."""
        shortest = self._makespan(blocks)
        at = 0
        while at < len(blocks) and self._left > 0:
            for stop, new in self._changes(blocks, at, kernels):
                if sum(b.all_cycles for b in new) >= sum(b.all_cycles for b in blocks[at:stop]):
                    continue
                changed = [*blocks[:at], *new, *blocks[stop:]]
                makespan = self._makespan(changed, shortest)
                if makespan < shortest:
                    blocks, shortest = changed, makespan
                    break
            else:
                at += 1
        return self._spread(blocks, shortest, kernels)

    def _changes(
        self, blocks: Sequence[Block], at: int, kernels: PlacedKernels
    ) -> Iterator[tuple[int, list[Block]]]:
        """(stop, new) where blocks [at, stop) may give place to `new`: joined with the next one, or cut in two; on all
        cores, or on no more than before."""
        one = blocks[at].choice
        if not whole(one):
            return
        if at + 1 < len(blocks):
            two = blocks[at + 1].choice
            if whole(two) and two.stop - one.first <= MOST_JOINED:
                for most_cores in sorted({max(one.cores, two.cores), self._cores}):
                    for joined in self._forms(one.first, two.stop, kernels, most_cores):
                        yield at + 2, [joined]
        crossing = self._problem.space.border_bytes
        cuts = sorted(range(one.first + 1, one.stop), key=lambda cut: int(crossing[cut]))[:MOST_CUTS]
        for cut in cuts:
            for most_cores in sorted({one.cores, self._cores}):
                runs = (one.first, cut), (cut, one.stop)
                parts = [self._fastest(*run, kernels, most_cores) for run in runs]
                found = [part for part in parts if part is not None]
                if len(found) == len(parts):
                    yield at + 1, found

    def _spread(self, blocks: list[Block], shortest: float, kernels: PlacedKernels) -> list[Block]:
        """More or fewer cores for sub-graphs that need not wait for each other, or have slices that need not."""
        for at in _apart(self._scheduler.sources([block.choice for block in blocks]), blocks):
            choice = blocks[at].choice
            if not whole(choice):
                continue
            for kernel in kernels.of(choice.first, choice.stop, choice.split_batch):
                if kernel.choice.cores == blocks[at].choice.cores:
                    continue
                if self._left <= 0:
                    return blocks
                block = Block(kernel.choice, (kernel.cycles,) * choice.split_batch, kernel.links)
                changed = [*blocks[:at], block, *blocks[at + 1 :]]
                makespan = self._makespan(changed, shortest)
                if makespan < shortest:
                    blocks, shortest = changed, makespan
        return blocks


def _apart(sources: Sequence[Sequence[int]], blocks: Sequence[Block]) -> list[int]:
    """Blocks of several instances, or such that some other one neither needs nor is needed by them; `sources` says for
    each which ones make what it reads."""
    needs = [0] * len(blocks)  # as bits
    for s, made_by in enumerate(sources):
        for source in made_by:
            needs[s] |= needs[source] | 1 << source
    needed = [0] * len(blocks)
    for s, found in enumerate(needs):
        needed = [by | (found >> q & 1) << s for q, by in enumerate(needed)]
    return [
        s
        for s, block in enumerate(blocks)
        if block.choice.instances > 1 or (needs[s] | needed[s]).bit_count() < len(blocks) - 1
    ]
