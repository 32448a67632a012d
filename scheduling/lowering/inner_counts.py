"""What a lowered instance moves through the inner memories of its cores, and the time that their ports cost.

A pass over the rows of lowering, which knows nothing of inner memories; the figures of every instruction come from
`hwmodel.timing.levels`, as for decoded kernels.
"""

from __future__ import annotations

import numpy as np

from hwmodel.compiled import compiled
from hwmodel.machines.level_table import LevelTable
from hwmodel.machines.machine_table import MachineTable
from hwmodel.timing.levels import (
    READ,
    WRITE,
    Extents,
    contraction_accesses,
    level_at,
    pass_down,
    pass_up,
    product_accesses,
)
from scheduling.choice import Choice
from scheduling.lowering import DMA_READS, DMA_WRITES, VECTOR_READS, VECTOR_WRITES, Lowered
from scheduling.lowering.region_maps import needed_rows
from scheduling.lowering.rows import (
    C_A,
    C_H0,
    C_H1,
    C_HOLD,
    C_I0,
    C_I1,
    C_K0,
    C_K1,
    C_LATENCY,
    C_OP,
    C_PIECE,
    C_R0,
    C_R1,
    C_TENSOR,
    C_WEIGHT,
    N_L1_READ,
    N_L1_WRITE,
    N_WEIGHTS_READ,
    OP_CONV,
    OP_LOADW,
    OP_MATMUL,
)
from scheduling.lowering.shares import input_columns, piece_rows
from scheduling.lowering.tables import Ints, NetworkTable


@compiled
def count_inner(
    net: NetworkTable, m: MachineTable, t: LevelTable, choice: Choice, batch_part: int, lowered: Lowered
) -> Ints:
    """(2 n + 1,) bytes read from each inner memory, bytes written, and cycles of port stalls of an instance.

    Changes its rows, by the stalls, and its counts of l1 and the weight buffer, in place.
    """
    n = t.inner
    found = np.zeros((n + 2, 2), np.int64)
    _count_tensors(t, lowered, found)
    stalls = 0
    single = np.zeros((n + 2, 2), np.int64)  # of contractions
    image0 = net.batch * batch_part // choice.split_batch
    images = net.batch * (batch_part + 1) // choice.split_batch - image0
    rows = lowered.rows
    wide_in = input_columns(net, choice, lowered.geometry)
    for i in range(rows.shape[0]):
        if rows[i, C_OP] == OP_LOADW:
            _count_weight_load(net, m, t, choice, lowered, rows[i], found)
        elif rows[i, C_OP] == OP_CONV or rows[i, C_OP] == OP_MATMUL:
            cycles = _count_contraction(net, m, t, choice, images, lowered, wide_in, rows[i], single)
            stall = max(0, cycles - rows[i, C_HOLD])
            rows[i, C_HOLD] += stall
            rows[i, C_LATENCY] += stall
            stalls += stall
    lowered.counts[N_L1_READ] += single[n, READ] + found[n, READ]
    lowered.counts[N_L1_WRITE] += single[n, WRITE] + found[n, WRITE]
    lowered.counts[N_WEIGHTS_READ] += single[n + 1, READ] + found[n + 1, READ]
    result = np.empty(2 * n + 1, np.int64)
    result[:n] = found[:n, READ] + single[:n, READ]
    result[n : 2 * n] = found[:n, WRITE] + single[:n, WRITE]
    result[2 * n] = stalls
    return result


@compiled
def _count_tensors(t: LevelTable, lowered: Lowered, found: Ints) -> None:
    """Accesses of the vector engine and of the DMA, tensor by tensor."""
    touched, plan = lowered.touched, lowered.plan
    for local in range(touched.shape[0]):
        level = level_at(t.input_end, plan.address[local], t.inner)
        if level == t.inner:
            continue
        found[t.inner, READ] -= touched[local, VECTOR_READS]
        found[level, READ] += touched[local, VECTOR_READS]
        found[t.inner, WRITE] -= touched[local, VECTOR_WRITES]
        found[level, WRITE] += touched[local, VECTOR_WRITES]
        pass_up(t, t.input_end, level, t.inner, touched[local, DMA_READS], found)
        pass_down(t, t.input_end, level, t.inner, touched[local, DMA_WRITES], found)


