"""The weight buffer as a ring: chunks take the next place, and what lay there may be given up."""

from __future__ import annotations

from hwmodel.compiled import compiled_leaf
from hwmodel.costs import dma_hold
from hwmodel.machine_table import MachineTable
from scheduling.choice import Choice
from scheduling.rows import (
    C_ENGINE,
    C_EXTERNAL0,
    C_EXTERNAL1,
    C_HOLD,
    C_LATENCY,
    C_LINK,
    C_LINK_HOLD,
    C_OP,
    C_PIECE,
    C_TENSOR,
    DMA,
    OP_LOADW,
    SLOT_COMPUTE,
)
from scheduling.tables import Ints, NetworkTable
from scheduling.waits import later


@compiled_leaf
def fixed_places(
    net: NetworkTable, choice: Choice, tiles: Ints, chunk_start: Ints, home: Ints, element_bytes: int
) -> None:
    """Give every chunk of a sub-graph a place of its own, layer after layer: where all weights stay in the buffer.

    `tiles` are a Lowered's; chunk_start[j] is layer j's first chunk, that of its parameters.
    """
    address = 0
    for j in range(choice.stop - choice.first):
        layer = choice.first + j
        share = -(-net.tensor_channels[net.input_count + layer] // choice.ways_channels)
        home[chunk_start[j]] = address
        address += net.parameters[layer] * share * element_bytes
        chunks = chunk_start[j + 1] - chunk_start[j] - 1
        if chunks == 0:
            continue
        groups = max(1, net.groups[layer] // choice.ways_channels)
        group_share = share // groups if groups > 1 else share
        parts = -(-net.reduction[layer] // tiles[j, 1])
        per_group = -(-group_share // tiles[j, 0])
        for chunk in range(chunks):
            k0 = chunk // parts % per_group * tiles[j, 0]
            r0 = chunk % parts * tiles[j, 1]
            channels = min(group_share, k0 + tiles[j, 0]) - k0
            reduction = min(net.reduction[layer], r0 + tiles[j, 1]) - r0
            home[chunk_start[j] + 1 + chunk] = address
            address += channels * reduction * net.taps[layer] * element_bytes


@compiled_leaf
def clash(address: Ints, size: Ints, chunk: int, low: int, length: int) -> bool:
    """Whether a chunk lies in the `length` bytes from `low` on."""
    return bool(address[chunk] < low + length and low < address[chunk] + size[chunk])


@compiled_leaf
def evict(address: Ints, reader: Ints, chunk: int, anchor: Ints, rows: Ints) -> None:
    address[chunk] = -1
    row = reader[chunk]
    if row >= 0:
        later(anchor, rows[row, C_ENGINE], row)


@compiled_leaf
def claim(
    chunk: int,
    size: int,
    row: int,
    ring: Ints,
    fifo: Ints,
    address: Ints,
    sizes: Ints,
    rows_of: Ints,
    reader: Ints,
    anchor: Ints,
    rows: Ints,
    capacity: int,
) -> None:
    """Give a chunk the next place of the ring; what was there is given up, oldest first.

    `ring` holds the first and the last index of the resident chunks in `fifo`, and the next free byte.
    """
    if ring[2] + size > capacity:
        while ring[0] < ring[1] and address[fifo[ring[0]]] >= ring[2]:
            evict(address, reader, fifo[ring[0]], anchor, rows)
            ring[0] += 1
        ring[2] = 0
    while ring[0] < ring[1] and clash(address, sizes, fifo[ring[0]], ring[2], size):
        evict(address, reader, fifo[ring[0]], anchor, rows)
        ring[0] += 1
    address[chunk] = ring[2]
    sizes[chunk] = size
    rows_of[chunk] = row
    fifo[ring[1]] = chunk
    ring[1] += 1
    ring[2] += size


@compiled_leaf
def weight_load(
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
