"""Lowering an instance: the operations of its plan, one after the other, then the final program order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.borrowing import borrowed
from hwmodel.compiled import compiled, compiled_inner
from hwmodel.machines.machine_table import MachineTable
from scheduling.choice import CACHE, Choice
from scheduling.lowering.accesses import log_read, wait_for_place
from scheduling.lowering.cached import lower_cached
from scheduling.lowering.compute import lower_compute
from scheduling.lowering.draft import ROW, Draft, Site, end_row, make_draft, most_rows_drafted
from scheduling.lowering.geometry import Geometry
from scheduling.lowering.operations import COMPUTE, EXCHANGE, LOAD, RESTORE, STORE, Plan
from scheduling.lowering.overlap_transfers import lower_shared_cache
from scheduling.lowering.planning import MOST_INSTRUCTIONS, TOO_MANY_INSTRUCTIONS, plan_instance
from scheduling.lowering.redistribution import lower_redistribution
from scheduling.lowering.rows import (
    C_ENGINE,
    C_EXTERNAL0,
    C_EXTERNAL1,
    C_HOLD,
    C_LATENCY,
    C_LINK,
    C_OP,
    COLUMNS,
    DMA,
    LINK_NONE,
    MATRIX,
    OP_LAUNCH,
)
from scheduling.lowering.shares import even_share, input_columns
from scheduling.lowering.tables import EMBEDS, Ints, NetworkTable
from scheduling.lowering.tiling import LEGAL
from scheduling.lowering.transfers import lower_exchange, lower_gather, lower_load, lower_store
from scheduling.lowering.waits import arrange_rows


class Lowered(NamedTuple):
    """An instance's rows (I, COLUMNS) in program order, what it counts, and the plan and geometry behind it.

    `status` is LEGAL or why not, then at `layer`, `short_bytes` missing.
    """

    status: int
    layer: int
    short_bytes: int
    rows: Ints
    counts: Ints
    plan: Plan
    geometry: Geometry
    tiles: Ints  # (layers, 4): channels, reduction, images, rows of a contraction's tiling
    # (N, 4) bytes of each local tensor that the vector engine reads and writes, then those of the DMA; what the matrix
    # engine reads depends on its inner memories (scheduling.lowering.inner_counts).
    touched: Ints
    inner: Ints  # empty, or as `scheduling.lowering.inner_counts.count_inner` gives it


@compiled
def lower(
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
) -> Lowered:
    """Lower instance (batch_part, row_part, column_part) of a sub-graph.

    `kept`: an earlier instance left all weights in the buffer (Choice.keep_weights).
    `in_llb` (T,): 1 where the tensor is in the LLB, in slices of the batch and the rows as `source_batch` and
    `source_rows` (T,) count them; else it is whole in DRAM (and both are 1). `staged` (L,): 1 where the layer's
    weights are in the LLB.
    """
    net = borrowed(net)
    status, where, short, geo, plan, tiles = plan_instance(net, m, choice, row_part, column_part)
    counts = np.zeros(13, np.int64)
    touched = np.zeros((geo.tensor.shape[0], 4), np.int64)
    no_inner = np.empty(0, np.int64)
    nothing = np.empty((0, COLUMNS), np.int64)
    if status != LEGAL:
        return Lowered(status, where, short, nothing, counts, plan, geo, tiles, touched, no_inner)
    image0, stop = even_share(net.batch, choice.split_batch, batch_part)
    most = most_rows_drafted(net, choice, geo, plan, tiles, source_batch, source_rows, image0, stop - image0)
    if most > 4 * MOST_INSTRUCTIONS:
        status = TOO_MANY_INSTRUCTIONS
        return Lowered(status, choice.first, 0, nothing, counts, plan, geo, tiles, touched, no_inner)
    draft = make_draft(net, m, choice, geo, plan, tiles, kept, most, counts, touched)
    columns = input_columns(net, choice, geo)
    _write_rows(
        net,
        m,
        choice,
        geo,
        plan,
        tiles,
        in_llb,
        source_batch,
        source_rows,
        staged,
        columns,
        image0,
        stop,
        draft,
    )
    rows = arrange_rows(draft.rows, draft.raw, draft.anchor_of, draft.state[ROW], choice.overlap)
    return Lowered(LEGAL, choice.first, 0, rows, counts, plan, geo, tiles, touched, no_inner)


@compiled_inner
def _write_rows(
    net: NetworkTable,
    m: MachineTable,
    choice: Choice,
    geo: Geometry,
    plan: Plan,
    tiles: Ints,
    in_llb: Ints,
    source_batch: Ints,
    source_rows: Ints,
    staged: Ints,
    columns: Ints,
    image0: int,
    stop: int,
    draft: Draft,
) -> None:
    """Write the rows of an instance of images [image0, stop), with weights loaded just before they are read.

    The site is put together here since a compiled function that makes arrays would count the references to all of it.
    """
    images = stop - image0
    site = Site(
        net, m, choice, geo, plan, tiles, in_llb, source_batch, source_rows, staged, columns, image0, images,
    )  # fmt: skip
    _launch(m.launch, draft.rows[0])
    end_row(draft)
    latest = draft.latest
    for position in range(plan.kind.shape[0]):
        kind, t, p = plan.kind[position], plan.tensor[position], plan.piece[position]
        for engine in range(4):
            latest[engine] = -1
        if kind in (LOAD, COMPUTE, RESTORE):
            wait_for_place(site, draft, position)
        if kind == LOAD and geo.copied_from[t] >= 0:
            lower_redistribution(site, draft, t, p)
        elif kind == LOAD:
            lower_load(site, draft, t, p)
        elif kind == COMPUTE:
            if net.kind[choice.first + t - geo.entries] == EMBEDS:
                lower_gather(site, draft, t, p)
            else:
                lower_compute(site, draft, t, p)
        elif kind == EXCHANGE:
            lower_exchange(site, draft, t, p)
        elif kind == STORE:
            lower_store(site, draft, t, p, 0, 0)
            log_read(draft, t, t, -1, p, DMA, draft.state[ROW] - 1)
        elif choice.halo == CACHE:
            lower_cached(site, draft, kind, t, p)
        else:
            lower_shared_cache(site, draft, kind, t, p)


@compiled_inner
def _launch(cycles: int, row: Ints) -> None:
    row[C_OP] = OP_LAUNCH
    row[C_ENGINE] = MATRIX
    row[C_HOLD] = cycles
    row[C_LATENCY] = cycles
    row[C_LINK] = LINK_NONE
    row[C_EXTERNAL0] = -1
    row[C_EXTERNAL1] = -1
