"""Lowering: one instance of a sub-graph becomes instructions with waits, as rows of integers.

The rows are the single source of truth: the timing simulator reads their costs, and `scheduling.emission` turns
the same rows into instructions with addresses. Instances that are alike share one lowered template.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled
from hwmodel.costs import dma_hold, matrix_cycles, vector_cycles
from hwmodel.isa import Op
from hwmodel.machine_table import MachineTable
from scheduling.choice import CHANNELS, Choice
from scheduling.geometry import Geometry, geometry, needed_start, needed_stop
from scheduling.operations import COMPUTE, GATHER, LOAD, Plan, batch_part_max, order_operations, place
from scheduling.tables import Ints, NetworkTable
from scheduling.tiling import ACCUMULATOR_BYTES, LEGAL, SHORT_L1, SHORT_WEIGHTS, tile_contraction

OP_LAUNCH, OP_LOAD, OP_LOADW = int(Op.LAUNCH), int(Op.LOAD), int(Op.LOADW)
OP_STORE, OP_BROADCAST, OP_CONV, OP_VECTOR = int(Op.STORE), int(Op.BROADCAST), int(Op.CONV), int(Op.VECTOR)

# Columns of a row: what the instruction does.
C_OP, C_TENSOR, C_PIECE = 0, 1, 2
C_K0, C_K1 = 3, 4  # output channels, from the start of the core's share
C_R0, C_R1 = 5, 6  # input channels of a group; of VECTOR: C_R0 is 1 where it reads the accumulator
C_I0, C_I1 = 7, 8  # images, from the core's first
C_H0, C_H1 = 9, 10  # rows, from the start of the piece
C_WEIGHT, C_ACC = 11, 12  # addresses; of VECTOR, C_WEIGHT is where its parameters are
C_A, C_B = (
    13,
    14,
)  # LOAD: image and row part of the source; LOADW: C_A 1 for parameters; CONV: C_A accumulate,
# C_B group; VECTOR: C_A input of a Concat
# Columns of a row: what it costs. Engines: MATRIX, VECTOR, DMA; links as in LINK_*.
C_ENGINE, C_HOLD, C_LATENCY, C_LINK, C_LINK_HOLD = 15, 16, 17, 18, 19
C_EXTERNAL0, C_EXTERNAL1 = 20, 21  # slots of what it waits for outside the instance, or -1
C_WAIT0 = 22  # three waits, indices or -1
COLUMNS = 25

MATRIX, VECTOR, DMA, SYSTEM = 0, 1, 2, 3
LINK_NONE, LINK_DRAM_READ, LINK_DRAM_WRITE, LINK_LLB_READ, LINK_LLB_WRITE = -1, 0, 1, 2, 3

SLOT_COMPUTE, SLOT_DMA, SLOT_ENTRIES = 0, 1, 2
"""External slots: the previous step's compute, its DMA, then each entry tensor, then each layer's staged weights."""

# Order of the counts: hwmodel.counts.Counts.
(
    N_DRAM_READ,
    N_DRAM_WRITE,
    N_LLB_READ,
    N_LLB_WRITE,
    N_EXCHANGE,
    N_MACS,
    N_VECTOR,
    N_L1_READ,
    N_L1_WRITE,
    N_WEIGHTS_READ,
    N_WEIGHTS_WRITE,
    N_ACC_READ,
    N_ACC_WRITE,
) = range(13)

ROWS_NOT_CARRIED = 4
GROUPS_NOT_DIVISIBLE = 5
TOO_MANY_WAYS = 6
TOO_MANY_INSTRUCTIONS = 7
MOST_INSTRUCTIONS = 60_000


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


@compiled
def check_axes(net: NetworkTable, choice: Choice) -> tuple[int, int, int]:
    """(status, layer, short_bytes) of what can be said before geometry: axes and ways."""
    if choice.split_batch * choice.ways_batch > net.batch:
        return TOO_MANY_WAYS, choice.first, 0
    parts = choice.split_rows * choice.ways_rows
    for layer in range(choice.first, choice.stop):
        out = net.input_count + layer
        if choice.ways_channels > net.tensor_channels[out]:
            return TOO_MANY_WAYS, layer, 0
        if choice.ways_channels > 1 and net.groups[layer] > 1 and net.groups[layer] % choice.ways_channels:
            return GROUPS_NOT_DIVISIBLE, layer, 0
        if parts > 1:
            if net.last_use[out] >= choice.stop and net.tensor_rows[out] < parts:
                return ROWS_NOT_CARRIED, layer, 0
            for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
                if net.edge_whole[e]:
                    return ROWS_NOT_CARRIED, layer, 0
    return LEGAL, choice.first, 0


@compiled
def plan_instance(
    net: NetworkTable, m: MachineTable, choice: Choice, row_part: int
) -> tuple[int, int, int, Geometry, Plan, Ints]:
    """Geometry, layout and tilings of an instance, and whether they fit: (status, layer, short bytes, ...)."""
    geo = geometry(net, choice, row_part)
    kinds, tensors, pieces = order_operations(net, choice, geo)
    plan = place(net, choice, geo, kinds, tensors, pieces, m.element_bytes)
    count = choice.stop - choice.first
    tiles = np.zeros((count, 4), np.int64)
    status, where, short = LEGAL, choice.first, 0
    if plan.peak_bytes > m.l1_bytes:
        status, short = SHORT_L1, plan.peak_bytes - m.l1_bytes
        largest = 0
        for t in range(geo.tensor.shape[0]):
            if plan.size_bytes[t] > largest:
                largest = plan.size_bytes[t]
                where = choice.first + max(0, t - geo.entries)
    images = -(-batch_part_max(net.batch, choice.split_batch) // choice.ways_batch)
    for j in range(count):
        layer = choice.first + j
        t = geo.entries + j
        share = -(-net.tensor_channels[geo.tensor[t]] // choice.ways_channels)
        parameter_bytes = net.parameters[layer] * share * m.element_bytes
        if parameter_bytes > m.weights_bytes:
            return SHORT_WEIGHTS, layer, parameter_bytes - m.weights_bytes, geo, plan, tiles
        if not net.is_matrix[layer]:
            continue
        rows = 0
        for way in range(geo.start.shape[0]):
            for p in range(geo.ends.shape[2]):
                low = geo.start[way, t] if p == 0 else geo.ends[way, t, p - 1]
                rows = max(rows, geo.ends[way, t, p] - low)
        if rows == 0:
            continue
        groups = max(1, net.groups[layer] // choice.ways_channels)
        tiling = tile_contraction(
            m,
            images,
            rows,
            net.tensor_columns[geo.tensor[t]],
            -(-share // groups),
            net.reduction[layer],
            net.taps[layer],
            parameter_bytes,
            choice.pieces if choice.axis == CHANNELS else 1,
        )
        if tiling.status != LEGAL:
            return tiling.status, layer, tiling.short_bytes, geo, plan, tiles
        tiles[j, 0] = tiling.channels
        tiles[j, 1] = tiling.reduction
        tiles[j, 2] = tiling.images
        tiles[j, 3] = tiling.rows
    return status, where, short, geo, plan, tiles


@compiled
def part_of(position: int, size: int, parts: int) -> int:
    """Which of `parts` even slices of `size` holds `position`."""
    return ((position + 1) * parts - 1) // size


@compiled
def overlap(low: int, high: int, size: int, parts: int, index: int) -> tuple[int, int]:
    """The part of [low, high) in the index-th slice that it touches, of `parts` even slices of `size`."""
    if high <= low:
        return low, low
    part = part_of(low, size, parts) + index
    if part >= parts:
        return high, high
    a = max(low, size * part // parts)
    b = min(high, size * (part + 1) // parts)
    return (a, b) if b > a else (high, high)


@compiled
def piece_rows(geo: Geometry, way: int, tensor: int, piece: int) -> tuple[int, int]:
    """New rows of a tensor in a piece, on the cores of row way `way`."""
    low = geo.start[way, tensor] if piece == 0 else geo.ends[way, tensor, piece - 1]
    return low, geo.ends[way, tensor, piece]


@compiled
def _later(latest: Ints, engine: int, index: int) -> None:
    latest[engine] = max(latest[engine], index)


@compiled
def lower(
    net: NetworkTable,
    m: MachineTable,
    choice: Choice,
    batch_part: int,
    row_part: int,
    in_llb: Ints,
    source_batch: Ints,
    source_rows: Ints,
    staged: Ints,
) -> Lowered:
    """Lower instance (batch_part, row_part) of a sub-graph.

    `in_llb` (T,): 1 where the tensor is in the LLB, in slices of the batch and the rows as `source_batch` and
    `source_rows` (T,) count them; else it is whole in DRAM (and both are 1). `staged` (L,): 1 where the layer's
    weights are in the LLB.
    """
    status, where, short, geo, plan, tiles = plan_instance(net, m, choice, row_part)
    counts = np.zeros(13, np.int64)
    nothing = np.empty((0, COLUMNS), np.int64)
    if status != LEGAL:
        return Lowered(status, where, short, nothing, counts, plan, geo, tiles)
    first = choice.first
    entries = geo.entries
    n = geo.tensor.shape[0]
    count = choice.stop - first
    eb = m.element_bytes
    row_ways, batch_ways, channel_ways = choice.ways_rows, choice.ways_batch, choice.ways_channels
    pieces = geo.ends.shape[2]
    image0 = net.batch * batch_part // choice.split_batch
    images = net.batch * (batch_part + 1) // choice.split_batch - image0
    images_most = -(-images // batch_ways)
    edge0 = net.edge_start[first]

    # An upper bound of the rows, so that the array is allocated once.
    bound = 8
    for position in range(plan.kind.shape[0]):
        j = plan.tensor[position] - entries
        bound += 2 + (4 * (batch_ways + 2) if plan.kind[position] == LOAD else 0)
        if plan.kind[position] == COMPUTE:
            if net.is_matrix[first + j]:
                share = -(-net.tensor_channels[geo.tensor[entries + j]] // channel_ways)
                chunks = -(-share // tiles[j, 0]) + net.groups[first + j]
                parts = -(-net.reduction[first + j] // tiles[j, 1])
                spots = -(-images_most // tiles[j, 2]) * -(
                    -_most_rows(geo, entries + j, plan.piece[position]) // tiles[j, 3]
                )
                bound += chunks * spots * (2 * parts + 2)
            else:
                bound += 2 + net.edge_start[first + j + 1] - net.edge_start[first + j]
    if bound > 4 * MOST_INSTRUCTIONS:
        return Lowered(TOO_MANY_INSTRUCTIONS, first, 0, nothing, counts, plan, geo, tiles)
    rows = np.full((bound, COLUMNS), 0, np.int64)
    raw = np.full((bound, 4), -1, np.int64)  # latest row waited for: matrix, vector, dma, weight loads
    anchor_of = np.full(bound, -1, np.int64)  # of a weight load: it may be moved to just behind this row

    # Chunks of weights, a ring: chunk -> address and last reader while resident.
    chunk_start = np.zeros(count + 1, np.int64)
    for j in range(count):
        chunks = 1
        if net.is_matrix[first + j] and tiles[j, 0] > 0:
            groups = max(1, net.groups[first + j] // channel_ways)
            share = -(-net.tensor_channels[geo.tensor[entries + j]] // channel_ways)
            chunks += (
                groups
                * -(-(-(-share // groups)) // tiles[j, 0])
                * -(-net.reduction[first + j] // tiles[j, 1])
            )
        chunk_start[j + 1] = chunk_start[j] + chunks
    total_chunks = chunk_start[count]
    chunk_address = np.full(total_chunks, -1, np.int64)
    chunk_size = np.zeros(total_chunks, np.int64)
    chunk_row = np.zeros(total_chunks, np.int64)
    chunk_reader = np.full(total_chunks, -1, np.int64)
    fifo = np.empty(bound, np.int64)
    fifo_head, fifo_tail, ring_head = 0, 0, 0
    anchor = np.full(2, -1, np.int64)  # latest matrix and vector rows whose weights were given up

    last_access = np.full((n, 3), -1, np.int64)
    written = np.full((n, pieces, 3), -1, np.int64)  # latest writer rows of pieces up to p, per engine
    reads = 0
    for position in range(plan.kind.shape[0]):
        reads += 1
        if plan.kind[position] == COMPUTE:
            layer = first + plan.tensor[position] - entries
            reads += net.edge_start[layer + 1] - net.edge_start[layer]
    logs = np.empty((reads, 6), np.int64)  # next, reader, edge, piece, engine, row
    log_head = np.full(n, -1, np.int64)
    log_count = 0
    latest = np.full(4, -1, np.int64)
    acc_reader = np.full(2, -1, np.int64)
    acc_slot = 0
    half_acc = m.accumulator_bytes // 2

    i = 0
    rows[i, C_OP] = OP_LAUNCH
    rows[i, C_ENGINE] = MATRIX
    rows[i, C_HOLD] = m.launch
    rows[i, C_LATENCY] = m.launch
    rows[i, C_LINK] = LINK_NONE
    rows[i, C_EXTERNAL0] = -1
    rows[i, C_EXTERNAL1] = -1
    i += 1
    last_vector = -1
    first_vector = True

    for position in range(plan.kind.shape[0]):
        kind, t, p = plan.kind[position], plan.tensor[position], plan.piece[position]
        tensor = geo.tensor[t]
        channels = net.tensor_channels[tensor]
        columns = net.tensor_columns[tensor]
        share_most = -(-channels // channel_ways)
        # What the first write of this piece has to wait for: readers of the rows that the ring overwrites, and
        # every access to tensors that had these addresses before.
        latest[:] = -1
        if kind <= COMPUTE:
            ring = plan.ring_rows[t]
            entry = log_head[t]
            while entry >= 0:
                for way in range(row_ways):
                    a, b = piece_rows(geo, way, t, p)
                    e, reader, piece = logs[entry, 2], logs[entry, 1], logs[entry, 3]
                    ra, rb = piece_rows(geo, way, reader, piece)
                    if ra >= rb or a >= b:
                        continue
                    if e >= 0:
                        size = net.tensor_rows[tensor]
                        rb = needed_stop(
                            rb,
                            net.edge_stride[e],
                            net.edge_offset[e],
                            net.edge_extent[e],
                            net.edge_whole[e],
                            size,
                        )
                        ra = needed_start(ra, net.edge_stride[e], net.edge_offset[e], net.edge_whole[e])
                    if ra < b - ring and rb > a - ring:
                        _later(latest, logs[entry, 4], logs[entry, 5])
                entry = logs[entry, 0]
            if plan.born[t] == position and plan.size_bytes[t] > 0:
                for other in range(n):
                    if (
                        plan.size_bytes[other] > 0
                        and 0 <= plan.dies[other] < position
                        and plan.address[other] < plan.address[t] + plan.size_bytes[t]
                        and plan.address[t] < plan.address[other] + plan.size_bytes[other]
                    ):
                        for engine in range(3):
                            _later(latest, engine, last_access[other, engine])
        begin = i

        if kind == LOAD:
            part_images, part_rows = source_batch[tensor], source_rows[tensor]
            most_b, most_r = 0, 0
            for way in range(batch_ways):
                a, b = image0 + images * way // batch_ways, image0 + images * (way + 1) // batch_ways
                if b > a:
                    most_b = max(
                        most_b,
                        part_of(b - 1, net.batch, part_images) - part_of(a, net.batch, part_images) + 1,
                    )
            for way in range(row_ways):
                a, b = piece_rows(geo, way, t, p)
                if b > a:
                    h = net.tensor_rows[tensor]
                    most_r = max(most_r, part_of(b - 1, h, part_rows) - part_of(a, h, part_rows) + 1)
            for bi in range(most_b):
                sum_b, max_b = 0, 0
                for way in range(batch_ways):
                    a, b = image0 + images * way // batch_ways, image0 + images * (way + 1) // batch_ways
                    a, b = overlap(a, b, net.batch, part_images, bi)
                    sum_b += b - a
                    max_b = max(max_b, b - a)
                for ri in range(most_r):
                    sum_r, max_r = 0, 0
                    for way in range(row_ways):
                        a, b = piece_rows(geo, way, t, p)
                        a, b = overlap(a, b, net.tensor_rows[tensor], part_rows, ri)
                        sum_r += b - a
                        max_r = max(max_r, b - a)
                    if sum_b * sum_r == 0:
                        continue
                    link_bytes = sum_b * sum_r * columns * channels * eb
                    core_bytes = max_b * max_r * columns * (channels if geo.full[t] else share_most) * eb
                    rows[i, C_OP] = OP_LOAD
                    rows[i, C_A] = bi
                    rows[i, C_B] = ri
                    rate = m.llb_read if in_llb[tensor] else m.dram_read
                    rows[i, C_LINK] = LINK_LLB_READ if in_llb[tensor] else LINK_DRAM_READ
                    rows[i, C_HOLD] = dma_hold(m, core_bytes, link_bytes, rate)
                    rows[i, C_LINK_HOLD] = -(-link_bytes // rate)
                    rows[i, C_EXTERNAL0] = SLOT_ENTRIES + t
                    rows[i, C_EXTERNAL1] = -1
                    _later(latest, MATRIX, 0)
                    counts[N_LLB_READ if in_llb[tensor] else N_DRAM_READ] += link_bytes
                    counts[N_L1_WRITE] += link_bytes * (channel_ways if geo.full[t] else 1)
                    i = _finish_dma(rows, raw, latest, i, t, p)
            _log_write(written, last_access, t, p, pieces, DMA, i - 1)

        elif kind == COMPUTE:
            j = t - entries
            layer = first + j
            matrix = net.is_matrix[layer] == 1
            rows_most = _most_rows(geo, t, p)
            for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
                source = geo.edge_local[e - edge0]
                anchor_reads = e - net.edge_start[layer] < net.anchor_inputs[layer]
                if not (matrix and anchor_reads):
                    for engine in range(3):
                        _later(latest, engine, written[source, p, engine])
            vector_waits = latest.copy()
            matrix_waits = np.full(4, -1, np.int64)
            if matrix:
                for k in range(net.anchor_inputs[layer]):
                    source = geo.edge_local[net.edge_start[layer] + k - edge0]
                    for engine in range(3):
                        _later(matrix_waits, engine, written[source, p, engine])
            parameter_chunk = chunk_start[j]
            weight_link = LINK_LLB_READ if staged[layer] else LINK_DRAM_READ
            weight_rate = m.llb_read if staged[layer] else m.dram_read
            weight_count = N_LLB_READ if staged[layer] else N_DRAM_READ
            weight_slot = SLOT_ENTRIES + entries + j if staged[layer] else -1
            barrier = last_vector
            groups = max(1, net.groups[layer] // channel_ways) if matrix else 1
            group_share = share_most // groups
            tile_k = tiles[j, 0] if matrix else share_most
            tile_i = tiles[j, 2] if matrix else images_most
            tile_h = tiles[j, 3] if matrix else rows_most
            reduction = net.reduction[layer]
            tile_r = tiles[j, 1] if matrix else 1
            if groups == 1:
                group_share = share_most
            chunks_k = -(-group_share // tile_k)
            chunks_r = -(-reduction // tile_r) if matrix else 0
            wrote_matrix = -1
            for g in range(groups):
                for kc in range(chunks_k):
                    k0 = g * group_share + kc * tile_k
                    k1 = g * group_share + min(group_share, (kc + 1) * tile_k)
                    sum_k, max_k = 0, 0
                    for way in range(channel_ways):
                        share = channels * (way + 1) // channel_ways - channels * way // channel_ways
                        width = max(0, min(share, k1) - min(share, k0))
                        sum_k += width
                        max_k = max(max_k, width)
                    for i0 in range(0, images_most, tile_i):
                        sum_i = 0
                        i1 = min(images_most, i0 + tile_i)
                        for way in range(batch_ways):
                            have = images * (way + 1) // batch_ways - images * way // batch_ways
                            sum_i += max(0, min(have, i1) - min(have, i0))
                        for h0 in range(0, rows_most, tile_h):
                            h1 = min(rows_most, h0 + tile_h)
                            sum_h, max_h = 0, 0
                            for way in range(row_ways):
                                a, b = piece_rows(geo, way, t, p)
                                width = max(0, min(b - a, h1) - min(b - a, h0))
                                sum_h += width
                                max_h = max(max_h, width)
                            elements = sum_i * sum_h * sum_k * columns
                            if matrix:
                                for rc in range(chunks_r):
                                    r0 = rc * tile_r
                                    r1 = min(reduction, r0 + tile_r)
                                    chunk = parameter_chunk + 1 + (g * chunks_k + kc) * chunks_r + rc
                                    if chunk_address[chunk] < 0:
                                        size = max_k * (r1 - r0) * net.taps[layer] * eb
                                        link_bytes = sum_k * (r1 - r0) * net.taps[layer] * eb
                                        if ring_head + size > m.weights_bytes:
                                            while (
                                                fifo_head < fifo_tail
                                                and chunk_address[fifo[fifo_head]] >= ring_head
                                            ):
                                                _evict(
                                                    chunk_address, chunk_reader, fifo[fifo_head], anchor, rows
                                                )
                                                fifo_head += 1
                                            ring_head = 0
                                        while fifo_head < fifo_tail and _clash(
                                            chunk_address, chunk_size, fifo[fifo_head], ring_head, size
                                        ):
                                            _evict(chunk_address, chunk_reader, fifo[fifo_head], anchor, rows)
                                            fifo_head += 1
                                        chunk_address[chunk] = ring_head
                                        chunk_size[chunk] = size
                                        chunk_row[chunk] = i
                                        fifo[fifo_tail] = chunk
                                        fifo_tail += 1
                                        ring_head += size
                                        rows[i, C_K0], rows[i, C_K1] = k0, k1
                                        rows[i, C_R0], rows[i, C_R1] = r0, r1
                                        rows[i, C_WEIGHT] = chunk_address[chunk]
                                        rows[i, C_A] = 0
                                        rows[i, C_B] = g
                                        counts[weight_count] += link_bytes
                                        counts[N_WEIGHTS_WRITE] += link_bytes * batch_ways * row_ways
                                        i = _weight_load(
                                            rows, raw, anchor_of, i, m, t, p, size, link_bytes, weight_link,
                                            weight_rate, weight_slot, anchor, barrier, choice.overlap,
                                        )  # fmt: skip
                                    hold = matrix_cycles(
                                        m, i1 - i0, max_h, columns, max_k, r1 - r0, net.taps[layer]
                                    )
                                    rows[i, C_OP] = OP_CONV
                                    rows[i, C_TENSOR], rows[i, C_PIECE] = t, p
                                    rows[i, C_K0], rows[i, C_K1] = k0, k1
                                    rows[i, C_R0], rows[i, C_R1] = r0, r1
                                    rows[i, C_I0], rows[i, C_I1] = i0, i1
                                    rows[i, C_H0], rows[i, C_H1] = h0, h1
                                    rows[i, C_WEIGHT] = chunk_address[chunk]
                                    rows[i, C_ACC] = acc_slot * half_acc
                                    rows[i, C_A] = 1 if rc > 0 else 0
                                    rows[i, C_B] = g
                                    rows[i, C_ENGINE] = MATRIX
                                    rows[i, C_HOLD] = hold
                                    rows[i, C_LATENCY] = hold + m.matrix_drain
                                    rows[i, C_LINK] = LINK_NONE
                                    rows[i, C_EXTERNAL0] = -1
                                    rows[i, C_EXTERNAL1] = -1
                                    for engine in range(4):
                                        raw[i, engine] = matrix_waits[engine]
                                    raw[i, 3] = max(raw[i, 3], chunk_row[chunk])
                                    if rc == 0:
                                        raw[i, 1] = max(raw[i, 1], acc_reader[acc_slot])
                                    chunk_reader[chunk] = i
                                    wrote_matrix = i
                                    work = elements * (r1 - r0)
                                    counts[N_MACS] += work * net.taps[layer]
                                    counts[N_WEIGHTS_READ] += (
                                        sum_k * (r1 - r0) * net.taps[layer] * eb
                                        * _active(images, batch_ways, i0, i1)
                                        * _active_rows(geo, t, p, h0, h1)
                                    )  # fmt: skip
                                    counts[N_ACC_WRITE] += elements * ACCUMULATOR_BYTES
                                    if rc > 0:
                                        counts[N_ACC_READ] += elements * ACCUMULATOR_BYTES
                                    counts[N_L1_READ] += (
                                        sum_i * _input_rows(net, geo, net.edge_start[layer], edge0, t, p, h0, h1)
                                        * net.tensor_columns[geo.tensor[geo.edge_local[net.edge_start[layer] - edge0]]]
                                        * (r1 - r0) * eb * _active_channels(channels, channel_ways, k0, k1)
                                    )  # fmt: skip
                                    i += 1
                            if net.parameters[layer] and chunk_address[parameter_chunk] < 0:
                                size = net.parameters[layer] * share_most * eb
                                link_bytes = net.parameters[layer] * channels * eb
                                if ring_head + size > m.weights_bytes:
                                    while (
                                        fifo_head < fifo_tail and chunk_address[fifo[fifo_head]] >= ring_head
                                    ):
                                        _evict(chunk_address, chunk_reader, fifo[fifo_head], anchor, rows)
                                        fifo_head += 1
                                    ring_head = 0
                                while fifo_head < fifo_tail and _clash(
                                    chunk_address, chunk_size, fifo[fifo_head], ring_head, size
                                ):
                                    _evict(chunk_address, chunk_reader, fifo[fifo_head], anchor, rows)
                                    fifo_head += 1
                                chunk_address[parameter_chunk] = ring_head
                                chunk_size[parameter_chunk] = size
                                chunk_row[parameter_chunk] = i
                                fifo[fifo_tail] = parameter_chunk
                                fifo_tail += 1
                                ring_head += size
                                rows[i, C_WEIGHT] = chunk_address[parameter_chunk]
                                rows[i, C_A] = 1
                                counts[weight_count] += link_bytes
                                counts[N_WEIGHTS_WRITE] += link_bytes * batch_ways * row_ways
                                i = _weight_load(
                                    rows, raw, anchor_of, i, m, t, p, size, link_bytes, weight_link, weight_rate,
                                    weight_slot, anchor, barrier, choice.overlap,
                                )  # fmt: skip
                            sources = 1
                            concat = not matrix and net.anchor_inputs[layer] > 1
                            if concat:
                                sources = net.anchor_inputs[layer]
                            below = 0
                            for s in range(sources):
                                if concat:
                                    width_all = net.tensor_channels[
                                        net.edge_tensor[net.edge_start[layer] + s]
                                    ]
                                    sum_k, max_k = 0, 0
                                    for way in range(channel_ways):
                                        a = max(channels * way // channel_ways, below)
                                        b = min(channels * (way + 1) // channel_ways, below + width_all)
                                        sum_k += max(0, b - a)
                                        max_k = max(max_k, b - a)
                                    below += width_all
                                    elements = sum_i * sum_h * sum_k * columns
                                rows[i, C_OP] = OP_VECTOR
                                rows[i, C_TENSOR], rows[i, C_PIECE] = t, p
                                rows[i, C_K0], rows[i, C_K1] = k0, k1
                                rows[i, C_R0] = 1 if matrix else 0
                                rows[i, C_I0], rows[i, C_I1] = i0, i1
                                rows[i, C_H0], rows[i, C_H1] = h0, h1
                                rows[i, C_WEIGHT] = chunk_address[parameter_chunk]
                                rows[i, C_ACC] = acc_slot * half_acc
                                rows[i, C_A] = s
                                rows[i, C_ENGINE] = VECTOR
                                hold = vector_cycles(
                                    m, (i1 - i0) * max_h * columns * max_k, net.passes[layer]
                                )
                                rows[i, C_HOLD] = hold
                                rows[i, C_LATENCY] = hold
                                rows[i, C_LINK] = LINK_NONE
                                rows[i, C_EXTERNAL0] = SLOT_DMA if first_vector else -1
                                rows[i, C_EXTERNAL1] = -1
                                first_vector = False
                                for engine in range(4):
                                    raw[i, engine] = vector_waits[engine]
                                if matrix:
                                    raw[i, 0] = max(raw[i, 0], wrote_matrix)
                                    acc_reader[acc_slot] = i
                                if net.parameters[layer]:
                                    raw[i, 3] = max(raw[i, 3], chunk_row[parameter_chunk])
                                    chunk_reader[parameter_chunk] = i
                                counts[N_VECTOR] += elements * net.operations[layer]
                                counts[N_L1_WRITE] += elements * eb
                                counts[N_L1_READ] += elements * eb * net.tensor_steps[layer]
                                counts[N_WEIGHTS_READ] += (
                                    net.parameter_reads[layer] * sum_k * eb
                                    * _active(images, batch_ways, i0, i1) * _active_rows(geo, t, p, h0, h1)
                                )  # fmt: skip
                                if matrix:
                                    counts[N_ACC_READ] += elements * ACCUMULATOR_BYTES
                                else:
                                    e = net.edge_start[layer] + s
                                    source = geo.edge_local[e - edge0]
                                    wide = sum_k
                                    if net.edge_all_channels[e] and not concat:
                                        wide = net.tensor_channels[geo.tensor[source]] * _active_channels(
                                            channels, channel_ways, k0, k1
                                        )
                                    counts[N_L1_READ] += (
                                        sum_i * _input_rows(net, geo, e, edge0, t, p, h0, h1)
                                        * net.tensor_columns[geo.tensor[source]] * wide * eb
                                    )  # fmt: skip
                                last_vector = i
                                i += 1
                            if matrix:
                                acc_slot = 1 - acc_slot
            for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
                source = geo.edge_local[e - edge0]
                anchor_reads = e - net.edge_start[layer] < net.anchor_inputs[layer]
                engine = MATRIX if matrix and anchor_reads else VECTOR
                row = wrote_matrix if engine == MATRIX else last_vector
                log_count = _log_read(logs, log_head, log_count, last_access, source, t, e, p, engine, row)
            _log_write(written, last_access, t, p, pieces, VECTOR, i - 1)

        elif kind == GATHER:
            sum_r, max_r = 0, 0
            for way in range(row_ways):
                a, b = piece_rows(geo, way, t, p)
                sum_r += b - a
                max_r = max(max_r, b - a)
            per_channel = images_most * max_r * columns * eb
            least_share = channels // channel_ways
            received = per_channel * (channels - least_share)
            sent = per_channel * share_most
            hold = m.dma_startup + -(-max(sent, received) // m.exchange)
            rows[i, C_OP] = OP_BROADCAST
            rows[i, C_LINK] = LINK_NONE
            rows[i, C_HOLD] = hold
            rows[i, C_EXTERNAL0] = -1
            rows[i, C_EXTERNAL1] = -1
            for engine in range(3):
                _later(latest, engine, written[t, p, engine])
            counts[N_EXCHANGE] += images * sum_r * columns * channels * (channel_ways - 1) * eb
            counts[N_L1_READ] += images * sum_r * columns * channels * eb
            counts[N_L1_WRITE] += images * sum_r * columns * channels * (channel_ways - 1) * eb
            i = _finish_dma(rows, raw, latest, i, t, p)
            log_count = _log_read(logs, log_head, log_count, last_access, t, t, -1, p, DMA, i - 1)
            for q in range(p, pieces):
                written[t, q, DMA] = i - 1

        else:
            sum_r, max_r = 0, 0
            for way in range(row_ways):
                a, b = piece_rows(geo, way, t, p)
                a, b = max(a, geo.own_start[way, t]), min(b, geo.own_stop[way, t])
                sum_r += max(0, b - a)
                max_r = max(max_r, b - a)
            link_bytes = images * sum_r * columns * channels * eb
            core_bytes = images_most * max_r * columns * share_most * eb
            rate = m.llb_write if in_llb[tensor] else m.dram_write
            rows[i, C_OP] = OP_STORE
            rows[i, C_LINK] = LINK_LLB_WRITE if in_llb[tensor] else LINK_DRAM_WRITE
            rows[i, C_HOLD] = dma_hold(m, core_bytes, link_bytes, rate)
            rows[i, C_LINK_HOLD] = -(-link_bytes // rate)
            rows[i, C_EXTERNAL0] = -1
            rows[i, C_EXTERNAL1] = -1
            _later(latest, VECTOR, written[t, p, VECTOR])
            counts[N_LLB_WRITE if in_llb[tensor] else N_DRAM_WRITE] += link_bytes
            counts[N_L1_READ] += link_bytes
            i = _finish_dma(rows, raw, latest, i, t, p)
            log_count = _log_read(logs, log_head, log_count, last_access, t, t, -1, p, DMA, i - 1)

    final = _arrange(rows, raw, anchor_of, i, choice.overlap)
    return Lowered(LEGAL, first, 0, final, counts, plan, geo, tiles)


@compiled
def _most_rows(geo: Geometry, tensor: int, piece: int) -> int:
    most = 0
    for way in range(geo.start.shape[0]):
        a, b = piece_rows(geo, way, tensor, piece)
        most = max(most, b - a)
    return most


@compiled
def _active(size: int, ways: int, low: int, high: int) -> int:
    """Ways whose even share of `size` reaches into [low, high)."""
    active = 0
    for way in range(ways):
        have = size * (way + 1) // ways - size * way // ways
        if min(have, high) > min(have, low):
            active += 1
    return active


@compiled
def _active_rows(geo: Geometry, tensor: int, piece: int, low: int, high: int) -> int:
    active = 0
    for way in range(geo.start.shape[0]):
        a, b = piece_rows(geo, way, tensor, piece)
        if min(b - a, high) > min(b - a, low):
            active += 1
    return active


@compiled
def _active_channels(channels: int, ways: int, low: int, high: int) -> int:
    return _active(channels, ways, low, high)


@compiled
def _input_rows(
    net: NetworkTable, geo: Geometry, edge: int, edge0: int, tensor: int, piece: int, low: int, high: int
) -> int:
    """Input rows that tile rows [low, high) of a piece read, summed over row ways."""
    size = net.tensor_rows[geo.tensor[geo.edge_local[edge - edge0]]]
    total = 0
    for way in range(geo.start.shape[0]):
        a, b = piece_rows(geo, way, tensor, piece)
        first, stop = a + min(b - a, low), a + min(b - a, high)
        if stop > first:
            total += needed_stop(
                stop,
                net.edge_stride[edge],
                net.edge_offset[edge],
                net.edge_extent[edge],
                net.edge_whole[edge],
                size,
            ) - needed_start(first, net.edge_stride[edge], net.edge_offset[edge], net.edge_whole[edge])
    return total


@compiled
def _finish_dma(rows: Ints, raw: Ints, latest: Ints, i: int, tensor: int, piece: int) -> int:
    rows[i, C_TENSOR] = tensor
    rows[i, C_PIECE] = piece
    rows[i, C_ENGINE] = DMA
    rows[i, C_LATENCY] = rows[i, C_HOLD]
    raw[i, :] = latest
    return i + 1


@compiled
def _clash(address: Ints, size: Ints, chunk: int, low: int, length: int) -> bool:
    return address[chunk] < low + length and low < address[chunk] + size[chunk]


@compiled
def _evict(address: Ints, reader: Ints, chunk: int, anchor: Ints, rows: Ints) -> None:
    address[chunk] = -1
    row = reader[chunk]
    if row >= 0:
        _later(anchor, rows[row, C_ENGINE], row)


@compiled
def _weight_load(
    rows: Ints,
    raw: Ints,
    anchor_of: Ints,
    i: int,
    m: MachineTable,
    tensor: int,
    piece: int,
    core_bytes: int,
    link_bytes: int,
    link: int,
    rate: int,
    slot: int,
    anchor: Ints,
    barrier: int,
    overlap_allowed: int,
) -> int:
    rows[i, C_OP] = OP_LOADW
    rows[i, C_TENSOR] = tensor
    rows[i, C_PIECE] = piece
    rows[i, C_ENGINE] = DMA
    rows[i, C_HOLD] = dma_hold(m, core_bytes, link_bytes, rate)
    rows[i, C_LATENCY] = rows[i, C_HOLD]
    rows[i, C_LINK] = link
    rows[i, C_LINK_HOLD] = -(-link_bytes // rate)
    rows[i, C_EXTERNAL0] = -1
    rows[i, C_EXTERNAL1] = slot
    anchor_of[i] = max(anchor[0], anchor[1])
    raw[i, 0] = anchor[0]
    raw[i, 1] = anchor[1]
    if not overlap_allowed:
        raw[i, 0] = max(anchor[0], 0)
        raw[i, 1] = max(anchor[1], barrier)
    elif anchor_of[i] < 0:
        rows[i, C_EXTERNAL0] = SLOT_COMPUTE
    return i + 1


@compiled
def _log_write(
    written: Ints, last_access: Ints, tensor: int, piece: int, pieces: int, engine: int, row: int
) -> None:
    last_access[tensor, engine] = row
    for q in range(piece, pieces):
        written[tensor, q, engine] = row


@compiled
def _log_read(
    logs: Ints,
    heads: Ints,
    count: int,
    last_access: Ints,
    tensor: int,
    reader: int,
    edge: int,
    piece: int,
    engine: int,
    row: int,
) -> int:
    logs[count, 0] = heads[tensor]
    logs[count, 1] = reader
    logs[count, 2] = edge
    logs[count, 3] = piece
    logs[count, 4] = engine
    logs[count, 5] = row
    heads[tensor] = count
    last_access[tensor, engine] = max(last_access[tensor, engine], row)
    return count + 1


@compiled
def _arrange(rows: Ints, raw: Ints, anchor_of: Ints, total: int, overlap_allowed: int) -> Ints:
    """Final program order, with waits reduced to those that no engine queue and no other wait implies.

    With overlap, a weight load moves forward to just behind the row that frees its place (to the very front when
    its place is free); the rest keeps its order.
    """
    key = np.empty(total, np.int64)
    for i in range(total):
        if overlap_allowed and rows[i, C_OP] == OP_LOADW:
            key[i] = 2 * anchor_of[i] + 1
        else:
            key[i] = 2 * i
    order = np.argsort(key, kind="mergesort")
    place_of = np.empty(total, np.int64)
    for k in range(total):
        place_of[order[k]] = k
    final = np.empty((total, COLUMNS), np.int64)
    known = np.full(
        (3, 3), -1, np.int64
    )  # per engine: latest row of each engine surely finished at its next start
    after = np.full((total, 3), -1, np.int64)  # the same once a row has finished
    wait = np.empty(3, np.int64)
    for k in range(total):
        i = order[k]
        final[k, :] = rows[i, :]
        engine = rows[i, C_ENGINE]
        wait[:] = -1
        for source in range(4):
            if raw[i, source] >= 0:
                slot = min(source, 2)
                wait[slot] = max(wait[slot], place_of[raw[i, source]])
        for other in range(3):
            if other == engine or wait[other] <= known[engine, other]:
                wait[other] = -1
        for other in range(3):  # a wait that another wait implies
            if wait[other] >= 0:
                for third in range(3):
                    if third != other and wait[third] >= 0 and after[wait[third], other] >= wait[other]:
                        wait[other] = -1
                        break
        for other in range(3):
            if wait[other] >= 0:
                for third in range(3):
                    known[engine, third] = max(known[engine, third], after[wait[other], third])
        final[k, C_WAIT0 : C_WAIT0 + 3] = wait
        after[k, :] = known[engine, :]
        after[k, engine] = k
        known[engine, engine] = k
        if rows[i, C_OP] == OP_LAUNCH:
            known[1, 0] = k  # it holds the vector engine too
    return final