@compiled
def _count_weight_load(
    net: NetworkTable,
    m: MachineTable,
    t: LevelTable,
    choice: Choice,
    lowered: Lowered,
    row: Ints,
    found: Ints,
) -> None:
    layer = choice.first + row[C_TENSOR] - lowered.geometry.entries
    channels = net.tensor_channels[lowered.geometry.tensor[row[C_TENSOR]]]
    geo, t_row = lowered.geometry, row[C_TENSOR]
    ways = geo.channel_ways[t_row]
    for way in range(ways):
        share = channels * (way + 1) // ways - channels * way // ways
        if row[C_A]:
            size = net.parameters[layer] * share * m.element_bytes
        else:
            wide = max(0, min(share, row[C_K1]) - min(share, row[C_K0]))
            size = wide * (row[C_R1] - row[C_R0]) * net.taps[layer] * m.element_bytes
        if size > 0:
            level = level_at(t.weight_end, row[C_WEIGHT] + size - 1, t.inner + 1)
            moved = size * geo.batch_ways[t_row] * geo.row_ways[t_row]
            pass_down(t, t.weight_end, level, t.inner + 1, moved, found)


@compiled
def _count_contraction(
    net: NetworkTable,
    m: MachineTable,
    t: LevelTable,
    choice: Choice,
    images: int,
    lowered: Lowered,
    wide_in: Ints,
    row: Ints,
    found: Ints,
) -> int:
    """Add a contraction's accesses, on all cores, less what lowering counted of l1 and the weight buffer (each
    operand once); returns the cycles for which it holds the engine."""
    geo = lowered.geometry
    n, first = t.inner, choice.first
    layer = first + row[C_TENSOR] - geo.entries
    edge = net.edge_start[layer]
    local = edge - net.edge_start[first]
    source = geo.edge_local[local]
    channels = net.tensor_channels[geo.tensor[row[C_TENSOR]]]
    columns = geo.held_stop[row[C_TENSOR]] - geo.new_start[row[C_TENSOR]]
    in_columns = wide_in[local]
    inputs = level_at(t.input_end, lowered.plan.address[source], n)
    convolves = row[C_OP] == OP_CONV
    second = n + 1
    if not convolves:
        second = level_at(t.input_end, lowered.plan.address[geo.edge_local[local + 1]], n)
    depth, taps, eb = row[C_R1] - row[C_R0], net.taps[layer], m.element_bytes
    wide = (min(columns, m.f_columns) - 1) * net.column_stride[edge] + net.column_extent[edge]
    cycles = 0
    batch_ways, ways = geo.batch_ways[row[C_TENSOR]], geo.channel_ways[row[C_TENSOR]]
    for batch_way in range(batch_ways):
        have = images * (batch_way + 1) // batch_ways - images * batch_way // batch_ways
        of_images = max(0, min(have, row[C_I1]) - min(have, row[C_I0]))
        for row_way in range(geo.row_ways[row[C_TENSOR]]):
            low, high = piece_rows(geo.start, geo.ends, row_way, row[C_TENSOR], row[C_PIECE])
            begin, stop = low + min(high - low, row[C_H0]), low + min(high - low, row[C_H1])
            in_rows = 0
            if stop > begin and in_columns > 0:
                lower, upper = needed_rows(net, edge, begin, stop)
                in_rows = max(0, upper - lower)
            for way in range(ways):
                share = channels * (way + 1) // ways - channels * way // ways
                of_channels = max(0, min(share, row[C_K1]) - min(share, row[C_K0]))
                active = of_images > 0 and stop > begin and of_channels > 0
                if convolves:
                    tile = Extents(
                        of_images, max(0, stop - begin), columns, of_channels, depth, taps, in_rows, in_columns, wide
                    )  # fmt: skip
                    size = of_channels * depth * taps * eb
                    second = level_at(t.weight_end, row[C_WEIGHT] + size - 1, n + 1)
                    held = contraction_accesses(t, m, tile, inputs, second, row[C_A], found)
                    if active:
                        found[n, READ] -= of_images * in_rows * in_columns * depth * eb
                        found[n + 1, READ] -= size
                else:
                    tile = Extents(
                        of_images, max(0, stop - begin), columns, of_channels, depth, 1, max(0, stop - begin),
                        columns, min(columns, m.f_columns),
                    )  # fmt: skip
                    held = product_accesses(t, m, tile, inputs, second, row[C_A], found)
                    if active:
                        pixels = (stop - begin) * columns
                        found[n, READ] -= of_images * depth * (pixels + of_channels) * eb
                cycles = max(cycles, held)
    return cycles
