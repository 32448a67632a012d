"""Copies between a tensor and its cache: columns that neighbouring instances of a sub-graph share stay in L1."""

from __future__ import annotations

from hwmodel.compiled import compiled_inner
from hwmodel.timing.costs import ceil_div, vector_cycles
from scheduling.lowering.accesses import log_read, log_write, wait_for_writers
from scheduling.lowering.draft import (
    LAST_VECTOR,
    ROW,
    VECTOR_READS,
    VECTOR_ROWS,
    VECTOR_WRITES,
    Draft,
    Site,
    end_row,
)
from scheduling.lowering.operations import RESTORE
from scheduling.lowering.rows import (
    C_B,
    C_ENGINE,
    C_EXTERNAL0,
    C_EXTERNAL1,
    C_H1,
    C_HOLD,
    C_I1,
    C_K1,
    C_LATENCY,
    C_LINK,
    C_OP,
    C_PIECE,
    C_TENSOR,
    LINK_NONE,
    N_L1_READ,
    N_L1_WRITE,
    N_VECTOR,
    OP_VECTOR,
    SLOT_DMA,
    VECTOR,
    VECTOR_KEEPS,
    VECTOR_RESTORES,
)
from scheduling.lowering.shares import all_rows, most_rows, spread


@compiled_inner
def lower_cached(site: Site, draft: Draft, kind: int, t: int, p: int) -> None:
    """Copy columns of a piece between a tensor's ring and its cache: RESTORE those that the instance before kept, or
    KEEP those that the next one needs."""
    net, m, geo, choice = site.net, site.m, site.geo, site.choice
    counts, state, latest, i = draft.counts, draft.state, draft.latest, draft.state[ROW]
    images = site.images
    tensor = geo.tensor[t]
    columns = (
        geo.new_start[t] - geo.held_start[t] if kind == RESTORE else geo.held_stop[t] - geo.keep_start[t]
    )
    channels = net.tensor_channels[tensor]
    if geo.full[t]:
        held, all_held = channels, channels * choice.ways_channels
    else:
        held, all_held = -(-channels // choice.ways_channels), channels
    if net.tensor_constant[tensor]:  # one image, which every core with work holds
        most_images, all_images = 1, spread(images, choice.ways_batch, 0, images)[2]
    else:
        most_images, all_images = ceil_div(site.images, choice.ways_batch), images
    core_rows = most_rows(geo.start, geo.ends, t, p)
    elements = all_images * all_rows(geo.start, geo.ends, t, p) * columns * all_held
    hold = vector_cycles(m, most_images * core_rows * columns * held, net.copy_passes)
    row = draft.rows[i]
    row[C_OP] = OP_VECTOR
    row[C_TENSOR] = t
    row[C_PIECE] = p
    row[C_K1] = held
    row[C_I1] = most_images
    row[C_H1] = core_rows
    row[C_B] = VECTOR_RESTORES if kind == RESTORE else VECTOR_KEEPS
    row[C_ENGINE] = VECTOR
    row[C_HOLD] = hold
    row[C_LATENCY] = hold
    row[C_LINK] = LINK_NONE
    row[C_EXTERNAL0] = -1 if state[VECTOR_ROWS] else SLOT_DMA
    row[C_EXTERNAL1] = -1
    counts[N_VECTOR] += elements
    moved = elements * m.element_bytes
    counts[N_L1_READ] += moved
    counts[N_L1_WRITE] += moved
    draft.touched[t, VECTOR_WRITES if kind == RESTORE else VECTOR_READS] += moved
    if kind != RESTORE:
        wait_for_writers(draft.written, latest, t, p)
    raw = draft.raw[i]
    for source in range(4):
        raw[source] = latest[source]
    if kind == RESTORE:
        log_write(draft, t, p, VECTOR, i)
    else:
        log_read(draft, t, t, -1, p, VECTOR, i)
    state[LAST_VECTOR] = i
    state[VECTOR_ROWS] += 1
    end_row(draft)
