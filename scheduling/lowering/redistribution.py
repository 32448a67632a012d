"""Redistribution: what layers of one binding make, sent core to core to where layers of the other binding read it.

A copy (`Geometry.copied_from`) is filled piece by piece. Its source lies on all cores of the kernel, each with the
part that it made: its images, its even share of the rows that are needed (`Geometry.own_start` of the copy), its
channels. Cores that need the same of the copy are a group; there are as many groups D as the copy has parts. A piece
takes at most D BROADCASTs: in that of round s core c sends group (c + s) mod D what both have, so that in every round
each core sends to one group, and every group gets from as many cores.
"""

from __future__ import annotations

from hwmodel.compiled import compiled_inner, compiled_leaf
from hwmodel.timing.costs import ceil_div
from scheduling.lowering.accesses import log_read, log_write, wait_for_writers
from scheduling.lowering.draft import DMA_READS, DMA_WRITES, ROW, Draft, Site, end_row
from scheduling.lowering.rows import (
    C_A,
    C_EXTERNAL0,
    C_LINK,
    C_OP,
    DMA,
    LINK_NONE,
    N_EXCHANGE,
    N_L1_READ,
    N_L1_WRITE,
    OP_BROADCAST,
)
from scheduling.lowering.shares import even_share, piece_rows
from scheduling.lowering.tables import Ints
from scheduling.lowering.transfers import finish_transfer


@compiled_leaf
def way_of(core: int, row_ways: int, channel_ways: int) -> tuple[int, int, int]:
    """(batch way, row way, channel way) of a core; cores are numbered in that order, channels the fastest."""
    rest = core // channel_ways
    return rest // row_ways, rest % row_ways, core % channel_ways


@compiled_leaf
def _common(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    low, high = max(one[0], other[0]), min(one[1], other[1])
    return low, max(low, high)


@compiled_leaf
def sent_box(
    start: Ints,
    ends: Ints,
    own_start: Ints,
    own_stop: Ints,
    batch_ways: Ints,
    row_ways: Ints,
    channel_ways: Ints,
    full: Ints,
    source: int,
    copy: int,
    p: int,
    images: int,
    channels: int,
    core: int,
    group: int,
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Images (from the instance's first), rows and channels, half open, of a piece of a copy that a core sends a group:
    it has them of the source. The arrays are a Geometry's."""
    batch, row, channel = way_of(core, row_ways[source], channel_ways[source])
    ways = 1 if full[copy] else channel_ways[copy]
    other_batch, other_row, other_channel = way_of(group, row_ways[copy], ways)
    of_images = _common(
        even_share(images, batch_ways[source], batch), even_share(images, batch_ways[copy], other_batch)
    )
    of_rows = _common(
        (own_start[row, copy], own_stop[row, copy]), piece_rows(start, ends, other_row, copy, p)
    )
    of_channels = _common(
        even_share(channels, channel_ways[source], channel), even_share(channels, ways, other_channel)
    )
    return of_images, of_rows, of_channels


@compiled_leaf
def groups_of(batch_ways: int, row_ways: int, channel_ways: int, full: int) -> int:
    """Groups of cores that need the same of a copy."""
    return batch_ways * row_ways * (1 if full else channel_ways)


@compiled_inner
def lower_redistribution(site: Site, draft: Draft, t: int, p: int) -> None:
    """Send a piece of copy `t` to the cores that need it."""
    net, m, geo = site.net, site.m, site.geo
    counts, touched, state, source = draft.counts, draft.touched, draft.state, geo.copied_from[t]
    cores = geo.batch_ways[t] * geo.row_ways[t] * geo.channel_ways[t]
    groups = groups_of(geo.batch_ways[t], geo.row_ways[t], geo.channel_ways[t], geo.full[t])
    members = cores // groups
    channels, columns = net.tensor_channels[geo.tensor[t]], geo.held_stop[t] - geo.new_start[t]
    wait_for_writers(draft.written, draft.latest, source, p)
    for turn in range(groups):
        most, moved, kept = 0, 0, 0
        for group in range(groups):
            received = 0
            for core in range((group - turn) % groups, cores, groups):
                of_images, of_rows, of_channels = sent_box(
                    geo.start, geo.ends, geo.own_start, geo.own_stop, geo.batch_ways, geo.row_ways, geo.channel_ways,
                    geo.full, source, t, p, site.images, channels, core, group,
                )  # fmt: skip
                pixels = (of_images[1] - of_images[0]) * (of_rows[1] - of_rows[0]) * columns
                size = pixels * (of_channels[1] - of_channels[0]) * m.element_bytes
                received += size
                most = max(most, size)
                if core // members == group:  # one of the group is the core itself
                    kept += size
            moved += received
            most = max(most, received)
        if moved == 0:
            continue
        i = state[ROW]
        row = draft.rows[i]
        row[C_OP] = OP_BROADCAST
        row[C_A] = 1 + turn
        row[C_LINK] = LINK_NONE
        row[C_EXTERNAL0] = -1
        hold = m.dma_startup + ceil_div(most, m.exchange)
        finish_transfer(row, draft.raw[i], draft.latest, t, p, hold)
        end_row(draft)
        counts[N_EXCHANGE] += moved * members - kept
        counts[N_L1_READ] += moved
        touched[source, DMA_READS] += moved
        counts[N_L1_WRITE] += moved * members
        touched[t, DMA_WRITES] += moved * members
    log_read(draft, source, t, -1, p, DMA, state[ROW] - 1)
    log_write(draft, t, p, DMA, state[ROW] - 1)
