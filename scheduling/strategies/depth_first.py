"""`depth_first`: stacks of layers run tile by tile; stack cuts, tile sizes and halo modes are searched.

After DeFiNES (HPCA'23): the layers are cut into stacks, a stack's output into tiles of x columns and y rows, and what
neighbouring tiles share is computed again, cached along rows of tiles (`cache_columns`), or cached both ways: what
rows of tiles share in L1 or, where that does not hold it beside the rings, in the LLB, and where there is no room
either, in DRAM. A tile of the whole map is layer-by-layer inside a stack; a cut after every layer is single-layer. A
schedule of a stack costs the sum of its instances' isolated times (or counts); of all tiles of the grid and all modes
the one that costs least counts (`scheduling.strategies.stacks`). Dynamic programming over the cuts adds stacks up, for
every number of stacks; the best chains are simulated, then neighbours of the best ones (one stack in its next best
ways, or with finer or coarser tiles) until none is better. The sums know nothing of what one kernel hides of the next,
and simulation does.

Inferred: the grid (the engine's unrolling times powers of 4, of 16 in large networks; neighbours halve and double; even
shares instead of a smaller last tile), and the order of pieces: they interleave over the layers (a = 1) where that fits
L1, else one piece runs through the whole stack before the next one. Weights stay in the weight buffer where they all
fit. A core has images of its own, as many slices of the batch as that takes; cores beyond the images share output
channels, or the axis that is streamed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from scheduling.candidates.defaults import Defaults
from scheduling.chains.offered import cut_points
from scheduling.choice import Choice
from scheduling.objective import Objective
from scheduling.problem import Problem, simulated_cost
from scheduling.rules import Rules
from scheduling.strategies.stacks import Stacks, Weights

RATIO, COARSE_RATIO = 4, 16
"""Of a tile's side to the next smaller one; COARSE_RATIO in networks with more than MANY_CUTS cuts."""

MANY_CUTS = 16

MOST_STACK = 12
"""Most cuts ahead at which a stack may end."""

CLIMBS = 4
"""Schedules, the best that were simulated first, whose neighbours are simulated."""

GIVE_UP_AFTER = 2
"""Stacks from a cut on that fit in no way, after which longer ones are not tried."""

MOST_CHAINS = 12
"""Chains of different numbers of stacks that are simulated, the least sums first."""

KEPT_EACH = 4
"""Ways to run a stack, the best by the sum, that are exchanged for simulation."""

SHARES = {Objective.LATENCY: (0.0,), Objective.ENERGY: (1.0,), Objective.EDP: (0.3, 0.5, 0.7)}
"""Weights of energy beside cycles, both relative to the default completion, of the sums that stand for an objective."""


