"""Rows of the matrix engine: a tile of a contraction or of a product of activations."""

from __future__ import annotations

from hwmodel.compiled import compiled_inner
from hwmodel.timing.costs import ceil_div, matmul_cycles, matrix_cycles
from scheduling.lowering.draft import ACC_HALF, ROW, Draft, Site, end_row
from scheduling.lowering.geometry import Geometry
from scheduling.lowering.rows import (
    C_A,
    C_ACC,
    C_B,
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
    C_R1,
    C_TENSOR,
    C_WEIGHT,
    LINK_NONE,
    MATRIX,
    N_ACC_READ,
    N_ACC_WRITE,
    N_L1_READ,
    N_MACS,
    N_WEIGHTS_READ,
    OP_CONV,
    OP_MATMUL,
)
from scheduling.lowering.shares import input_rows
from scheduling.lowering.tables import CONVOLVES, Ints, NetworkTable
from scheduling.lowering.tile import Tile
from scheduling.lowering.tiling import ACCUMULATOR_BYTES
from scheduling.lowering.weight_loads import load_weights


@compiled_inner
def lower_contraction(site: Site, draft: Draft, tile: Tile) -> None:
    """Add a tile's products up in the accumulator, a part of the input channels in each row."""
    net, m, layer = site.net, site.m, tile.layer
    state, chunks, counts, matrix_waits = draft.state, draft.chunks, draft.counts, draft.matrix_waits
    rows, all_waits, half = draft.rows, draft.raw, draft.state[ACC_HALF]
    half_bytes, element_bytes, taps = m.accumulator_bytes // 2, m.element_bytes, net.taps[layer]
    half_reader = draft.acc_reader[half]
    convolves = net.kind[layer] == CONVOLVES
    reduction, part = net.reduction[layer], site.tiles[tile.j, 1]
    images = tile.i1 - tile.i0
    elements = tile.sum_i * tile.sum_h * tile.sum_k * tile.columns
    pixels_read = _pixels_read(net, site.geo, tile, site.choice.first, site.input_columns)
    for index in range(ceil_div(reduction, part)):
        r0 = index * part
        r1 = min(reduction, r0 + part)
        chunk = tile.chunk
        if convolves:
            chunk = tile.weights + index
            load_weights(site, draft, tile, chunk, r0, r1)
            hold = matrix_cycles(m, images, tile.max_h, tile.columns, tile.max_k, r1 - r0, taps)
        else:
            hold = matmul_cycles(m, images, tile.max_h, tile.columns, tile.max_k, r1 - r0)
        i = state[ROW]
        row, raw = rows[i], all_waits[i]
        row[C_OP] = OP_CONV if convolves else OP_MATMUL
        row[C_TENSOR], row[C_PIECE] = tile.t, tile.p
        row[C_K0], row[C_K1] = tile.k0, tile.k1
        row[C_R0], row[C_R1] = r0, r1
        row[C_I0], row[C_I1] = tile.i0, tile.i1
        row[C_H0], row[C_H1] = tile.h0, tile.h1
        row[C_WEIGHT] = chunks.address[chunk]
        row[C_ACC] = half * half_bytes
        row[C_A] = 1 if index > 0 else 0
        row[C_B] = tile.group
        row[C_ENGINE] = MATRIX
        row[C_HOLD] = hold
        row[C_LATENCY] = hold + m.matrix_drain
        row[C_LINK] = LINK_NONE
        row[C_EXTERNAL0] = -1
        row[C_EXTERNAL1] = -1
        for engine in range(4):
            raw[engine] = matrix_waits[engine]
        if index == 0:
            raw[1] = max(raw[1], half_reader)
        operand_bytes = tile.sum_k * (r1 - r0) * taps * element_bytes * tile.cores_h
        if convolves:
            raw[3] = max(raw[3], chunks.loaded_by[chunk])
            chunks.reader[chunk] = i
            counts[N_WEIGHTS_READ] += operand_bytes * tile.cores_i
        else:
            counts[N_L1_READ] += operand_bytes * tile.sum_i
        counts[N_MACS] += elements * (r1 - r0) * taps
        counts[N_ACC_WRITE] += elements * ACCUMULATOR_BYTES
        if index > 0:
            counts[N_ACC_READ] += elements * ACCUMULATOR_BYTES
        counts[N_L1_READ] += pixels_read * (r1 - r0) * element_bytes * tile.cores_k
        end_row(draft)


@compiled_inner
def _pixels_read(net: NetworkTable, geo: Geometry, tile: Tile, first: int, columns: Ints) -> int:
    """Pixels of the first operand that a tile reads, of all images and row ways."""
    e = net.edge_start[tile.layer]
    local = e - net.edge_start[first]
    size = net.tensor_rows[geo.tensor[geo.edge_local[local]]]
    rows = input_rows(
        geo.start, geo.ends, tile.t, tile.p, tile.h0, tile.h1, net.edge_stride[e], net.edge_offset[e],
        net.edge_extent[e], net.edge_divisor[e], net.edge_whole[e], size,
    )  # fmt: skip
    return int(tile.sum_i * columns[local] * rows)
