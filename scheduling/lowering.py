"""Lowering: one instance of a sub-graph becomes instructions with waits, as rows of integers.

The rows are the single source of truth: the timing simulator reads their costs, and `scheduling.emission` turns
the same rows into instructions with addresses. Instances that are alike share one lowered template.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from hwmodel.costs import ceil_div, dma_hold, matmul_cycles, matrix_cycles, vector_cycles
from hwmodel.machine_table import MachineTable
from scheduling.bursts import tensor_in_bursts, vectors_in_bursts, weights_in_bursts
from scheduling.cached import copy_cached
from scheduling.choice import CACHE, Choice
from scheduling.geometry import Geometry, needed_start, needed_stop
from scheduling.operations import COMPUTE, EXCHANGE, KEEP, LOAD, RESTORE, Plan
from scheduling.planning import MOST_INSTRUCTIONS, TOO_MANY_INSTRUCTIONS, plan_instance
from scheduling.rows import (
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
    C_LINK_HOLD,
    C_OP,
    C_PIECE,
    C_R0,
    C_R1,
    C_TENSOR,
    C_WEIGHT,
    COLUMNS,
    DMA,
    LINK_DRAM_READ,
    LINK_DRAM_WRITE,
    LINK_LLB_READ,
    LINK_LLB_WRITE,
    LINK_NONE,
    MATRIX,
    N_ACC_READ,
    N_ACC_WRITE,
    N_DRAM_READ,
    N_DRAM_WRITE,
    N_EXCHANGE,
    N_L1_READ,
    N_L1_WRITE,
    N_LLB_READ,
    N_LLB_WRITE,
    N_MACS,
    N_VECTOR,
    N_WEIGHTS_READ,
    N_WEIGHTS_WRITE,
    OP_BROADCAST,
    OP_CONV,
    OP_GATHER,
    OP_LAUNCH,
    OP_LOAD,
    OP_MATMUL,
    OP_STORE,
    OP_VECTOR,
    SLOT_DMA,
    SLOT_ENTRIES,
    VECTOR,
)
from scheduling.shares import active, input_columns, input_rows, most_rows, overlap, part_of, piece_rows
from scheduling.tables import (
    CONVOLVES,
    EMBEDS,
    JOINS_CHANNELS,
    JOINS_ROWS,
    REARRANGES,
    Ints,
    NetworkTable,
)
from scheduling.tiling import ACCUMULATOR_BYTES, LEGAL
from scheduling.waits import arrange_rows, later, log_read, log_write
from scheduling.weight_ring import claim, fixed_places, weight_load

VECTOR_READS, VECTOR_WRITES, DMA_READS, DMA_WRITES = 0, 1, 2, 3
"""Columns of `Lowered.touched`."""


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
    # engine reads depends on its inner memories (scheduling.inner_counts).
    touched: Ints
    inner: Ints  # empty, or as `scheduling.inner_counts.count_inner` gives it


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
    status, where, short, geo, plan, tiles = plan_instance(net, m, choice, row_part, column_part)
    counts = np.zeros(13, np.int64)
    touched = np.zeros((geo.tensor.shape[0], 4), np.int64)
    no_inner = np.empty(0, np.int64)
    nothing = np.empty((0, COLUMNS), np.int64)
    if status != LEGAL:
        return Lowered(status, where, short, nothing, counts, plan, geo, tiles, touched, no_inner)
    first = choice.first
    start, ends = geo.start, geo.ends
    stride, shift, extent = net.edge_stride, net.edge_offset, net.edge_extent
    divisor, whole = net.edge_divisor, net.edge_whole
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
        bound += 2
        if plan.kind[position] == LOAD:  # one row for each part of the source that any core touches
            source = geo.tensor[plan.tensor[position]]
            touched_parts = part_of(image0 + images - 1, net.batch, source_batch[source]) + 1
            touched_parts -= part_of(image0, net.batch, source_batch[source])
            bound += touched_parts * source_rows[source]
        if plan.kind[position] == COMPUTE:
            if net.is_matrix[first + j]:
                share = -(-net.tensor_channels[geo.tensor[entries + j]] // channel_ways)
                chunks = -(-share // tiles[j, 0]) + net.groups[first + j]
                parts = -(-net.reduction[first + j] // tiles[j, 1])
                spots = -(-images_most // tiles[j, 2]) * -(
                    -most_rows(start, ends, entries + j, plan.piece[position]) // tiles[j, 3]
                )
                bound += chunks * spots * (2 * parts + 2)
            else:
                bound += 2 + net.edge_start[first + j + 1] - net.edge_start[first + j]
    if bound > 4 * MOST_INSTRUCTIONS:
        return Lowered(TOO_MANY_INSTRUCTIONS, first, 0, nothing, counts, plan, geo, tiles, touched, no_inner)
    rows = np.full((bound, COLUMNS), 0, np.int64)
    raw = np.full((bound, 4), -1, np.int64)  # latest row waited for: matrix, vector, dma, weight loads
    anchor_of = np.full(bound, -1, np.int64)  # of a weight load: it may be moved to just behind this row

    # Chunks of weights, a ring: chunk -> address and last reader while resident. Layers that share weights and cut
    # them alike have the same chunks.
    chunk_start = np.zeros(count + 1, np.int64)
    same_chunks = np.arange(count)
    for j in range(count):
        holder = net.holder[first + j]
        for other in range(j if holder >= 0 else 0):
            if (
                net.holder[first + other] == holder
                and tiles[other, 0] == tiles[j, 0]
                and tiles[other, 1] == tiles[j, 1]
            ):
                same_chunks[j] = other
                break
        chunks = 1
        if net.kind[first + j] == CONVOLVES and tiles[j, 0] > 0:
            groups = max(1, net.groups[first + j] // channel_ways)
            share = -(-net.tensor_channels[geo.tensor[entries + j]] // channel_ways)
            chunks += (
                groups
                * ceil_div(ceil_div(share, groups), tiles[j, 0])
                * -(-net.reduction[first + j] // tiles[j, 1])
            )
        chunk_start[j + 1] = chunk_start[j] + chunks
    total_chunks = chunk_start[count]
    chunk_address = np.full(total_chunks, -1, np.int64)
    chunk_size = np.zeros(total_chunks, np.int64)
    chunk_home = np.full(total_chunks, -1, np.int64)  # fixed places, where all weights stay
    if choice.keep_weights:
        fixed_places(net, choice, tiles, chunk_start, chunk_home, eb)
        if kept:
            chunk_address[:] = chunk_home
    chunk_row = np.full(total_chunks, -1, np.int64)
    chunk_reader = np.full(total_chunks, -1, np.int64)
    fifo = np.empty(bound, np.int64)
    ring_state = np.zeros(3, np.int64)
    anchor = np.full(2, -1, np.int64)  # latest matrix and vector rows whose weights were given up

    wide_in = input_columns(net, choice, geo)
    caches = choice.halo == CACHE
    births = np.full((n, 4), -1, np.int64)  # what the first write of a tensor waited for
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
    vector_waits = np.empty(4, np.int64)
    matrix_waits = np.empty(4, np.int64)
    acc_reader = np.full(2, -1, np.int64)
    acc_slot = 0
    half_acc = m.accumulator_bytes // 2
    way_rows = np.zeros(row_ways, np.int64)

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
        columns = geo.held_stop[t] - geo.new_start[t]
        share_most = -(-channels // channel_ways)
        # What the first write of this piece has to wait for: readers of the rows that the ring overwrites, and
        # every access to tensors that had these addresses before.
        for engine in range(4):
            latest[engine] = -1
        if kind <= COMPUTE or kind == RESTORE:
            ring = plan.ring_rows[t]
            entry = log_head[t]
            while entry >= 0:
                for way in range(row_ways):
                    a, b = piece_rows(start, ends, way, t, p)
                    e, reader, piece = logs[entry, 2], logs[entry, 1], logs[entry, 3]
                    ra, rb = piece_rows(start, ends, way, reader, piece)
                    if ra >= rb or a >= b:
                        continue
                    if e >= 0:
                        size = net.tensor_rows[tensor]
                        rb = needed_stop(
                            rb,
                            stride[e],
                            shift[e],
                            extent[e],
                            divisor[e],
                            whole[e],
                            size,
                        )
                        ra = needed_start(ra, stride[e], shift[e], divisor[e], whole[e])
                    if ra < b - ring and rb > a - ring:
                        later(latest, logs[entry, 4], logs[entry, 5])
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
                            later(latest, engine, last_access[other, engine])
                if caches:
                    births[t, :] = latest
            elif caches:  # another engine may have written it first
                for engine in range(3):
                    later(latest, engine, births[t, engine])

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
                a, b = piece_rows(start, ends, way, t, p)
                if b > a:
                    h = net.tensor_rows[tensor]
                    most_r = max(most_r, part_of(b - 1, h, part_rows) - part_of(a, h, part_rows) + 1)
            for bi in range(most_b):
                sum_b, max_b, copies_b = 0, 0, 0
                for way in range(batch_ways):
                    a, b = image0 + images * way // batch_ways, image0 + images * (way + 1) // batch_ways
                    a, b = overlap(a, b, net.batch, part_images, bi)
                    copies_b += b - a
                    if net.tensor_constant[tensor] and b > a:  # one broadcast for all images
                        copies_b += 1 - (b - a)
                        sum_b, max_b = 1, 1
                        continue
                    sum_b += b - a
                    max_b = max(max_b, b - a)
                for ri in range(most_r):
                    sum_r, max_r, copies_r = 0, 0, 0
                    way_rows[:] = 0
                    for way in range(row_ways):
                        a, b = piece_rows(start, ends, way, t, p)
                        a, b = overlap(a, b, net.tensor_rows[tensor], part_rows, ri)
                        copies_r += b - a
                        max_r = max(max_r, b - a)
                        for other in range(way):  # the same rows on several cores are one broadcast
                            c, d = piece_rows(start, ends, other, t, p)
                            c, d = overlap(c, d, net.tensor_rows[tensor], part_rows, ri)
                            if c == a and d == b:
                                b = a
                                break
                        sum_r += b - a
                        way_rows[way] = b - a
                    if sum_b * sum_r == 0:
                        continue
                    link_bytes = sum_b * sum_r * columns * channels * eb
                    if m.dram_burst > 1 and not in_llb[tensor]:
                        link_bytes = tensor_in_bursts(
                            net, tensor, images, batch_ways, way_rows, columns,
                            1 if geo.full[t] else channel_ways, eb, m.dram_burst,
                        )  # fmt: skip
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
                    later(latest, MATRIX, 0)
                    counts[N_LLB_READ if in_llb[tensor] else N_DRAM_READ] += link_bytes
                    held = channel_ways if geo.full[t] else 1
                    moved = copies_b * copies_r * columns * channels * eb * held
                    counts[N_L1_WRITE] += moved
                    touched[t, DMA_WRITES] += moved
                    i = finish_transfer(rows, raw, latest, i, t, p)
            log_write(written, last_access, t, p, pieces, DMA, i - 1)

        elif kind == COMPUTE and net.kind[first + t - entries] == EMBEDS:
            e = net.edge_start[first + t - entries]
            source = geo.edge_local[e - edge0]
            for engine in range(3):
                later(latest, engine, written[source, p, engine])
            later(latest, MATRIX, 0)
            sum_r = 0
            for way in range(row_ways):
                a, b = piece_rows(start, ends, way, t, p)
                sum_r += b - a
            pixels = images * sum_r * columns
            link_bytes = pixels * vectors_in_bursts(1, channels, channel_ways, eb, m.dram_burst)
            core_bytes = images_most * most_rows(start, ends, t, p) * columns * share_most * eb
            rows[i, C_OP] = OP_GATHER
            rows[i, C_LINK] = LINK_DRAM_READ
            rows[i, C_HOLD] = dma_hold(m, core_bytes, link_bytes, m.dram_read)
            rows[i, C_LINK_HOLD] = -(-link_bytes // m.dram_read)
            rows[i, C_EXTERNAL0] = -1
            rows[i, C_EXTERNAL1] = -1
            counts[N_DRAM_READ] += link_bytes
            counts[N_L1_WRITE] += pixels * channels * eb
            touched[t, DMA_WRITES] += pixels * channels * eb
            moved = pixels * 2 * eb * active(channels, channel_ways, 0, share_most)
            counts[N_L1_READ] += moved
            touched[source, DMA_READS] += moved
            i = finish_transfer(rows, raw, latest, i, t, p)
            log_count = log_read(logs, log_head, log_count, last_access, source, t, e, p, DMA, i - 1)
            log_write(written, last_access, t, p, pieces, DMA, i - 1)

        elif kind == COMPUTE:
            j = t - entries
            layer = first + j
            convolves = net.kind[layer] == CONVOLVES
            matrix = net.is_matrix[layer] == 1
            rows_most = most_rows(start, ends, t, p)
            for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
                source = geo.edge_local[e - edge0]
                anchor_reads = e - net.edge_start[layer] < net.anchor_inputs[layer]
                if not (matrix and anchor_reads):
                    for engine in range(3):
                        later(latest, engine, written[source, p, engine])
            for engine in range(4):
                vector_waits[engine] = latest[engine]
                matrix_waits[engine] = -1
            if matrix:
                for k in range(net.anchor_inputs[layer]):
                    source = geo.edge_local[net.edge_start[layer] + k - edge0]
                    for engine in range(3):
                        later(matrix_waits, engine, written[source, p, engine])
            parameter_chunk = chunk_start[same_chunks[j]]
            weight_link = LINK_LLB_READ if staged[layer] else LINK_DRAM_READ
            weight_rate = m.llb_read if staged[layer] else m.dram_read
            burst = 1 if staged[layer] else m.dram_burst
            weight_count = N_LLB_READ if staged[layer] else N_DRAM_READ
            weight_slot = SLOT_ENTRIES + entries + j if staged[layer] else -1
            barrier = last_vector
            first_edge = net.edge_start[layer]
            first_input = geo.tensor[geo.edge_local[first_edge - edge0]]
            input_height = net.tensor_rows[first_input]
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
                    sum_k, max_k, active_k = 0, 0, 0
                    for way in range(channel_ways):
                        share = channels * (way + 1) // channel_ways - channels * way // channel_ways
                        width = max(0, min(share, k1) - min(share, k0))
                        sum_k += width
                        max_k = max(max_k, width)
                        active_k += 1 if width > 0 else 0
                    for i0 in range(0, images_most, tile_i):
                        sum_i, active_i = 0, 0
                        i1 = min(images_most, i0 + tile_i)
                        for way in range(batch_ways):
                            have = images * (way + 1) // batch_ways - images * way // batch_ways
                            width = max(0, min(have, i1) - min(have, i0))
                            sum_i += width
                            active_i += 1 if width > 0 else 0
                        for h0 in range(0, rows_most, tile_h):
                            h1 = min(rows_most, h0 + tile_h)
                            sum_h, max_h, active_h = 0, 0, 0
                            for way in range(row_ways):
                                a, b = piece_rows(start, ends, way, t, p)
                                width = max(0, min(b - a, h1) - min(b - a, h0))
                                sum_h += width
                                max_h = max(max_h, width)
                                active_h += 1 if width > 0 else 0
                            elements = sum_i * sum_h * sum_k * columns
                            if matrix:
                                pixels_read = sum_i * wide_in[first_edge - edge0] * input_rows(
                                    start, ends, t, p, h0, h1, stride[first_edge], shift[first_edge],
                                    extent[first_edge], divisor[first_edge], whole[first_edge], input_height,
                                )  # fmt: skip
                                for rc in range(chunks_r):
                                    r0 = rc * tile_r
                                    r1 = min(reduction, r0 + tile_r)
                                    chunk = parameter_chunk
                                    if convolves:
                                        chunk += 1 + (g * chunks_k + kc) * chunks_r + rc
                                    if convolves and chunk_address[chunk] < 0:
                                        size = max_k * (r1 - r0) * net.taps[layer] * eb
                                        moved = sum_k * (r1 - r0) * net.taps[layer] * eb
                                        link_bytes = weights_in_bursts(
                                            k0, k1, channels, channel_ways, (r1 - r0) * net.taps[layer] * eb,
                                            r1 - r0 == reduction, burst,
                                        )  # fmt: skip
                                        if chunk_home[chunk] >= 0:
                                            chunk_address[chunk] = chunk_home[chunk]
                                            chunk_row[chunk] = i
                                        else:
                                            claim(
                                                chunk, size, i, ring_state, fifo,
                                                chunk_address, chunk_size, chunk_row, chunk_reader,
                                                anchor, rows, m.weights_bytes,
                                            )  # fmt: skip
                                        rows[i, C_K0], rows[i, C_K1] = k0, k1
                                        rows[i, C_R0], rows[i, C_R1] = r0, r1
                                        rows[i, C_WEIGHT] = chunk_address[chunk]
                                        rows[i, C_A] = 0
                                        rows[i, C_B] = g
                                        counts[weight_count] += link_bytes
                                        counts[N_WEIGHTS_WRITE] += moved * batch_ways * row_ways
                                        i = weight_load(
                                            rows, raw, anchor_of, i, m, t, p, size, link_bytes, weight_link,
                                            weight_rate, weight_slot, anchor, barrier, choice.overlap,
                                        )  # fmt: skip
                                    if convolves:
                                        hold = matrix_cycles(
                                            m, i1 - i0, max_h, columns, max_k, r1 - r0, net.taps[layer]
                                        )
                                    else:
                                        hold = matmul_cycles(m, i1 - i0, max_h, columns, max_k, r1 - r0)
                                    rows[i, C_OP] = OP_CONV if convolves else OP_MATMUL
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
                                    if rc == 0:
                                        raw[i, 1] = max(raw[i, 1], acc_reader[acc_slot])
                                    wrote_matrix = i
                                    work = elements * (r1 - r0)
                                    counts[N_MACS] += work * net.taps[layer]
                                    operand = sum_k * (r1 - r0) * net.taps[layer] * eb * active_h
                                    if convolves:
                                        raw[i, 3] = max(raw[i, 3], chunk_row[chunk])
                                        chunk_reader[chunk] = i
                                        counts[N_WEIGHTS_READ] += operand * active_i
                                    else:
                                        counts[N_L1_READ] += operand * sum_i
                                    counts[N_ACC_WRITE] += elements * ACCUMULATOR_BYTES
                                    if rc > 0:
                                        counts[N_ACC_READ] += elements * ACCUMULATOR_BYTES
                                    counts[N_L1_READ] += pixels_read * (r1 - r0) * eb * active_k
                                    i += 1
                            if net.parameters[layer] and chunk_address[parameter_chunk] < 0:
                                size = net.parameters[layer] * share_most * eb
                                moved = net.parameters[layer] * channels * eb
                                link_bytes = vectors_in_bursts(
                                    net.parameters[layer], channels, channel_ways, eb, burst
                                )
                                if chunk_home[parameter_chunk] >= 0:
                                    chunk_address[parameter_chunk] = chunk_home[parameter_chunk]
                                    chunk_row[parameter_chunk] = i
                                else:
                                    claim(
                                        parameter_chunk, size, i, ring_state, fifo,
                                        chunk_address, chunk_size, chunk_row, chunk_reader,
                                        anchor, rows, m.weights_bytes,
                                    )  # fmt: skip
                                rows[i, C_WEIGHT] = chunk_address[parameter_chunk]
                                rows[i, C_A] = 1
                                counts[weight_count] += link_bytes
                                counts[N_WEIGHTS_WRITE] += moved * batch_ways * row_ways
                                i = weight_load(
                                    rows, raw, anchor_of, i, m, t, p, size, link_bytes, weight_link, weight_rate,
                                    weight_slot, anchor, barrier, choice.overlap,
                                )  # fmt: skip
                            sources = 1
                            if net.kind[layer] in (JOINS_CHANNELS, JOINS_ROWS):
                                sources = net.anchor_inputs[layer]
                            below = 0
                            for s in range(sources):
                                if net.kind[layer] == JOINS_ROWS:
                                    high = net.tensor_rows[net.edge_tensor[net.edge_start[layer] + s]]
                                    sum_h, max_h = 0, 0
                                    for way in range(row_ways):
                                        a, b = piece_rows(start, ends, way, t, p)
                                        width = max(0, min(b, below + high) - max(a, below))
                                        sum_h += width
                                        max_h = max(max_h, width)
                                    below += high
                                    elements = sum_i * sum_h * sum_k * columns
                                    if elements == 0:
                                        continue
                                elif net.kind[layer] == JOINS_CHANNELS:
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
                                touched[t, VECTOR_WRITES] += elements * eb
                                for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
                                    moved = elements * eb * net.edge_steps[e]
                                    counts[N_L1_READ] += moved
                                    touched[geo.edge_local[e - edge0], VECTOR_READS] += moved
                                counts[N_WEIGHTS_READ] += (
                                    net.parameter_reads[layer] * sum_k * eb * active_i * active_h
                                )  # fmt: skip
                                if matrix:
                                    counts[N_ACC_READ] += elements * ACCUMULATOR_BYTES
                                else:
                                    e = net.edge_start[layer] + s
                                    source = geo.edge_local[e - edge0]
                                    wide = sum_k
                                    held = net.tensor_channels[geo.tensor[source]]
                                    if net.kind[layer] == JOINS_CHANNELS:
                                        pass
                                    elif net.edge_all_channels[e]:
                                        wide = held * active_k
                                    elif held != channels:  # groups of channels become one each
                                        wide = sum_k * held // channels
                                    moved = elements * eb
                                    if net.kind[layer] not in (REARRANGES, JOINS_ROWS):
                                        moved = (
                                            sum_i * input_rows(
                                                start, ends, t, p, h0, h1, stride[e], shift[e], extent[e],
                                                divisor[e], whole[e], net.tensor_rows[geo.tensor[source]],
                                            )
                                            * wide_in[e - edge0] * wide * eb
                                        )  # fmt: skip
                                    counts[N_L1_READ] += moved
                                    touched[source, VECTOR_READS] += moved
                                last_vector = i
                                i += 1
                            if matrix:
                                acc_slot = 1 - acc_slot
            for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
                source = geo.edge_local[e - edge0]
                anchor_reads = e - net.edge_start[layer] < net.anchor_inputs[layer]
                engine = MATRIX if matrix and anchor_reads else VECTOR
                row = wrote_matrix if engine == MATRIX else last_vector
                log_count = log_read(logs, log_head, log_count, last_access, source, t, e, p, engine, row)
            log_write(written, last_access, t, p, pieces, VECTOR, i - 1)

        elif kind == EXCHANGE:
            sum_r, max_r = 0, 0
            for way in range(row_ways):
                a, b = piece_rows(start, ends, way, t, p)
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
                later(latest, engine, written[t, p, engine])
            counts[N_EXCHANGE] += images * sum_r * columns * channels * (channel_ways - 1) * eb
            moved = images * sum_r * columns * channels * eb
            counts[N_L1_READ] += moved
            touched[t, DMA_READS] += moved
            counts[N_L1_WRITE] += moved * (channel_ways - 1)
            touched[t, DMA_WRITES] += moved * (channel_ways - 1)
            i = finish_transfer(rows, raw, latest, i, t, p)
            log_count = log_read(logs, log_head, log_count, last_access, t, t, -1, p, DMA, i - 1)
            for q in range(p, pieces):
                written[t, q, DMA] = i - 1

        elif kind in (RESTORE, KEEP):
            moved = copy_cached(net, m, choice, geo, images, kind, t, p, rows, counts, i)
            touched[t, VECTOR_WRITES if kind == RESTORE else VECTOR_READS] += moved
            if first_vector:
                rows[i, C_EXTERNAL0] = SLOT_DMA
                first_vector = False
            if kind == KEEP:
                for engine in range(3):
                    later(latest, engine, written[t, p, engine])
            raw[i, :] = latest
            last_vector = i
            i += 1
            if kind == KEEP:
                log_count = log_read(logs, log_head, log_count, last_access, t, t, -1, p, VECTOR, i - 1)
            else:
                log_write(written, last_access, t, p, pieces, VECTOR, i - 1)

        else:
            columns = geo.own_columns_stop[t] - geo.own_columns_start[t]
            sum_r, max_r = 0, 0
            for way in range(row_ways):
                a, b = piece_rows(start, ends, way, t, p)
                a, b = max(a, geo.own_start[way, t]), min(b, geo.own_stop[way, t])
                way_rows[way] = max(0, b - a)
                sum_r += way_rows[way]
                max_r = max(max_r, b - a)
            moved = images * sum_r * columns * channels * eb
            link_bytes = moved
            if m.dram_burst > 1 and not in_llb[tensor]:
                link_bytes = tensor_in_bursts(
                    net, tensor, images, batch_ways, way_rows, columns, channel_ways, eb, m.dram_burst
                )
            core_bytes = images_most * max_r * columns * share_most * eb
            rate = m.llb_write if in_llb[tensor] else m.dram_write
            rows[i, C_OP] = OP_STORE
            rows[i, C_LINK] = LINK_LLB_WRITE if in_llb[tensor] else LINK_DRAM_WRITE
            rows[i, C_HOLD] = dma_hold(m, core_bytes, link_bytes, rate)
            rows[i, C_LINK_HOLD] = -(-link_bytes // rate)
            rows[i, C_EXTERNAL0] = -1
            rows[i, C_EXTERNAL1] = -1
            later(latest, VECTOR, written[t, p, VECTOR])
            counts[N_LLB_WRITE if in_llb[tensor] else N_DRAM_WRITE] += link_bytes
            counts[N_L1_READ] += moved
            touched[t, DMA_READS] += moved
            i = finish_transfer(rows, raw, latest, i, t, p)
            log_count = log_read(logs, log_head, log_count, last_access, t, t, -1, p, DMA, i - 1)

    final = arrange_rows(rows, raw, anchor_of, i, choice.overlap)
    return Lowered(LEGAL, first, 0, final, counts, plan, geo, tiles, touched, no_inner)


@compiled_leaf
def finish_transfer(rows: Ints, raw: Ints, latest: Ints, i: int, tensor: int, piece: int) -> int:
    rows[i, C_TENSOR] = tensor
    rows[i, C_PIECE] = piece
    rows[i, C_ENGINE] = DMA
    rows[i, C_LATENCY] = rows[i, C_HOLD]
    for source in range(4):
        raw[i, source] = latest[source]
    return i + 1
