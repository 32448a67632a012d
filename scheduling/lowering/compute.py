"""Rows that compute a piece of a layer: tile by tile, what the matrix engine adds up, then the vector engine ends."""

from __future__ import annotations

from hwmodel.compiled import compiled_inner
from hwmodel.timing.costs import ceil_div
from scheduling.lowering.accesses import log_read, log_write, wait_for_writers
from scheduling.lowering.channel_rings import in_channel_ring
from scheduling.lowering.contraction import lower_contraction
from scheduling.lowering.draft import ACC_HALF, LAST_VECTOR, ROW, Draft, Site
from scheduling.lowering.ending import lower_ending
from scheduling.lowering.rows import DMA, MATRIX, VECTOR
from scheduling.lowering.shares import most_rows, spread, spread_rows
from scheduling.lowering.tile import Tile
from scheduling.lowering.transfers import lower_store
from scheduling.lowering.waits import later
from scheduling.lowering.weight_loads import load_parameters


@compiled_inner
def lower_compute(site: Site, draft: Draft, t: int, p: int) -> None:
    """Compute a piece of a layer: its tiles one after the other, halves of the accumulator in turn."""
    net, geo, choice, tiles, state = site.net, site.geo, site.choice, site.tiles, draft.state
    batch_ways, ways, chunks = geo.batch_ways[t], geo.channel_ways[t], draft.chunks
    images, images_most = site.images, ceil_div(site.images, batch_ways)
    j = t - geo.entries
    layer = choice.first + j
    matrix = net.is_matrix[layer] == 1
    _wait_for_inputs(site, draft, layer, p)
    barrier = state[LAST_VECTOR]
    chunk = chunks.first[chunks.same[j]]
    columns = geo.held_stop[t] - geo.new_start[t]
    channels = net.tensor_channels[geo.tensor[t]]
    share, rows = -(-channels // ways), most_rows(geo.start, geo.ends, t, p)
    groups, tile_k, tile_i, tile_h, reductions = 1, share, images_most, rows, 0
    if matrix:
        groups = max(1, net.groups[layer] // ways)
        tile_k, tile_i, tile_h = tiles[j, 0], tiles[j, 2], tiles[j, 3]
        reductions = ceil_div(net.reduction[layer], tiles[j, 1])
    group_share = share // groups
    weights = chunk + 1
    matrix_row = -1
    by_parts = in_channel_ring(net, choice, geo, t)
    stored, stored_before = -1, -1  # rows that stored the part before this one, and the one before that
    for group in range(groups):
        for part in range(ceil_div(group_share, tile_k)):
            k0 = group * group_share + part * tile_k
            k1 = group * group_share + min(group_share, (part + 1) * tile_k)
            later(draft.latest, DMA, stored_before)  # which had the same place in the ring
            sum_k, max_k, cores_k = spread(channels, ways, k0, k1)
            for i0 in range(0, images_most, tile_i):
                i1 = min(images_most, i0 + tile_i)
                sum_i, _, cores_i = spread(images, batch_ways, i0, i1)
                for h0 in range(0, rows, tile_h):
                    h1 = min(rows, h0 + tile_h)
                    sum_h, max_h, cores_h = spread_rows(geo.start, geo.ends, t, p, h0, h1)
                    tile = Tile(
                        t, p, j, layer, barrier, chunk, weights, group, columns, k0, k1, sum_k, max_k, cores_k,
                        i0, i1, sum_i, cores_i, h0, h1, sum_h, max_h, cores_h,
                    )  # fmt: skip
                    if matrix:
                        lower_contraction(site, draft, tile)
                        matrix_row = state[ROW] - 1
                    load_parameters(site, draft, tile)
                    lower_ending(site, draft, tile, matrix_row)
                    if matrix:
                        state[ACC_HALF] = 1 - state[ACC_HALF]
            weights += reductions
            if by_parts:
                log_write(draft, t, p, VECTOR, state[LAST_VECTOR])
                lower_store(site, draft, t, p, k0, k1)
                stored_before, stored = stored, state[ROW] - 1
    if by_parts:
        log_read(draft, t, t, -1, p, DMA, stored)
    _log(site, draft, t, p, matrix_row)


@compiled_inner
def _wait_for_inputs(site: Site, draft: Draft, layer: int, p: int) -> None:
    """Into `draft.matrix_waits` what the operands of the matrix engine wait for, into `latest` all other inputs."""
    net, geo, choice = site.net, site.geo, site.choice
    written, latest, matrix_waits = draft.written, draft.latest, draft.matrix_waits
    for engine in range(4):
        matrix_waits[engine] = -1
    for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
        source = geo.edge_local[e - net.edge_start[choice.first]]
        operand = net.is_matrix[layer] == 1 and e - net.edge_start[layer] < net.anchor_inputs[layer]
        wait_for_writers(written, matrix_waits if operand else latest, source, p)


@compiled_inner
def _log(site: Site, draft: Draft, t: int, p: int, matrix_row: int) -> None:
    """Log what a layer read and wrote."""
    net, geo, choice = site.net, site.geo, site.choice
    layer = choice.first + t - geo.entries
    vector_row = draft.state[LAST_VECTOR]
    for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
        source = geo.edge_local[e - net.edge_start[choice.first]]
        if net.is_matrix[layer] and e - net.edge_start[layer] < net.anchor_inputs[layer]:
            engine, reader = MATRIX, matrix_row
        else:
            engine, reader = VECTOR, vector_row
        log_read(draft, source, t, e, p, engine, reader)
    log_write(draft, t, p, VECTOR, vector_row)
