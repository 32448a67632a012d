"""Rows of the DMA that move overlaps between L1 and a cache in shared memory: what neighbouring instances both need."""

from __future__ import annotations

from hwmodel.compiled import compiled_inner
from hwmodel.timing.costs import ceil_div, dma_hold
from scheduling.choice import CACHE_LLB
from scheduling.lowering.accesses import log_read, log_write, wait_for_writers
from scheduling.lowering.bursts import box_in_bursts
from scheduling.lowering.draft import DMA_READS, DMA_WRITES, ROW, Draft, Site, end_row
from scheduling.lowering.operations import RESTORE
from scheduling.lowering.rows import (
    C_EXTERNAL0,
    C_OP,
    C_R0,
    DMA,
    LINK_DRAM_READ,
    LINK_DRAM_WRITE,
    LINK_LLB_READ,
    LINK_LLB_WRITE,
    MATRIX,
    N_DRAM_READ,
    N_DRAM_WRITE,
    N_L1_READ,
    N_L1_WRITE,
    N_LLB_READ,
    N_LLB_WRITE,
    OP_LOAD,
    OP_STORE,
)
from scheduling.lowering.shares import all_rows, even_share, most_rows, piece_rows, spread
from scheduling.lowering.transfers import cross_link, finish_transfer
from scheduling.lowering.waits import later


@compiled_inner
def lower_shared_cache(site: Site, draft: Draft, kind: int, t: int, p: int) -> None:
    """Load the columns of a piece that the instance before kept (RESTORE), or store those that the next one needs
    (KEEP), each core its share of the channels. Both go through the queues of the same cores in every instance, which
    orders them."""
    net, m, geo, choice = site.net, site.m, site.geo, site.choice
    counts, latest, i = draft.counts, draft.latest, draft.state[ROW]
    restores, in_llb = kind == RESTORE, choice.halo == CACHE_LLB
    tensor = geo.tensor[t]
    columns = geo.new_start[t] - geo.held_start[t] if restores else geo.held_stop[t] - geo.keep_start[t]
    channels = net.tensor_channels[tensor]
    core_channels, holders = -(-channels // choice.ways_channels), 1
    if restores and geo.full[t]:
        core_channels, holders = channels, choice.ways_channels
    most_images, all_images = ceil_div(site.images, choice.ways_batch), site.images
    if net.tensor_constant[tensor]:
        most_images, all_images = 1, spread(site.images, choice.ways_batch, 0, site.images)[2]
    moved = all_images * all_rows(geo.start, geo.ends, t, p) * columns * channels * m.element_bytes
    link_bytes = moved
    if m.dram_burst > 1 and not in_llb:
        link_bytes = _in_bursts(site, t, p, columns, 1 if holders > 1 else choice.ways_channels)
    core_bytes = most_images * most_rows(geo.start, geo.ends, t, p) * columns * core_channels
    core_bytes *= m.element_bytes
    row = draft.rows[i]
    row[C_R0] = 1
    row[C_EXTERNAL0] = -1
    if restores:
        later(latest, MATRIX, 0)
        row[C_OP] = OP_LOAD
        cross_link(row, m, LINK_LLB_READ if in_llb else LINK_DRAM_READ, link_bytes)
        counts[N_LLB_READ if in_llb else N_DRAM_READ] += link_bytes
        counts[N_L1_WRITE] += moved * holders
        draft.touched[t, DMA_WRITES] += moved * holders
    else:
        wait_for_writers(draft.written, latest, t, p)
        row[C_OP] = OP_STORE
        cross_link(row, m, LINK_LLB_WRITE if in_llb else LINK_DRAM_WRITE, link_bytes)
        counts[N_LLB_WRITE if in_llb else N_DRAM_WRITE] += link_bytes
        counts[N_L1_READ] += moved
        draft.touched[t, DMA_READS] += moved
    finish_transfer(
        row, draft.raw[i], latest, t, p, dma_hold(m, core_bytes, link_bytes, in_llb, not restores)
    )
    end_row(draft)
    if restores:
        log_write(draft, t, p, DMA, i)
    else:
        log_read(draft, t, t, -1, p, DMA, i)


@compiled_inner
def _in_bursts(site: Site, t: int, p: int, columns: int, channel_ways: int) -> int:
    """Bytes on the DRAM link of what all cores move of a piece, as `scheduling.lowering.shared_cache` says it lies."""
    net, m, geo, choice = site.net, site.m, site.geo, site.choice
    tensor = geo.tensor[t]
    channels = net.tensor_channels[tensor]
    rows_held = choice.ways_rows * geo.cache_rows[t]
    moved = 0
    for batch_way in range(choice.ways_batch):
        low, high = even_share(site.images, choice.ways_batch, batch_way)
        images = min(1, high - low) if net.tensor_constant[tensor] else high - low
        for row_way in range(choice.ways_rows):
            first, stop = piece_rows(geo.start, geo.ends, row_way, t, p)
            for channel_way in range(channel_ways):
                begin, end = even_share(channels, channel_ways, channel_way)
                moved += box_in_bursts(
                    images, stop - first, rows_held, columns, geo.cache_columns[t], end - begin, channels,
                    m.element_bytes, m.dram_burst,
                )  # fmt: skip
    return moved
