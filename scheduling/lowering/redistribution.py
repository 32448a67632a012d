"""Redistribution: what layers of one binding make, sent core to core to where layers of another binding read it.

A copy (`Geometry.copied_from`) is filled piece by piece. Its source lies on the cores that made it, each with its part:
its images, its even share of the rows that are needed (`Geometry.own_start` of the copy), its channels. Cores that need
the same of the copy are a group; there are as many groups D as the copy has parts. A piece takes at most D BROADCASTs:
in that of round s core c sends group (c + s) mod D what both have, so that in every round each core sends to one group,
and every group gets from as many cores as any other, or one more. Either end may be on some of the kernel's cores.
"""

from __future__ import annotations

from typing import NamedTuple

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
from scheduling.lowering.shares import even_share
from scheduling.lowering.tables import Ints
from scheduling.lowering.transfers import finish_transfer


@compiled_leaf
def way_of(core: int, row_ways: int, channel_ways: int) -> tuple[int, int, int]:
    """(batch way, row way, channel way) of a core; cores are numbered in that order, channels the fastest."""
    rest = core // channel_ways
    return rest // row_ways, rest % row_ways, core % channel_ways


class Box(NamedTuple):
    """A part of a tensor: images (from the instance's first), rows and channels, each half open."""

    images: tuple[int, int]
    rows: tuple[int, int]
    channels: tuple[int, int]


@compiled_leaf
def box_of(
    core: int, ways: tuple[int, int, int], row_start: Ints, row_stop: Ints, images: int, channels: int
) -> Box:
    """What falls to a core where ways over the batch, rows and channels share a tensor of so many images and channels,
    of which each row way has the rows [row_start, row_stop) (R,). There are no images for cores beyond the ways."""
    batch, row, channel = way_of(core, ways[1], ways[2])
    of_rows = (row_start[row], max(row_start[row], row_stop[row]))
    of_images = even_share(images, ways[0], batch) if batch < ways[0] else (images, images)
    return Box(of_images, of_rows, even_share(channels, ways[2], channel))


@compiled_leaf
def common_box(one: Box, other: Box) -> Box:
    """What both have."""
    return Box(
        _common(one.images, other.images),
        _common(one.rows, other.rows),
        _common(one.channels, other.channels),
    )


@compiled_leaf
def _common(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    low, high = max(one[0], other[0]), min(one[1], other[1])
    return low, max(low, high)


@compiled_leaf
def group_ways(batch_ways: int, row_ways: int, channel_ways: int, full: int) -> tuple[int, int, int]:
    """Ways of a copy over the groups of cores that need the same of it."""
    return batch_ways, row_ways, 1 if full else channel_ways


@compiled_inner
def lower_redistribution(site: Site, draft: Draft, t: int, p: int) -> None:
    """Send a piece of copy `t` to the cores that need it."""
    net, m, geo = site.net, site.m, site.geo
    counts, touched, state, source = draft.counts, draft.touched, draft.state, geo.copied_from[t]
    source_ways = geo.batch_ways[source], geo.row_ways[source], geo.channel_ways[source]
    cores = source_ways[0] * source_ways[1] * source_ways[2]
    ways = group_ways(geo.batch_ways[t], geo.row_ways[t], geo.channel_ways[t], geo.full[t])
    groups = ways[0] * ways[1] * ways[2]
    members = geo.batch_ways[t] * geo.row_ways[t] * geo.channel_ways[t] // groups
    channels, columns = net.tensor_channels[geo.tensor[t]], geo.held_stop[t] - geo.new_start[t]
    begin = geo.start[:, t] if p == 0 else geo.ends[:, t, p - 1]
    wait_for_writers(draft.written, draft.latest, source, p)
    for turn in range(groups):
        most, moved, kept = 0, 0, 0
        for group in range(groups):
            received = 0
            for core in range((group - turn) % groups, cores, groups):
                made = box_of(
                    core, source_ways, geo.own_start[:, t], geo.own_stop[:, t], site.images, channels
                )
                sent = common_box(made, box_of(group, ways, begin, geo.ends[:, t, p], site.images, channels))
                pixels = (sent.images[1] - sent.images[0]) * (sent.rows[1] - sent.rows[0]) * columns
                size = pixels * (sent.channels[1] - sent.channels[0]) * m.element_bytes
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
