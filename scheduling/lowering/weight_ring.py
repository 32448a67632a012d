"""The weight buffer: chunks of weights in a ring, or all of them at fixed places."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from hwmodel.machines.machine_table import MachineTable
from hwmodel.timing.costs import ceil_div
from scheduling.choice import Choice, layer_ways, same_binding
from scheduling.lowering.rows import C_ENGINE
from scheduling.lowering.tables import CONVOLVES, Ints, NetworkTable
from scheduling.lowering.waits import later

OLDEST, NEWEST, NEXT_BYTE = 0, 1, 2
"""Places in `Chunks.ring`."""


class Chunks(NamedTuple):
    """C chunks: of every layer its parameters, then its weights by group, output channels and input channels."""

    first: Ints  # (layers + 1,) chunk of each layer's parameters
    same: Ints  # (layers,) layer of the sub-graph whose chunks these are: it shares weights, and cuts them alike
    address: Ints  # (C,) in the weight buffer; -1 while not there
    size: Ints  # (C,) bytes
    home: Ints  # (C,) fixed place, where all weights stay; else -1
    loaded_by: Ints  # (C,) row, or -1
    reader: Ints  # (C,) latest row that reads it
    fifo: Ints  # chunks in the ring, in the order in which they came
    ring: Ints  # (3,) places in `fifo` of the oldest one and after the newest one, next free byte
    freed_by: Ints  # (2,) latest matrix and vector row whose weights were given up


@compiled
def weight_chunks(
    net: NetworkTable, m: MachineTable, choice: Choice, tiles: Ints, kept: bool, most_loads: int
) -> Chunks:
    """The chunks that `tiles` (layers, 4: channels, reduction, images, rows) cut. None is in the buffer, or all where
    they are `kept`. At most `most_loads` are loaded."""
    count = choice.stop - choice.first
    first = np.zeros(count + 1, np.int64)
    same = np.arange(count)
    for j in range(count):
        holder = net.holder[choice.first + j]
        for other in range(j if holder >= 0 else 0):
            if (
                net.holder[choice.first + other] == holder
                and tiles[other, 0] == tiles[j, 0]
                and tiles[other, 1] == tiles[j, 1]
                and same_binding(choice, choice.first + other, choice.first + j)
            ):
                same[j] = other
                break
        first[j + 1] = first[j] + 1 + _weight_chunk_count(net, choice, tiles, j)
    total = first[count]
    home = np.full(total, -1, np.int64)
    if choice.keep_weights:
        _fixed_places(net, choice, tiles, first, home, m.element_bytes)
    return Chunks(
        first,
        same,
        home.copy() if kept else np.full(total, -1, np.int64),
        np.zeros(total, np.int64),
        home,
        np.full(total, -1, np.int64),
        np.full(total, -1, np.int64),
        np.empty(most_loads, np.int64),
        np.zeros(3, np.int64),
        np.full(2, -1, np.int64),
    )


@compiled_leaf
def _weight_chunk_count(net: NetworkTable, choice: Choice, tiles: Ints, j: int) -> int:
    layer = choice.first + j
    if net.kind[layer] != CONVOLVES or tiles[j, 0] == 0:
        return 0
    _, _, ways = layer_ways(choice, layer)
    groups = max(1, net.groups[layer] // ways)
    share = ceil_div(net.tensor_channels[net.input_count + layer], ways)
    per_group = ceil_div(ceil_div(share, groups), tiles[j, 0])
    return int(groups * per_group * ceil_div(net.reduction[layer], tiles[j, 1]))


@compiled_leaf
def _fixed_places(
    net: NetworkTable, choice: Choice, tiles: Ints, first: Ints, home: Ints, element_bytes: int
) -> None:
    """Give every chunk a place of its own, layer after layer."""
    address = 0
    for j in range(choice.stop - choice.first):
        layer = choice.first + j
        _, _, ways = layer_ways(choice, layer)
        share = -(-net.tensor_channels[net.input_count + layer] // ways)
        home[first[j]] = address
        address += net.parameters[layer] * share * element_bytes
        chunks = first[j + 1] - first[j] - 1
        if chunks == 0:
            continue
        groups = max(1, net.groups[layer] // ways)
        group_share = share // groups if groups > 1 else share
        parts = -(-net.reduction[layer] // tiles[j, 1])
        per_group = -(-group_share // tiles[j, 0])
        for chunk in range(chunks):
            k0 = chunk // parts % per_group * tiles[j, 0]
            r0 = chunk % parts * tiles[j, 1]
            channels = min(group_share, k0 + tiles[j, 0]) - k0
            reduction = min(net.reduction[layer], r0 + tiles[j, 1]) - r0
            home[first[j] + 1 + chunk] = address
            address += channels * reduction * net.taps[layer] * element_bytes


@compiled_leaf
def claim(chunks: Chunks, chunk: int, size_bytes: int, row: int, rows: Ints, capacity_bytes: int) -> None:
    """Give a chunk, which `row` loads, its fixed place or else the next one of the ring; what was there is given up,
    oldest first."""
    chunks.loaded_by[chunk] = row
    if chunks.home[chunk] >= 0:
        chunks.address[chunk] = chunks.home[chunk]
        return
    ring, address, fifo = chunks.ring, chunks.address, chunks.fifo
    if ring[NEXT_BYTE] + size_bytes > capacity_bytes:
        while ring[OLDEST] < ring[NEWEST] and address[fifo[ring[OLDEST]]] >= ring[NEXT_BYTE]:
            _give_up_oldest(chunks, rows)
        ring[NEXT_BYTE] = 0
    while ring[OLDEST] < ring[NEWEST] and _in_the_way(chunks, ring[NEXT_BYTE], size_bytes):
        _give_up_oldest(chunks, rows)
    address[chunk] = ring[NEXT_BYTE]
    chunks.size[chunk] = size_bytes
    fifo[ring[NEWEST]] = chunk
    ring[NEWEST] += 1
    ring[NEXT_BYTE] += size_bytes


@compiled_leaf
def _in_the_way(chunks: Chunks, low: int, length: int) -> bool:
    """Whether the oldest chunk lies in the `length` bytes from `low` on."""
    chunk = chunks.fifo[chunks.ring[OLDEST]]
    address = chunks.address[chunk]
    return bool(address < low + length and low < address + chunks.size[chunk])


@compiled_leaf
def _give_up_oldest(chunks: Chunks, rows: Ints) -> None:
    chunk = chunks.fifo[chunks.ring[OLDEST]]
    chunks.address[chunk] = -1
    reader = chunks.reader[chunk]
    if reader >= 0:
        later(chunks.freed_by, rows[reader, C_ENGINE], reader)
    chunks.ring[OLDEST] += 1
