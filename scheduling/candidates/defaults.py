"""The default heuristic: how the layers that no decision covers yet are scheduled.

One deterministic function, used for phases that are left out, for the reward, and by lookahead. It follows the
GraphTurbo grouping rule (OSDI'23) restricted to runs of layers: blocks between points that one tensor crosses;
every group takes the smallest split of the batch that fits; neighbours merge while the merged group needs no finer
split than the later one had (chains, fork-join blocks and siblings are runs here), so splits fall from front to
back. Inferred, since the paper does not say how it picks among splits and when merging ends: the smallest factor;
no group grows into more pieces than its parts have, since each piece reads the weights again, or beyond the longest
sub-graph that candidates offer. On ResNet-50 at batch 16 that gives the published 8, 4, 2 and 1 instances, with the
first two stages in two groups each, since rows shared by cores are recomputed and need room. Then instructions are
scheduled: a group runs in row pieces, successive layers interleaved, where that is faster in isolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from scheduling.candidates.sliced import estimate_of, isolated_of
from scheduling.candidates.space import MOST_LAYERS, CandidateSpace
from scheduling.choice import CHOICE_FIELDS, ROWS, RULE_SCALE, Choice
from scheduling.lowering.tables import NEVER, Ints
from scheduling.lowering.tiling import LEGAL

INTERLEAVED_PIECES = 4


class Defaults:
    """The default completion for one candidate space; groups are found once."""

    def __init__(self, space: CandidateSpace) -> None:
        self._space = space
        self._choice: dict[tuple[int, int], Choice | None] = {}
        self._interleaved: dict[Choice, Choice] = {}
        self._cuts: list[int] | None = None
        self._rest: dict[tuple[int, bool], tuple[Choice, ...]] = {}

    def choice(self, first: int, stop: int) -> Choice | None:
        """Default choice for layers [first, stop): the smallest split that fits with whole layers, else with row
        pieces; None where nothing fits."""
        key = (first, stop)
        if key not in self._choice:
            self._choice[key] = self._space.smallest_split(first, stop)
        return self._choice[key]

    def cuts(self) -> list[int]:
        """Ends of the groups of the whole network, ascending, the number of layers last."""
        if self._cuts is None:
            self._cuts = self._group()
        return self._cuts

    def complete(self, prefix: Sequence[Choice], *, interleave: bool = True) -> tuple[Choice, ...]:
        """The prefix, then default choices for the remaining layers; without `interleave`, layer after layer inside
        an instance wherever that fits."""
        frontier = prefix[-1].stop if prefix else 0
        rest = self._rest.get((frontier, interleave))
        if rest is None:
            rest = self._rest[frontier, interleave] = self._complete(frontier, interleave)
        return (*prefix, *rest)

    def _complete(self, frontier: int, interleave: bool) -> tuple[Choice, ...]:
        rest: list[Choice] = []
        for stop in self.cuts():
            if stop > frontier:
                rest += self._cover(frontier, stop)
                frontier = stop
        return tuple(self.interleaved(choice) for choice in rest) if interleave else tuple(rest)

    def interleaved(self, choice: Choice) -> Choice:
        """The choice in row pieces, where it was whole and they are legal and faster in isolation."""
        known = self._interleaved.get(choice)
        if known is None:
            known = choice
            evaluator = self._space.evaluator
            pieces = choice._replace(pieces=INTERLEAVED_PIECES, axis=ROWS, rule=RULE_SCALE)
            if choice.pieces == 1 and estimate_of(evaluator, pieces).status == LEGAL:
                times = isolated_of(evaluator, evaluator.machine_table, np.array([choice, pieces], np.int64))
                if times[1].max() < times[0].max():
                    known = pieces
            self._interleaved[choice] = known
        return known

    def _cover(self, first: int, stop: int) -> list[Choice]:
        """Default choices for [first, stop), cut in halves where no single choice fits."""
        choice = self.choice(first, stop)
        if choice is not None:
            return [choice]
        if stop - first == 1:
            return [Choice(*self._space.all(first)[0, :CHOICE_FIELDS].tolist())]
        middle = (first + stop) // 2
        return self._cover(first, middle) + self._cover(middle, stop)

    def _group(self) -> list[int]:
        evaluator = self._space.evaluator
        layers = self._space.layers
        crossing = _tensors_crossing(evaluator.table.producer, evaluator.table.last_use, layers)
        starts = [0] + [c for c in range(1, layers) if crossing[c] <= 1]
        groups: list[list[int]] = []
        for first, stop in zip(starts, [*starts[1:], layers], strict=True):
            groups += [[c.first, c.stop] for c in self._cover(first, stop)]
        merged = True
        while merged:
            merged = False
            kept = [groups[0]]
            for group in groups[1:]:
                if self._merges(kept[-1], group):
                    kept[-1] = [kept[-1][0], group[1]]
                    merged = True
                else:
                    kept.append(group)
            groups = kept
        return [stop for _, stop in groups]

    def _merges(self, a: list[int], b: list[int]) -> bool:
        if b[1] - a[0] > MOST_LAYERS:
            return False
        one, two = self.choice(a[0], a[1]), self.choice(b[0], b[1])
        both = self.choice(a[0], b[1])
        if one is None or two is None or both is None:
            return False
        return both.split_batch <= two.split_batch and both.pieces <= max(one.pieces, two.pieces)


def _tensors_crossing(producer: Ints, last_use: Ints, layers: int) -> list[int]:
    crossing = [0] * (layers + 2)
    for made, used in zip(producer.tolist(), last_use.tolist(), strict=True):
        if made >= 0:  # graph inputs and constants lie in DRAM, whoever reads them
            crossing[made + 1] += 1
            crossing[layers if used == NEVER else used + 1] -= 1
    return list(accumulate(crossing))
