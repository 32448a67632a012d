"""An instance lowered for its timing alone: the simulator reads neither the plan behind the rows nor what they do.

Handing the forty arrays of a whole lowering over to Python takes longer than the lowering itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled
from hwmodel.machines.machine_table import MachineTable
from scheduling.choice import Choice
from scheduling.lowering import Lowered, lower
from scheduling.lowering.tables import Ints, NetworkTable
from scheduling.timeline.simulation import ARENA_COLUMNS, timing_rows


class Timed(NamedTuple):
    """What the simulator reads of a lowered instance with N local tensors; `status`, `layer` and `short_bytes` as in
    scheduling.lowering.Lowered."""

    status: int
    layer: int
    short_bytes: int
    rows: Ints  # (I, ARENA_COLUMNS)
    counts: Ints  # (13,)
    tensors: Ints  # (N,) indices in the network
    entries: int


@compiled
def lower_timed(
    net: NetworkTable,
    m: MachineTable,
    choice: Choice,
    batch_part: int,
    row_part: int,
    column_part: int,
    kept: bool,
    in_llb: Ints,
    source_batch: Ints,
    source_rows: Ints,
    staged: Ints,
) -> Timed:
    """Lower an instance as scheduling.lowering.lower does."""
    found = lower(
        net, m, choice, batch_part, row_part, column_part, kept, in_llb, source_batch, source_rows, staged
    )
    rows = np.empty((found.rows.shape[0], ARENA_COLUMNS), np.int64)
    timing_rows(found.rows, rows)
    return Timed(
        found.status, found.layer, found.short_bytes, rows, found.counts, found.geometry.tensor,
        found.geometry.entries,
    )  # fmt: skip


def timed(lowered: Lowered) -> Timed:
    """The same of an instance that was lowered before."""
    rows = np.empty((len(lowered.rows), ARENA_COLUMNS), np.int64)
    timing_rows(lowered.rows, rows)
    geometry = lowered.geometry
    return Timed(
        lowered.status,
        lowered.layer,
        lowered.short_bytes,
        rows,
        lowered.counts,
        geometry.tensor,
        geometry.entries,
    )