def depth_first(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """Stacks of layers tile by tile: cuts, tile sizes and halo modes searched; the default completion is compared."""
    default = Defaults(problem.space).complete(())
    costs = {default: simulated_cost(problem, default, Rules())}
    left = problem.budget - 2  # the default is asked for once more, as the scale of sums
    if left < 1:
        return default, Rules()
    weights = _weights(problem, default)
    search = _Search(problem, weights[0])

    def simulate(tried: Iterable[tuple[Choice, ...]]) -> Iterator[tuple[Choice, ...]]:
        """Those that are simulated by now, until the budget is spent."""
        for choices in tried:
            if choices not in costs:
                if len(costs) > left:
                    return
                costs[choices] = simulated_cost(problem, choices, Rules())
            yield choices

    for each in weights:
        deque(simulate(search.chains(each)), maxlen=0)
    for start in sorted(costs, key=costs.__getitem__)[:CLIMBS]:
        best, better = start, True
        while better and len(costs) <= left:
            nearest = min(simulate(search.neighbours(best)), key=costs.__getitem__, default=best)
            better = costs[nearest] < costs[best]
            best = nearest if better else best
    return min(costs, key=costs.__getitem__), Rules()


def _weights(problem: Problem, default: tuple[Choice, ...]) -> list[Weights]:
    """The sums that stand for the objective."""
    if problem.objective is Objective.OFF_CORE:
        return [(1e-9, 0.0, 1.0)]
    scale = problem.evaluator.evaluate(default, Rules())
    shares = SHARES[problem.objective]
    return [((1 - share) / scale.cycles, share / scale.energy_pj, 0.0) for share in shares]


class _Search:
    """Chains of stacks, and neighbours of schedules by the sum of `weights`."""

    def __init__(self, problem: Problem, weights: Weights) -> None:
        self.weights = weights
        self.cuts = cut_points(problem)
        self.stacks = Stacks(problem, RATIO if len(self.cuts) <= MANY_CUTS else COARSE_RATIO)
        self.ends = [self._ends(at) for at in range(len(self.cuts) - 1)]

    def chains(self, weights: Weights) -> list[tuple[Choice, ...]]:
        """For every number of stacks the chain with the least sum, by dynamic programming from the last cut to the
        first; the MOST_CHAINS best of them."""
        last = len(self.cuts) - 1
        least = np.full((last + 1, last + 1), np.inf)  # by cut and number of stacks from there on
        least[last, 0] = 0.0
        ends = np.zeros((last + 1, last + 1), np.int64)
        stacks: dict[tuple[int, int], Choice] = {}
        for at in range(last - 1, -1, -1):
            for to in self.ends[at]:
                (stack,) = self.stacks.best(self.cuts[at], self.cuts[to], weights, 1)
                stacks[at, to] = stack.choice
                costs = stack.sum(weights) + least[to, :-1]
                better = costs < least[at, 1:]
                least[at, 1:][better] = costs[better]
                ends[at, 1:][better] = to
        result = []
        for number in np.argsort(least[0], kind="stable")[:MOST_CHAINS].tolist():
            if not np.isfinite(least[0, number]):
                break
            chain, at = [], 0
            for left in range(number, 0, -1):
                to = int(ends[at, left])
                chain.append(stacks[at, to])
                at = to
            result.append(tuple(chain))
        return result

    def neighbours(self, choices: tuple[Choice, ...]) -> Iterator[tuple[Choice, ...]]:
        """A schedule with one stack in each of its next best ways by the sum, and with finer or coarser tiles."""
        for place, choice in enumerate(choices):
            if self._is_stack(choice):
                for other in self.stacks.best(choice.first, choice.stop, self.weights, KEPT_EACH):
                    yield (*choices[:place], other.choice, *choices[place + 1 :])
        yield from self.finer(choices)

    def finer(self, choices: tuple[Choice, ...]) -> Iterator[tuple[Choice, ...]]:
        """A schedule with the tiles of one stack half or twice as high or wide."""
        for place, choice in enumerate(choices):
            for up, down in ((2, 1), (1, 2)):
                for field in ("split_rows", "pieces" if choice.pieces > 1 else "split_columns"):
                    parts = getattr(choice, field) * up // down
                    tile = choice._replace(**{field: parts})
                    stack = self.stacks.timed(tile) if parts > 0 and tile != choice else None
                    if stack is not None:
                        yield (*choices[:place], stack.choice, *choices[place + 1 :])

    def _is_stack(self, choice: Choice) -> bool:
        if choice.first not in self.cuts or choice.stop not in self.cuts:
            return False
        return self.cuts.index(choice.stop) in self.ends[self.cuts.index(choice.first)]

    def _ends(self, at: int) -> list[int]:
        """Cuts at which a stack that begins at a cut may end."""
        found: list[int] = []
        failures = 0
        for to in range(at + 1, min(len(self.cuts), at + 1 + MOST_STACK)):
            legal = self.stacks.best(self.cuts[at], self.cuts[to], self.weights, 1)
            failures = 0 if legal else failures + 1
            if legal:
                found.append(to)
            if failures >= GIVE_UP_AFTER:
                break
        return found
