"""Rows that load weights and parameters, from DRAM or from where they are staged in the LLB."""

from __future__ import annotations

from hwmodel.compiled import compiled_inner
from hwmodel.machines.machine_table import MachineTable
from hwmodel.timing.costs import dma_hold, link_cycles
from scheduling.lowering.bursts import vectors_in_bursts, weights_in_bursts
from scheduling.lowering.draft import ROW, Draft, Site, end_row
from scheduling.lowering.rows import (
    C_A,
    C_B,
    C_ENGINE,
    C_EXTERNAL0,
    C_EXTERNAL1,
    C_HOLD,
    C_K0,
    C_K1,
    C_LATENCY,
    C_LINK,
    C_LINK_HOLD,
    C_OP,
    C_PIECE,
    C_R0,
    C_R1,
    C_TENSOR,
    C_WEIGHT,
    DMA,
    LINK_DRAM_READ,
    LINK_LLB_READ,
    N_DRAM_READ,
    N_LLB_READ,
    N_WEIGHTS_WRITE,
    OP_LOADW,
    SLOT_COMPUTE,
    SLOT_ENTRIES,
)
from scheduling.lowering.tile import Tile
from scheduling.lowering.weight_ring import claim


@compiled_inner
def load_weights(site: Site, draft: Draft, tile: Tile, chunk: int, r0: int, r1: int) -> None:
    """Load the weights of input channels [r0, r1) of a tile, if they are not in the buffer."""
    if draft.chunks.address[chunk] >= 0:
        return
    m, net, geo, choice, layer = site.m, site.net, site.geo, site.choice, tile.layer
    channel_bytes = (r1 - r0) * net.taps[layer] * m.element_bytes
    staged = site.staged[layer]
    link_bytes = weights_in_bursts(
        tile.k0,
        tile.k1,
        net.tensor_channels[net.input_count + layer],
        geo.channel_ways[tile.t],
        channel_bytes,
        r1 - r0 == net.reduction[layer],
        1 if staged else m.dram_burst,
    )
    row = draft.rows[draft.state[ROW]]
    row[C_K0] = tile.k0
    row[C_K1] = tile.k1
    row[C_R0] = r0
    row[C_R1] = r1
    row[C_B] = tile.group
    copies = geo.batch_ways[tile.t] * geo.row_ways[tile.t]
    draft.counts[N_WEIGHTS_WRITE] += tile.sum_k * channel_bytes * copies
    _load_chunk(m, choice.overlap, staged, draft, tile, chunk, tile.max_k * channel_bytes, link_bytes)


@compiled_inner
def load_parameters(site: Site, draft: Draft, tile: Tile) -> None:
    """Load a layer's parameters, if it has any that are not in the buffer."""
    net, geo, choice, m = site.net, site.geo, site.choice, site.m
    vectors = net.parameters[tile.layer]
    if vectors == 0 or draft.chunks.address[tile.chunk] >= 0:
        return
    tensor = net.input_count + tile.layer
    channels = net.tensor_channels[tensor]
    vector_bytes = vectors * m.element_bytes
    ways = geo.channel_ways[tile.t]
    core_bytes = -(-channels // ways) * vector_bytes
    staged = site.staged[tile.layer]
    burst = 1 if staged else m.dram_burst
    stored = net.stored_channels[tensor]
    link_bytes = vectors_in_bursts(vectors, channels, stored, ways, m.element_bytes, burst)
    draft.rows[draft.state[ROW], C_A] = 1
    draft.counts[N_WEIGHTS_WRITE] += channels * vector_bytes * geo.batch_ways[tile.t] * geo.row_ways[tile.t]
    _load_chunk(m, choice.overlap, staged, draft, tile, tile.chunk, core_bytes, link_bytes)


@compiled_inner
def _load_chunk(
    m: MachineTable,
    overlap: int,
    staged: int,
    draft: Draft,
    tile: Tile,
    chunk: int,
    core_bytes: int,
    link_bytes: int,
) -> None:
    """End a row that loads a chunk: with `overlap` as soon as its place is free, else once all is done that comes
    before the layer. `staged`: from the LLB."""
    state, chunks, rows = draft.state, draft.chunks, draft.rows
    freed_by, i = chunks.freed_by, state[ROW]
    claim(chunks, chunk, core_bytes, i, rows, m.weights_bytes)
    row, raw = rows[i], draft.raw[i]
    row[C_OP] = OP_LOADW
    row[C_TENSOR] = tile.t
    row[C_PIECE] = tile.p
    row[C_WEIGHT] = chunks.address[chunk]
    row[C_ENGINE] = DMA
    row[C_HOLD] = dma_hold(m, core_bytes, link_bytes, staged, 0)
    row[C_LATENCY] = row[C_HOLD]
    row[C_LINK] = LINK_LLB_READ if staged else LINK_DRAM_READ
    row[C_LINK_HOLD] = link_cycles(m, link_bytes, staged, 0)
    row[C_EXTERNAL0] = -1
    row[C_EXTERNAL1] = SLOT_ENTRIES + tile.t if staged else -1
    anchor = max(freed_by[0], freed_by[1])
    draft.anchor_of[i] = anchor
    raw[0] = freed_by[0]
    raw[1] = freed_by[1]
    if not overlap:
        raw[0] = max(raw[0], 0)
        raw[1] = max(raw[1], tile.barrier)
    elif anchor < 0:
        row[C_EXTERNAL0] = SLOT_COMPUTE
    draft.counts[N_LLB_READ if staged else N_DRAM_READ] += link_bytes
    end_row(draft)
