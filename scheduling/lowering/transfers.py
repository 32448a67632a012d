"""Rows of the DMA: loads, stores, gathered embeddings, and the exchange of channels between cores."""

from __future__ import annotations

from hwmodel.compiled import compiled_inner, compiled_leaf
from hwmodel.machines.machine_table import MachineTable
from hwmodel.timing.costs import ceil_div, dma_hold, link_cycles
from scheduling.lowering.accesses import log_read, log_write, wait_for_writers
from scheduling.lowering.bursts import tensor_in_bursts, vectors_in_bursts, weights_in_bursts
from scheduling.lowering.draft import DMA_READS, DMA_WRITES, ROW, Draft, Site, end_row
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
    C_TENSOR,
    DMA,
    LINK_DRAM_READ,
    LINK_DRAM_WRITE,
    LINK_LLB_READ,
    LINK_LLB_WRITE,
    LINK_NONE,
    MATRIX,
    N_DRAM_READ,
    N_DRAM_WRITE,
    N_EXCHANGE,
    N_L1_READ,
    N_L1_WRITE,
    N_LLB_READ,
    N_LLB_WRITE,
    OP_BROADCAST,
    OP_GATHER,
    OP_LOAD,
    OP_STORE,
    SLOT_ENTRIES,
    VECTOR,
)
from scheduling.lowering.shares import all_rows, even_share, most_rows, overlap, part_of, piece_rows, spread
from scheduling.lowering.tables import Ints
from scheduling.lowering.waits import later


