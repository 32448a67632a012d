"""The shortest path of dynamic programming equals brute force over all chains of segments."""

from itertools import product

import numpy as np
import pytest

from scheduling.chains.shortest import shortest

SPLITS = (1, 2, 4)
CUTS = 5


class Case:
    """Random segments between the cuts of a chain, one for every pair of cuts and split."""

    def __init__(self, seed: int, capacity: float) -> None:
        rng = np.random.default_rng(seed)
        self.capacity = capacity
        self.crossing = rng.integers(1, 100, CUTS)
        self.segments = [(a, b, split) for a, b, split in product(range(CUTS), range(CUTS), SPLITS) if a < b]
        self.segments.sort()
        self.cost = rng.integers(1, 1000, (len(self.segments), 2, 2)).astype(np.float64)
        self.kept = rng.integers(0, 10, len(self.segments)).astype(np.float64)

    def solve(self) -> list[int]:
        """By dynamic programming."""
        first, stop, split = (np.array(column, np.int64) for column in zip(*self.segments, strict=True))
        start = np.searchsorted(first, np.arange(CUTS))
        return shortest(
            self.crossing,
            start,
            stop,
            split,
            np.searchsorted(SPLITS, split),
            len(SPLITS),
            self.cost,
            self.kept,
            self.capacity,
            np.full((CUTS, len(SPLITS), len(SPLITS)), -1, np.int64),
        ).tolist()

    def cost_of(self, chain: list[int]) -> float:
        """Cost of a chain by the rule, written the plain way: sub-graph by sub-graph, borders placed in order."""
        total, weights, places, peak, held = 0.0, 0.0, [1], 0.0, 0.0
        for number, a in enumerate(chain):
            first, _, split = self.segments[a]
            weights += self.kept[a]
            if number:
                before = self.segments[chain[number - 1]][2]
                border = self.crossing[first] / min(before, split)
                waiting = border * (1 - split / before) if split < before else 0.0
                fits = held + border <= self.capacity - weights and peak + waiting <= self.capacity - weights
                places.append(0 if fits else 1)
                border = border if fits else 0.0
                peak = border if split > before else max(peak + (waiting if fits else 0.0), held + border)
                held = border
        places.append(1)
        for number, a in enumerate(chain):
            total += self.cost[a, places[number], places[number + 1]]
        return float(total)

    def chains(self, at: int = 0) -> list[list[int]]:
        """All chains from a cut to the last."""
        if at == CUTS - 1:
            return [[]]
        return [
            [a, *rest]
            for a, (first, stop, _) in enumerate(self.segments)
            if first == at
            for rest in self.chains(stop)
        ]


@pytest.mark.parametrize("capacity", [1e9, 0.0, 60.0, 100.0])
@pytest.mark.parametrize("seed", range(10))
def test_the_path_is_the_cheapest_of_all_chains(seed: int, capacity: float) -> None:
    case = Case(seed, capacity)
    path = case.solve()
    assert [case.segments[a][0] for a in path] == [0, *(case.segments[a][1] for a in path[:-1])]
    assert case.cost_of(path) == min(case.cost_of(chain) for chain in case.chains())
