"""Rows of the vector engine that end a layer: from the accumulator or from L1, through its steps, to L1."""

from __future__ import annotations

from hwmodel.compiled import compiled_inner
from hwmodel.timing.costs import vector_cycles
from scheduling.lowering.draft import (
    ACC_HALF,
    LAST_VECTOR,
    ROW,
    VECTOR_READS,
    VECTOR_ROWS,
    VECTOR_WRITES,
    Draft,
    Site,
    end_row,
)
from scheduling.lowering.geometry import Geometry
from scheduling.lowering.rows import (
    C_A,
    C_ACC,
    C_ENGINE,
    C_EXTERNAL0,
    C_EXTERNAL1,
    C_H0,
    C_H1,
    C_HOLD,
    C_I0,
    C_I1,
    C_K0,
    C_K1,
    C_LATENCY,
    C_LINK,
    C_OP,
    C_PIECE,
    C_R0,
    C_TENSOR,
    C_WEIGHT,
    LINK_NONE,
    N_ACC_READ,
    N_L1_READ,
    N_L1_WRITE,
    N_VECTOR,
    N_WEIGHTS_READ,
    OP_VECTOR,
    SLOT_DMA,
    VECTOR,
)
from scheduling.lowering.shares import even_share, input_rows, piece_rows
from scheduling.lowering.tables import JOINS_CHANNELS, JOINS_ROWS, REARRANGES, NetworkTable
from scheduling.lowering.tile import Tile
from scheduling.lowering.tiling import ACCUMULATOR_BYTES


@compiled_inner
def lower_ending(site: Site, draft: Draft, tile: Tile, matrix_row: int) -> None:
    """End a tile whose sums `matrix_row` completed, or (-1) which the vector engine makes by itself: in one row, or
    one for each input of a Concat that the tile has a part of."""
    net, geo = site.net, site.geo
    kind, ways = net.kind[tile.layer], geo.channel_ways[tile.t]
    if kind not in (JOINS_CHANNELS, JOINS_ROWS):
        _end_in_row(site, draft, tile, 0, matrix_row, tile.sum_k, tile.max_k, tile.sum_h, tile.max_h)
        return
    below = 0
    for source in range(net.anchor_inputs[tile.layer]):
        tensor = net.edge_tensor[net.edge_start[tile.layer] + source]
        total, most = 0, 0
        if kind == JOINS_ROWS:
            above = below + net.tensor_rows[tensor]
            for way in range(geo.start.shape[0]):
                a, b = piece_rows(geo.start, geo.ends, way, tile.t, tile.p)
                width = max(0, min(b, above) - max(a, below))
                total += width
                most = max(most, width)
            if tile.sum_i * total * tile.sum_k * tile.columns > 0:
                _end_in_row(site, draft, tile, source, -1, tile.sum_k, tile.max_k, total, most)
        else:
            above = below + net.tensor_channels[tensor]
            for way in range(ways):
                a, b = even_share(net.tensor_channels[geo.tensor[tile.t]], ways, way)
                width = max(0, min(b, above) - max(a, below))
                total += width
                most = max(most, width)
            _end_in_row(site, draft, tile, source, -1, total, most, tile.sum_h, tile.max_h)
        below = above


@compiled_inner
def _end_in_row(
    site: Site,
    draft: Draft,
    tile: Tile,
    source: int,
    matrix_row: int,
    sum_k: int,
    max_k: int,
    sum_h: int,
    max_h: int,
) -> None:
    """End what comes from input `source`: `sum_k` channels and `sum_h` rows on all cores together, `max_k` and `max_h`
    on one."""
    net, m, layer = site.net, site.m, tile.layer
    state, chunks = draft.state, draft.chunks
    counts, touched, latest = draft.counts, draft.touched, draft.latest
    i, half, element_bytes = state[ROW], state[ACC_HALF], m.element_bytes
    matrix = net.is_matrix[layer] == 1
    elements = tile.sum_i * sum_h * sum_k * tile.columns
    hold = vector_cycles(m, (tile.i1 - tile.i0) * max_h * tile.columns * max_k, net.passes[layer])
    row, raw = draft.rows[i], draft.raw[i]
    row[C_OP] = OP_VECTOR
    row[C_TENSOR], row[C_PIECE] = tile.t, tile.p
    row[C_K0], row[C_K1] = tile.k0, tile.k1
    row[C_R0] = 1 if matrix else 0
    row[C_I0], row[C_I1] = tile.i0, tile.i1
    row[C_H0], row[C_H1] = tile.h0, tile.h1
    row[C_WEIGHT] = chunks.address[tile.chunk]
    row[C_ACC] = half * (m.accumulator_bytes // 2)
    row[C_A] = source
    row[C_ENGINE] = VECTOR
    row[C_HOLD] = hold
    row[C_LATENCY] = hold
    row[C_LINK] = LINK_NONE
    row[C_EXTERNAL0] = -1 if state[VECTOR_ROWS] else SLOT_DMA
    row[C_EXTERNAL1] = -1
    for engine in range(4):
        raw[engine] = latest[engine]
    if matrix:
        raw[0] = max(raw[0], matrix_row)
        draft.acc_reader[half] = i
    if net.parameters[layer]:
        raw[3] = max(raw[3], chunks.loaded_by[tile.chunk])
        chunks.reader[tile.chunk] = i
    state[LAST_VECTOR] = i
    state[VECTOR_ROWS] += 1
    end_row(draft)

    counts[N_VECTOR] += elements * net.operations[layer]
    counts[N_L1_WRITE] += elements * element_bytes
    touched[tile.t, VECTOR_WRITES] += elements * element_bytes
    counts[N_WEIGHTS_READ] += net.parameter_reads[layer] * sum_k * element_bytes * tile.cores_i * tile.cores_h
    geo, choice = site.geo, site.choice
    edge_local, edge0 = geo.edge_local, net.edge_start[choice.first]
    for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
        moved = elements * element_bytes * net.edge_steps[e]
        counts[N_L1_READ] += moved
        touched[edge_local[e - edge0], VECTOR_READS] += moved
    if matrix:
        counts[N_ACC_READ] += elements * ACCUMULATOR_BYTES
    else:
        e = net.edge_start[layer] + source
        columns = site.input_columns[e - edge0]
        moved = _elements_read(net, geo, tile, e, edge0, columns, sum_k, elements) * element_bytes
        counts[N_L1_READ] += moved
        touched[edge_local[e - edge0], VECTOR_READS] += moved


@compiled_inner
def _elements_read(
    net: NetworkTable,
    geo: Geometry,
    tile: Tile,
    e: int,
    edge0: int,
    columns: int,
    sum_k: int,
    elements: int,
) -> int:
    """Elements of an input, by edge `e`, that the anchor reads to make `elements` of `sum_k` channels."""
    kind = net.kind[tile.layer]
    if kind in (REARRANGES, JOINS_ROWS):
        return elements
    tensor = geo.tensor[geo.edge_local[e - edge0]]
    wide, held, channels = sum_k, net.tensor_channels[tensor], net.tensor_channels[geo.tensor[tile.t]]
    if kind != JOINS_CHANNELS:
        if net.edge_all_channels[e]:
            wide = held * tile.cores_k
        elif held != channels:  # groups of channels become one each
            wide = sum_k * held // channels
    rows = input_rows(
        geo.start, geo.ends, tile.t, tile.p, tile.h0, tile.h1, net.edge_stride[e], net.edge_offset[e],
        net.edge_extent[e], net.edge_divisor[e], net.edge_whole[e], net.tensor_rows[tensor],
    )  # fmt: skip
    return int(tile.sum_i * rows * columns * wide)
