"""What lowering reads of an instance, and the arrays that its rows are drafted in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled, compiled_inner, compiled_leaf
from hwmodel.machines.machine_table import MachineTable
from hwmodel.timing.costs import ceil_div
from scheduling.choice import CHANNEL_RING, Choice
from scheduling.lowering.geometry import Geometry
from scheduling.lowering.operations import COMPUTE, LOAD, Plan
from scheduling.lowering.rows import COLUMNS
from scheduling.lowering.shares import most_rows, part_of
from scheduling.lowering.tables import Ints, NetworkTable
from scheduling.lowering.weight_ring import Chunks, weight_chunks

VECTOR_READS, VECTOR_WRITES, DMA_READS, DMA_WRITES = 0, 1, 2, 3
"""Columns of `Draft.touched`."""

ROW, LOGGED, LAST_VECTOR, VECTOR_ROWS, ACC_HALF = range(5)
"""Places in `Draft.state`: rows written, reads logged, the latest row of the vector engine (-1), how many it has, and
which half of the accumulator comes next."""


class Site(NamedTuple):
    """An instance and its surroundings, which no operation changes."""

    net: NetworkTable
    m: MachineTable
    choice: Choice
    geo: Geometry
    plan: Plan
    tiles: Ints  # (layers, 4): channels, reduction, images, rows of a contraction's tiling
    in_llb: Ints  # (T,) 1 where the tensor is in the LLB, else it is in DRAM
    source_batch: Ints  # (T,) slices of the batch that it lies in
    source_rows: Ints  # (T,) slices of the rows
    staged: Ints  # (L,) 1 where the layer's weights are in the LLB
    input_columns: Ints  # (edges of the sub-graph,) columns of the input that the layer reads
    image0: int
    images: int  # from image0 on


class Draft(NamedTuple):
    """Rows as they are written, and what the next ones have to know of them. N local tensors, P pieces."""

    rows: Ints  # (most rows, COLUMNS); after the one that is written next nothing is set
    raw: Ints  # (most rows, 4) latest row waited for: matrix, vector, DMA, weight loads; likewise
    anchor_of: Ints  # (most rows,) of a weight load: it may be moved to just behind this row
    counts: Ints  # (13,) as `scheduling.lowering.rows` orders them
    touched: Ints  # (N, 4) bytes that the vector engine and the DMA read and write
    chunks: Chunks
    births: Ints  # (N, 4) what the first write of a tensor waited for
    last_access: Ints  # (N, 3) latest row of each engine
    written: Ints  # (N, P, 3) latest writer rows of pieces up to p, per engine
    reads: Ints  # (reads, 6): next, reader, edge, piece, engine, row
    read_head: Ints  # (N,) latest of `reads` of the tensor
    latest: Ints  # (4,) what the next row waits for, as in `raw`
    matrix_waits: Ints  # (4,)
    acc_reader: Ints  # (2,) row that last read this half of the accumulator
    way_rows: Ints  # (row ways,) room for the rows of a transfer that each way moves
    state: Ints  # (5,) ROW, LOGGED, ...


@compiled_leaf
def _clear_row(rows: Ints, raw: Ints, i: int) -> None:
    for column in range(COLUMNS):
        rows[i, column] = 0
    for engine in range(4):
        raw[i, engine] = -1


@compiled_inner
def end_row(draft: Draft) -> None:
    """Go on with the next row. It is cleared only now, since the bound is several times the rows that are written."""
    i = draft.state[ROW] + 1
    draft.state[ROW] = i
    _clear_row(draft.rows, draft.raw, i)


@compiled_inner
def most_rows_drafted(
    net: NetworkTable,
    choice: Choice,
    geo: Geometry,
    plan: Plan,
    tiles: Ints,
    source_batch: Ints,
    source_rows: Ints,
    image0: int,
    images: int,
) -> int:
    """An upper bound of an instance's rows, with some room after them."""
    bound = 8
    for position in range(plan.kind.shape[0]):
        t = plan.tensor[position]
        bound += 2
        if geo.copied_from[t] >= 0:  # at most one for each core
            bound += geo.batch_ways[t] * geo.row_ways[t] * geo.channel_ways[t]
        elif plan.kind[position] == LOAD:  # one row for each part of the source that any core touches
            source = geo.tensor[t]
            parts = part_of(image0 + images - 1, net.batch, source_batch[source]) + 1
            parts -= part_of(image0, net.batch, source_batch[source])
            bound += parts * source_rows[source]
        if plan.kind[position] == COMPUTE:
            j = t - geo.entries
            layer = choice.first + j
            if net.is_matrix[layer]:
                share = ceil_div(net.tensor_channels[geo.tensor[t]], geo.channel_ways[t])
                chunks = ceil_div(share, tiles[j, 0]) + net.groups[layer]
                parts = ceil_div(net.reduction[layer], tiles[j, 1])
                spots = ceil_div(ceil_div(images, geo.batch_ways[t]), tiles[j, 2])
                spots *= ceil_div(most_rows(geo.start, geo.ends, t, plan.piece[position]), tiles[j, 3])
                bound += chunks * spots * (2 * parts + 2)
                if choice.axis == CHANNEL_RING:
                    bound += chunks
            else:
                bound += 2 + net.edge_start[layer + 1] - net.edge_start[layer]
    return bound


@compiled_inner
def _most_reads(net: NetworkTable, choice: Choice, plan: Plan, entries: int) -> int:
    """An upper bound of the reads that are logged."""
    reads = 0
    for position in range(plan.kind.shape[0]):
        reads += 1
        if plan.kind[position] == COMPUTE:
            layer = choice.first + plan.tensor[position] - entries
            reads += net.edge_start[layer + 1] - net.edge_start[layer]
    return reads


@compiled
def make_draft(
    net: NetworkTable,
    m: MachineTable,
    choice: Choice,
    geo: Geometry,
    plan: Plan,
    tiles: Ints,
    kept: bool,
    bound: int,
    counts: Ints,
    touched: Ints,
) -> Draft:
    """An empty draft of at most `bound` rows. `kept`: the weight buffer has all weights already."""
    n, pieces = geo.tensor.shape[0], geo.ends.shape[2]
    state = np.zeros(5, np.int64)
    state[LAST_VECTOR] = -1
    rows, raw = np.empty((bound, COLUMNS), np.int64), np.empty((bound, 4), np.int64)
    _clear_row(rows, raw, 0)
    return Draft(
        rows,
        raw,
        np.empty(bound, np.int64),
        counts,
        touched,
        weight_chunks(net, m, choice, tiles, kept, bound),
        np.full((n, 4), -1, np.int64),
        np.full((n, 3), -1, np.int64),
        np.full((n, pieces, 3), -1, np.int64),
        np.empty((_most_reads(net, choice, plan, geo.entries), 6), np.int64),
        np.full(n, -1, np.int64),
        np.full(4, -1, np.int64),
        np.empty(4, np.int64),
        np.full(2, -1, np.int64),
        np.zeros(geo.start.shape[0], np.int64),
        state,
    )
