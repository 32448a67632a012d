"""What crosses the border of a run of layers, and how lowering finds it in an arrangement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple, cast

import numpy as np

from scheduling.lowering.tables import Ints, NetworkTable
from scheduling.timeline.arrangement import Arrangement


class Border(NamedTuple):
    """Tensors that enter and leave a run of layers, and functions that pick their values from a sequence."""

    entries: Ints
    exits: Ints
    pick_entries: Callable[[Sequence[int]], tuple[int, ...]]
    pick_all: Callable[[Sequence[int]], tuple[int, ...]]


class Borders:
    """Borders of runs of layers, found once for each."""

    def __init__(self, table: NetworkTable) -> None:
        self._table = table
        self._known: dict[tuple[int, int], Border] = {}

    def of(self, first: int, stop: int) -> Border:
        """That of layers [first, stop)."""
        known = self._known.get((first, stop))
        if known is None:
            table = self._table
            made = range(table.input_count + first, table.input_count + stop)
            reads = table.edge_tensor[table.edge_start[first] : table.edge_start[stop]].tolist()
            entries = sorted(set(reads).difference(made))
            last_uses = table.last_use[made.start : made.stop].tolist()
            exits = [tensor for tensor, last in zip(made, last_uses, strict=True) if last >= stop]
            known = Border(
                np.array(entries, np.int64),
                np.array(exits, np.int64),
                _picker(entries),
                _picker(entries + exits),
            )
            self._known[first, stop] = known
        return known


class Surroundings(NamedTuple):
    """What lowering depends on of an arrangement, as sequences that are quick to slice."""

    in_llb: bytes
    staged: bytes
    source_batch: list[int]
    source_rows: list[int]


def surroundings(plan: Arrangement) -> Surroundings:
    """Those of an arrangement."""
    return Surroundings(
        plan.in_llb.astype(np.uint8).tobytes(),
        plan.staged.astype(np.uint8).tobytes(),
        plan.source_batch.tolist(),
        plan.source_rows.tolist(),
    )


def _picker(indices: Sequence[int]) -> Callable[[Sequence[int]], tuple[int, ...]]:
    """A function that picks these places of a sequence as a tuple."""
    if len(indices) > 1:
        return cast(Callable[[Sequence[int]], tuple[int, ...]], itemgetter(*indices))
    if not indices:
        return lambda values: ()
    place = indices[0]
    return lambda values: (values[place],)
