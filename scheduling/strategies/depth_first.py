"""`depth_first`: stacks of layers run tile by tile; stack cuts, tile sizes and halo modes are searched.

After DeFiNES (HPCA'23): the layers are cut into stacks, a stack's output into tiles of x columns and y rows, and what
neighbouring tiles share is computed again, cached along rows of tiles (`cache_columns`), or cached both ways: what
rows of tiles share in L1 or, where that does not hold it beside the rings, in the LLB, and where there is no room
either, in DRAM. A tile of the whole map is layer-by-layer inside a stack; a cut after every layer is single-layer. All
tiles of the grid are tried for every stack, each with every mode. A schedule of a stack costs the sum of its instances'
isolated times (or counts), where instances that look alike are lowered and timed once: the memoised tile types. Dynamic
programming over the cuts adds stacks up, for every number of stacks; the best chains are simulated, then neighbours of
the best ones (one stack in its next best ways, or with finer or coarser tiles) until none is better. The sums know
nothing of what one kernel hides of the next, and simulation does.

Inferred: the grid (the engine's unrolling times powers of 4, of 16 in large networks; neighbours halve and double; even
shares instead of a smaller last tile), and the order of pieces: they interleave over the layers (a = 1) where that fits
L1, else one piece runs through the whole stack before the next one. Weights stay in the weight buffer where they all
fit. A core has images of its own, as many slices of the batch as that takes; cores beyond the images share output
channels, or the axis that is streamed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from hwmodel.timing.counts import Counts
from hwmodel.timing.energy import energy_pj
from scheduling.candidates.defaults import Defaults
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
from scheduling.lowering.planning import kept_bytes
from scheduling.lowering.tables import Ints
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.strategies.dp import cut_points
from scheduling.strategies.options import simulated_cost
from scheduling.templates import Parts
from scheduling.timeline.isolated import lone_cycles

RATIO, COARSE_RATIO, SMALLEST = 4, 16, 4
"""Tiles are SMALLEST high and wide, or as much as the engine's unrolling, or that times powers of RATIO; of
COARSE_RATIO in networks with more than MANY_CUTS cuts."""

MANY_CUTS = 16

MOST_STACK = 12
"""Most cuts ahead at which a stack may end."""

CLIMBS = 4
"""Schedules, the best that were simulated first, whose neighbours are simulated."""

MOST_TILES = 8192
"""Tiles of a stack beyond which a tile is not tried."""

GIVE_UP_AFTER = 2
"""Stacks from a cut on that fit in no way, after which longer ones are not tried."""

MOST_CHAINS = 12
"""Chains of different numbers of stacks that are simulated, the least sums first."""

KEPT_EACH = 4
"""Ways to run a stack, the best by the sum, that are exchanged for simulation."""

SHARES = {Objective.LATENCY: (0.0,), Objective.ENERGY: (1.0,), Objective.EDP: (0.3, 0.5, 0.7)}
"""Weights of energy beside cycles, both relative to the default completion, of the sums that stand for an objective."""


class Stack(NamedTuple):
    """One way to run a stack: cycles, energy and off-core bytes of all its instances, each by itself."""

    choice: Choice
    cycles: int
    energy_pj: float
    off_core_bytes: int


def depth_first(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """The best chain of stacks; the default completion is among what is compared."""
    default = Defaults(problem.space).complete(())
    costs = {default: simulated_cost(problem, default, Rules())}
    left = problem.budget - 2  # the default is asked for once more, as the scale of sums
    if left < 1:
        return default, Rules()
    search = _Search(problem)

    def simulate(tried: Iterable[tuple[Choice, ...]]) -> None:
        for choices in tried:
            if len(costs) > left:
                return
            if choices not in costs:
                costs[choices] = simulated_cost(problem, choices, Rules())

    weights = search.weights(default)
    simulate(chain for each in weights for chain in search.chains(each))
    for start in sorted(costs, key=costs.__getitem__)[:CLIMBS]:
        best, better = start, True
        while better and len(costs) <= left:
            around = list(search.neighbours(best, weights[0]))
            simulate(around)
            nearest = min((c for c in around if c in costs), key=costs.__getitem__, default=best)
            better = costs[nearest] < costs[best]
            best = nearest if better else best
    return min(costs, key=costs.__getitem__), Rules()


Weights = tuple[float, float, float]
"""Of cycles, energy and off-core bytes in a sum."""


class _Search:
    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.evaluator = problem.evaluator
        self.cuts = cut_points(problem)
        batch, cores = self.evaluator.network.batch, self.evaluator.machine.cores
        self.images = max(w for w in (1 << k for k in range(11)) if batch % w == 0 and cores % w == 0)
        table = self.evaluator.machine_table
        self.ratio = RATIO if len(self.cuts) <= MANY_CUTS else COARSE_RATIO
        self.step = max(SMALLEST, table.f_rows, table.f_columns)
        self.plan = self.evaluator.supposed_plan()
        self.table = [self._from(at) for at in range(len(self.cuts) - 1)]

    def weights(self, default: tuple[Choice, ...]) -> list[Weights]:
        """The sums that stand for the objective."""
        if self.problem.objective is Objective.OFF_CORE:
            return [(1e-9, 0.0, 1.0)]
        scale = self.evaluator.evaluate(default, Rules())
        shares = SHARES[self.problem.objective]
        return [((1 - share) / scale.cycles, share / scale.energy_pj, 0.0) for share in shares]

    def chains(self, weights: Weights) -> list[tuple[Choice, ...]]:
        """For every number of stacks the chain with the least sum, by dynamic programming from the last cut to the
        first; the MOST_CHAINS best of them."""
        last = len(self.cuts) - 1
        least = np.full((last + 1, last + 1), np.inf)  # by cut and number of stacks from there on
        least[last, 0] = 0.0
        chosen: dict[tuple[int, int], tuple[Choice, int]] = {}
        for at in range(last - 1, -1, -1):
            for to, stacks in self.table[at].items():
                stack = min(stacks, key=lambda one: _sum(one, weights))
                for number in range(1, last - at + 1):
                    cost = _sum(stack, weights) + least[to, number - 1]
                    if cost < least[at, number]:
                        least[at, number] = cost
                        chosen[at, number] = stack.choice, to
        result = []
        for number in np.argsort(least[0], kind="stable")[:MOST_CHAINS].tolist():
            if not np.isfinite(least[0, number]):
                break
            chain, at = [], 0
            for left in range(number, 0, -1):
                choice, at = chosen[at, left]
                chain.append(choice)
            result.append(tuple(chain))
        return result

    def neighbours(self, choices: tuple[Choice, ...], weights: Weights) -> Iterator[tuple[Choice, ...]]:
        """A schedule with one stack in each of its next best ways by the sum, and with finer or coarser tiles."""
        for place, choice in enumerate(choices):
            if choice.first in self.cuts and choice.stop in self.cuts:
                stacks = self.table[self.cuts.index(choice.first)].get(self.cuts.index(choice.stop), [])
                for other in sorted(stacks, key=lambda stack: _sum(stack, weights))[:KEPT_EACH]:
                    yield (*choices[:place], other.choice, *choices[place + 1 :])
        yield from self.finer(choices)

    def finer(self, choices: tuple[Choice, ...]) -> Iterator[tuple[Choice, ...]]:
        """A schedule with the tiles of one stack half or twice as high or wide."""
        for place, choice in enumerate(choices):
            for up, down in ((2, 1), (1, 2)):
                for field in ("split_rows", "pieces" if choice.pieces > 1 else "split_columns"):
                    parts = getattr(choice, field) * up // down
                    tile = choice._replace(**{field: parts})
                    stack = self._stack(tile) if parts > 0 and tile != choice else None
                    if stack is not None:
                        yield (*choices[:place], stack.choice, *choices[place + 1 :])

    def _from(self, at: int) -> dict[int, list[Stack]]:
        """All stacks that begin at a cut, by the cut at which they end."""
        found: dict[int, list[Stack]] = {}
        failures = 0
        for to in range(at + 1, min(len(self.cuts), at + 1 + MOST_STACK)):
            stacks = [self._stack(choice) for choice in self._choices(self.cuts[at], self.cuts[to])]
            legal = [stack for stack in stacks if stack is not None]
            failures = 0 if legal else failures + 1
            if legal:
                found[to] = legal
            if failures >= GIVE_UP_AFTER:
                break
        return found

    def _choices(self, first: int, stop: int) -> Iterator[Choice]:
        """Every tile and mode; for a single layer, also what the other strategies choose from."""
        network = self.evaluator.network
        if stop == first + 1:
            rows = self.problem.space.all(first)
            for row in rows[rows[:, 1] == stop, :CHOICE_FIELDS].tolist():
                yield Choice(*row)
        exits = [network.tensors[t] for t in self.evaluator.templates.borders(first, stop)[1].tolist()]
        most_rows, most_columns = min(t.rows for t in exits), min(t.columns for t in exits)
        left = self.evaluator.machine.cores // self.images
        for channels, across in dict.fromkeys(((left, 1), (1, left), (1, 1))):
            whole = Choice(
                first,
                stop,
                split_batch=network.batch // self.images,
                ways_batch=self.images,
                ways_rows=across,
                ways_channels=channels,
            )
            yield whole
            heights, widths = (_parts(size, self.step, self.ratio) for size in (most_rows, most_columns))
            for high, wide in product(heights, widths):
                if high * wide > MOST_TILES:
                    continue
                if high * wide > 1:
                    yield whole._replace(split_rows=high, split_columns=wide)
                if wide > 1:
                    streamed = whole._replace(split_rows=high, pieces=wide, axis=COLUMNS)
                    yield streamed
                    if high > 1:
                        yield streamed._replace(halo=CACHE)
                elif high > 1:
                    yield whole._replace(pieces=high, axis=ROWS)

    def _stack(self, choice: Choice) -> Stack | None:
        """A choice with its figures, pieces interleaved or else one after the other, weights kept where they fit,
        overlaps in the lowest memory that holds them; None where it does not fit."""
        evaluator = self.evaluator
        total = kept_bytes(evaluator.table, choice, evaluator.machine.element_bytes)
        keeps = choice.slices > 1 and total <= evaluator.machine.memories.weights.bytes
        serial = RULE_SCALE * (choice.stop - choice.first + 2)
        rules = dict.fromkeys((choice.rule, serial) if choice.pieces > 1 else (choice.rule,))
        try:
            halos = self._halos(choice)
        except IllegalSchedule:
            return None
        for halo, rule in product(halos, rules):
            try:
                return self._timed(choice._replace(rule=rule, keep_weights=int(keeps), halo=halo))
            except IllegalSchedule:
                continue
        return None

    def _halos(self, choice: Choice) -> tuple[int, ...]:
        """The halo modes of a choice: where it caches, in L1, or else in the lowest shared memory with room for it.
        Raises IllegalSchedule where the choice cannot be."""
        if choice.halo == RECOMPUTE:
            return (RECOMPUTE,)
        llb_bytes = self.evaluator.machine_table.llb_bytes
        in_llb = choice._replace(halo=CACHE_LLB)
        if llb_bytes and self.evaluator.templates.shared_cache_bytes(in_llb) <= llb_bytes:
            return CACHE, CACHE_LLB
        return CACHE, CACHE_DRAM

    def _timed(self, choice: Choice) -> Stack:
        evaluator = self.evaluator
        rows, columns = evaluator.templates.alike(choice)
        kinds = Counter(
            (row, column, choice.keep_weights == 1 and number > 0)
            for number, (row, column) in enumerate(product(rows, columns))
        )
        cycles = 0
        counts = np.zeros(len(Counts._fields), np.int64)
        inner: Ints | int = 0
        for (row, column, kept), times in kinds.items():
            lowered = evaluator.templates.lower(choice, 0, Parts(row, column, 0), kept, self.plan)
            cycles += times * lone_cycles(evaluator.machine_table, lowered.rows)
            counts += times * lowered.counts
            inner = inner + times * lowered.inner
        summed = Counts(*(choice.split_batch * counts).tolist())
        below = evaluator.inner_counts(np.asarray(choice.split_batch * inner).tolist())
        energy = energy_pj(summed, evaluator.machine, below)
        return Stack(choice, choice.split_batch * int(cycles), energy, summed.off_core_bytes)


def _sum(stack: Stack, weights: Weights) -> float:
    return weights[0] * stack.cycles + weights[1] * stack.energy_pj + weights[2] * stack.off_core_bytes


def _parts(size: int, step: int, ratio: int) -> list[int]:
    """1, and into how many parts `size` falls when they are of `step`, step x ratio, ..."""
    counts = [1]
    while step < size:
        counts.append(-(-size // step))
        step *= ratio
    return sorted(set(counts))
