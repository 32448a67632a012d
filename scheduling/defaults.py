"""The default heuristic: how the layers that no decision covers yet are scheduled.

One deterministic function, used for phases that are left out, for the reward, and by lookahead. It follows the
GraphTurbo grouping rule (OSDI'23) restricted to runs of layers: blocks between points that one tensor crosses;
every group takes the smallest split of the batch that fits; neighbours merge while the merged group needs no finer
split than either had (chains, fork-join blocks and siblings are runs here). How the paper picks among splits is
not published; the smallest factor is inferred, and gives its stages for ResNet-50.
"""

from __future__ import annotations

from collections.abc import Sequence

from scheduling.candidates import CandidateSpace
from scheduling.choice import Choice
from scheduling.tables import NEVER, Ints


class Defaults:
    """The default completion for one candidate space; groups are found once."""

    def __init__(self, space: CandidateSpace) -> None:
        self._space = space
        self._choice: dict[tuple[int, int], Choice | None] = {}
        self._cuts: list[int] | None = None

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

    def complete(self, prefix: Sequence[Choice]) -> tuple[Choice, ...]:
        """The prefix, then default choices for the remaining layers."""
        frontier = prefix[-1].stop if prefix else 0
        rest: list[Choice] = []
        for stop in self.cuts():
            if stop > frontier:
                rest += self._cover(frontier, stop)
                frontier = stop
        return (*prefix, *rest)

    def _cover(self, first: int, stop: int) -> list[Choice]:
        """Default choices for [first, stop), cut in halves where no single choice fits."""
        choice = self.choice(first, stop)
        if choice is not None:
            return [choice]
        if stop - first == 1:
            return [Choice(*self._space.all(first)[0, :11].tolist())]
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
        one, two = self.choice(a[0], a[1]), self.choice(b[0], b[1])
        both = self.choice(a[0], b[1])
        if one is None or two is None or both is None:
            return False
        return both.split_batch == one.split_batch == two.split_batch


def _tensors_crossing(producer: Ints, last_use: Ints, layers: int) -> list[int]:
    crossing = [0] * (layers + 1)
    for made, used in zip(producer.tolist(), last_use.tolist(), strict=True):
        last = layers - 1 if used == NEVER else used
        for cut in range(max(made + 1, 0), last + 1):
            crossing[cut] += 1
    return crossing