@compiled_inner
def lower_load(site: Site, draft: Draft, t: int, p: int) -> None:
    """Load a piece of an entry: a row for each slice of the source that any core touches."""
    net, m, geo = site.net, site.m, site.geo
    rows, state, counts, touched, latest = draft.rows, draft.state, draft.counts, draft.touched, draft.latest
    tensor, start, ends = geo.tensor[t], geo.start, geo.ends
    channels, columns = net.tensor_channels[tensor], geo.held_stop[t] - geo.new_start[t]
    ways = geo.channel_ways[t]
    core_channels, holders = -(-channels // ways), 1
    if geo.full[t]:
        core_channels, holders = channels, ways
    size, constant = net.tensor_rows[tensor], net.tensor_constant[tensor]
    images, image0, batch_ways = site.images, site.image0, geo.batch_ways[t]
    way_rows, in_bursts = draft.way_rows, m.dram_burst > 1 and not site.in_llb[tensor]
    image_parts, row_parts = site.source_batch[tensor], site.source_rows[tensor]
    in_llb = site.in_llb[tensor]
    later(latest, MATRIX, 0)
    most_row_parts = _most_row_parts(start, ends, t, p, size, row_parts)
    for image_part in range(_most_image_parts(image0, images, batch_ways, net.batch, image_parts)):
        sum_images, most_images, copied_images = _load_images(
            image0, images, batch_ways, net.batch, image_parts, image_part, constant
        )
        for row_part in range(most_row_parts):
            sum_rows, most, copied_rows = _load_rows(start, ends, t, p, size, row_parts, row_part, way_rows)
            if sum_images * sum_rows == 0:
                continue
            pixel_bytes = columns * channels * m.element_bytes
            link_bytes = sum_images * sum_rows * pixel_bytes
            if in_bursts:
                link_bytes = tensor_in_bursts(
                    net, tensor, images, batch_ways, way_rows, columns,
                    1 if geo.full[t] else ways, m.element_bytes, m.dram_burst,
                )  # fmt: skip
            core_bytes = most_images * most * columns * core_channels * m.element_bytes
            i = state[ROW]
            row = rows[i]
            row[C_OP] = OP_LOAD
            row[C_A] = image_part
            row[C_B] = row_part
            row[C_EXTERNAL0] = SLOT_ENTRIES + t
            cross_link(row, m, LINK_LLB_READ if in_llb else LINK_DRAM_READ, link_bytes)
            hold = dma_hold(m, core_bytes, link_bytes, in_llb, 0)
            finish_transfer(row, draft.raw[i], latest, t, p, hold)
            end_row(draft)
            counts[N_LLB_READ if in_llb else N_DRAM_READ] += link_bytes
            moved = copied_images * copied_rows * pixel_bytes * holders
            counts[N_L1_WRITE] += moved
            touched[t, DMA_WRITES] += moved
    log_write(draft, t, p, DMA, state[ROW] - 1)


@compiled_leaf
def _most_image_parts(image0: int, images: int, ways: int, batch: int, parts: int) -> int:
    """Of `parts` slices of the batch, how many one core reads at most."""
    if parts == 1:
        return 1 if images > 0 else 0
    most = 0
    for way in range(ways):
        a, b = even_share(images, ways, way)
        if b > a:
            most = max(most, part_of(image0 + b - 1, batch, parts) - part_of(image0 + a, batch, parts) + 1)
    return most


@compiled_leaf
def _most_row_parts(start: Ints, ends: Ints, t: int, p: int, size: int, parts: int) -> int:
    """Of `parts` slices of the rows, how many one core reads at most for a piece."""
    most = 0
    for way in range(start.shape[0]):
        a, b = piece_rows(start, ends, way, t, p)
        if b > a and parts == 1:
            return 1
        if b > a:
            most = max(most, part_of(b - 1, size, parts) - part_of(a, size, parts) + 1)
    return most


@compiled_leaf
def _load_images(
    image0: int, images: int, ways: int, batch: int, parts: int, part: int, constant: int
) -> tuple[int, int, int]:
    """Images of the part-th slice that cross the link, that one core gets, and that all get: a constant is one image,
    and one broadcast for all."""
    total, most, copied = 0, 0, 0
    for way in range(ways):
        a, b = even_share(images, ways, way)
        a, b = overlap(image0 + a, image0 + b, batch, parts, part)
        if not constant:
            copied += b - a
            total += b - a
            most = max(most, b - a)
        elif b > a:
            total, most = 1, 1
            copied += 1
    return total, most, copied


@compiled_leaf
def _load_rows(
    start: Ints, ends: Ints, t: int, p: int, size: int, parts: int, part: int, way_rows: Ints
) -> tuple[int, int, int]:
    """The same of rows: those that several row ways read alike are one broadcast, in `way_rows` of the first."""
    total, most, copied = 0, 0, 0
    for way in range(start.shape[0]):
        a, b = piece_rows(start, ends, way, t, p)
        a, b = overlap(a, b, size, parts, part)
        copied += b - a
        most = max(most, b - a)
        for other in range(way):
            c, d = piece_rows(start, ends, other, t, p)
            c, d = overlap(c, d, size, parts, part)
            if c == a and d == b:
                b = a
                break
        total += b - a
        way_rows[way] = b - a
    return total, most, copied


@compiled_inner
def lower_gather(site: Site, draft: Draft, t: int, p: int) -> None:
    """Read rows of an embedding table by the indices that lie in L1."""
    net, m, geo, choice = site.net, site.m, site.geo, site.choice
    counts, touched, latest, i = draft.counts, draft.touched, draft.latest, draft.state[ROW]
    e = net.edge_start[choice.first + t - geo.entries]
    source = geo.edge_local[e - net.edge_start[choice.first]]
    channels, columns = net.tensor_channels[geo.tensor[t]], geo.held_stop[t] - geo.new_start[t]
    ways = geo.channel_ways[t]
    share = -(-channels // ways)
    wait_for_writers(draft.written, latest, source, p)
    later(latest, MATRIX, 0)
    pixels = site.images * all_rows(geo.start, geo.ends, t, p) * columns
    made_bytes = pixels * channels * m.element_bytes
    link_bytes = pixels * vectors_in_bursts(1, channels, channels, ways, m.element_bytes, m.dram_burst)
    core_bytes = ceil_div(site.images, geo.batch_ways[t]) * most_rows(geo.start, geo.ends, t, p)
    core_bytes *= columns * share * m.element_bytes
    row = draft.rows[i]
    row[C_OP] = OP_GATHER
    row[C_EXTERNAL0] = -1
    cross_link(row, m, LINK_DRAM_READ, link_bytes)
    finish_transfer(row, draft.raw[i], latest, t, p, dma_hold(m, core_bytes, link_bytes, 0, 0))
    end_row(draft)
    counts[N_DRAM_READ] += link_bytes
    counts[N_L1_WRITE] += made_bytes
    touched[t, DMA_WRITES] += made_bytes
    index_bytes = pixels * 2 * m.element_bytes * spread(channels, ways, 0, share)[2]
    counts[N_L1_READ] += index_bytes
    touched[source, DMA_READS] += index_bytes
    log_read(draft, source, t, e, p, DMA, i)
    log_write(draft, t, p, DMA, i)


@compiled_inner
def lower_exchange(site: Site, draft: Draft, t: int, p: int) -> None:
    """Broadcast each core's channels of a piece to the other cores of its channel group."""
    net, m, geo = site.net, site.m, site.geo
    counts, touched, latest, i = draft.counts, draft.touched, draft.latest, draft.state[ROW]
    ways = geo.channel_ways[t]
    channels, columns = net.tensor_channels[geo.tensor[t]], geo.held_stop[t] - geo.new_start[t]
    per_channel = ceil_div(site.images, geo.batch_ways[t]) * most_rows(geo.start, geo.ends, t, p)
    per_channel *= columns * m.element_bytes
    received = per_channel * (channels - channels // ways)
    sent = per_channel * -(-channels // ways)
    wait_for_writers(draft.written, latest, t, p)
    row = draft.rows[i]
    row[C_OP] = OP_BROADCAST
    row[C_LINK] = LINK_NONE
    row[C_EXTERNAL0] = -1
    finish_transfer(row, draft.raw[i], latest, t, p, m.dma_startup + -(-max(sent, received) // m.exchange))
    end_row(draft)
    moved = site.images * all_rows(geo.start, geo.ends, t, p) * columns * channels * m.element_bytes
    counts[N_EXCHANGE] += moved * (ways - 1)
    counts[N_L1_READ] += moved
    touched[t, DMA_READS] += moved
    counts[N_L1_WRITE] += moved * (ways - 1)
    touched[t, DMA_WRITES] += moved * (ways - 1)
    log_read(draft, t, t, -1, p, DMA, i)
    log_write(draft, t, p, DMA, i)


@compiled_inner
def lower_store(site: Site, draft: Draft, t: int, p: int, k0: int, k1: int) -> None:
    """Store what the cores own of a piece: all channels, or (`k1` > 0) only [k0, k1) of each core's share. Who calls
    this logs the read."""
    net, m, geo, ways = site.net, site.m, site.geo, site.geo.channel_ways[t]
    counts, latest, i = draft.counts, draft.latest, draft.state[ROW]
    tensor = geo.tensor[t]
    channels, columns = net.tensor_channels[tensor], geo.own_columns_stop[t] - geo.own_columns_start[t]
    row = draft.rows[i]
    sum_k, max_k = channels, -(-channels // ways)
    if k1 > 0:
        sum_k, max_k, _ = spread(channels, ways, k0, k1)
        row[C_K0] = k0
        row[C_K1] = k1
    own_start, own_stop, way_rows = geo.own_start, geo.own_stop, draft.way_rows
    sum_rows, most = 0, 0
    for way in range(own_start.shape[0]):
        a, b = piece_rows(geo.start, geo.ends, way, t, p)
        a, b = max(a, own_start[way, t]), min(b, own_stop[way, t])
        way_rows[way] = max(0, b - a)
        sum_rows += way_rows[way]
        most = max(most, b - a)
    pixels = site.images * sum_rows * columns
    moved = pixels * sum_k * m.element_bytes
    core_bytes = ceil_div(site.images, geo.batch_ways[t]) * most * columns * max_k * m.element_bytes
    in_llb = site.in_llb[tensor]
    link_bytes = moved
    if m.dram_burst > 1 and not in_llb and k1 > 0 and max_k < channels:
        link_bytes = pixels * weights_in_bursts(k0, k1, channels, ways, m.element_bytes, True, m.dram_burst)
    elif m.dram_burst > 1 and not in_llb:
        link_bytes = tensor_in_bursts(
            net, tensor, site.images, geo.batch_ways[t], way_rows, columns, ways,
            m.element_bytes, m.dram_burst,
        )  # fmt: skip
    later(latest, VECTOR, draft.written[t, p, VECTOR])
    row[C_OP] = OP_STORE
    row[C_EXTERNAL0] = -1
    cross_link(row, m, LINK_LLB_WRITE if in_llb else LINK_DRAM_WRITE, link_bytes)
    finish_transfer(row, draft.raw[i], latest, t, p, dma_hold(m, core_bytes, link_bytes, in_llb, 1))
    end_row(draft)
    counts[N_LLB_WRITE if in_llb else N_DRAM_WRITE] += link_bytes
    counts[N_L1_READ] += moved
    draft.touched[t, DMA_READS] += moved


@compiled_leaf
def cross_link(row: Ints, m: MachineTable, link: int, link_bytes: int) -> None:
    """Note the link that a row's transfer takes, and for how long."""
    in_llb = 1 if link in (LINK_LLB_READ, LINK_LLB_WRITE) else 0
    writes = 1 if link in (LINK_DRAM_WRITE, LINK_LLB_WRITE) else 0
    row[C_LINK] = link
    row[C_LINK_HOLD] = link_cycles(m, link_bytes, in_llb, writes)


@compiled_leaf
def finish_transfer(row: Ints, raw: Ints, waits: Ints, t: int, p: int, hold: int) -> None:
    """End a row that holds the DMA queues and waits for `waits`."""
    row[C_TENSOR] = t
    row[C_PIECE] = p
    row[C_ENGINE] = DMA
    row[C_HOLD] = hold
    row[C_LATENCY] = hold
    row[C_EXTERNAL1] = -1
    for source in range(4):
        raw[source] = waits[source]
