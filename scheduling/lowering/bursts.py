"""What a transfer of a lowered instance moves on the DRAM link in whole bursts, as `hwmodel.timing.bursts` has it.

Lowering has no strides yet; what is contiguous follows from which dimensions of a tensor a core's part has whole. In
DRAM a tensor lies as images, rows, columns, channels, the last fastest; in a turned frame its rows and columns are the
frame's columns and rows.
"""

from __future__ import annotations

from hwmodel.compiled import compiled_leaf
from scheduling.lowering.tables import Ints, NetworkTable


@compiled_leaf
def in_bursts(run_bytes: int, burst: int) -> int:
    """A run's bytes in whole bursts."""
    if burst == 1:
        return run_bytes
    return -(-run_bytes // burst) * burst


@compiled_leaf
def box_in_bursts(
    images: int,
    outer: int,
    outer_all: int,
    inner: int,
    inner_all: int,
    channels: int,
    channels_all: int,
    element_bytes: int,
    burst: int,
) -> int:
    """Bytes on the link of one core's part of a tensor: `outer` of its lines in DRAM, `inner` of the pixels of each."""
    run, count = channels, images * outer * inner
    if count * run == 0:
        return 0
    if channels == channels_all:
        run, count = run * inner, count // inner
        if inner == inner_all:
            run, count = run * outer, count // outer
            if outer == outer_all:
                run, count = run * images, count // images
    return count * in_bursts(run * element_bytes, burst)


@compiled_leaf
def tensor_in_bursts(
    net: NetworkTable,
    tensor: int,
    images: int,
    batch_ways: int,
    way_rows: Ints,
    columns: int,
    channel_ways: int,
    element_bytes: int,
    burst: int,
) -> int:
    """Bytes on the link of what all cores move of a tensor: their shares of `images`, `way_rows` (row ways,) rows each
    (0 of those that another way moves for them), `columns` columns, and their shares of the channels. With
    `channel_ways` 1 one transfer serves all cores that share channels; a constant moves once for all images."""
    channels, stored = net.tensor_channels[tensor], net.stored_channels[tensor]
    all_rows, all_columns = net.tensor_rows[tensor], net.tensor_columns[tensor]
    moved = 0
    for batch_way in range(batch_ways):
        count = images * (batch_way + 1) // batch_ways - images * batch_way // batch_ways
        if net.tensor_constant[tensor]:
            count = 1 if batch_way == 0 else 0
        for rows in way_rows:
            for channel_way in range(channel_ways):
                share = channels * (channel_way + 1) // channel_ways - channels * channel_way // channel_ways
                if net.turned:
                    moved += box_in_bursts(
                        count, columns, all_columns, rows, all_rows, share, stored, element_bytes, burst
                    )
                else:
                    moved += box_in_bursts(
                        count, rows, all_rows, columns, all_columns, share, stored, element_bytes, burst
                    )
    return moved


@compiled_leaf
def weights_in_bursts(
    first: int, stop: int, channels: int, channel_ways: int, run_bytes: int, whole: bool, burst: int
) -> int:
    """Bytes on the link of output channels [first, stop) of the share of every way of the cores, `run_bytes` of each,
    one after the other where these are `whole`."""
    if channel_ways == 1:
        width = max(0, min(channels, stop) - min(channels, first))
        return in_bursts(width * run_bytes, burst) if whole else width * in_bursts(run_bytes, burst)
    moved = 0
    for way in range(channel_ways):
        share = channels * (way + 1) // channel_ways - channels * way // channel_ways
        width = max(0, min(share, stop) - min(share, first))
        moved += in_bursts(width * run_bytes, burst) if whole else width * in_bursts(run_bytes, burst)
    return moved


@compiled_leaf
def vectors_in_bursts(
    vectors: int, channels: int, stored_channels: int, channel_ways: int, element_bytes: int, burst: int
) -> int:
    """Bytes on the link of each way's share of `channels` of so many vectors, which lie one after the other with
    `stored_channels` each."""
    if channel_ways == 1 and channels == stored_channels:
        return in_bursts(vectors * channels * element_bytes, burst)
    moved = 0
    for way in range(channel_ways):
        share = channels * (way + 1) // channel_ways - channels * way // channel_ways
        moved += vectors * in_bursts(share * element_bytes, burst)
    return moved
