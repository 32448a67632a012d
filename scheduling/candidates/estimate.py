"""Additive estimate of a sub-graph's cost, without lowering it.

Feeds candidate features, masks and dynamic programming; never a reported number. It holds what an additive cost
must hold to be useful: pipeline fill, launches, weight traffic and what crosses the border.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.borrowing import borrowed
from hwmodel.compiled import compiled
from hwmodel.machines.machine_table import MachineTable
from hwmodel.timing.costs import (
    dram_cycles,
    link_cycles,
    matmul_cycles,
    matrix_cycles,
    transfer_startup,
    vector_cycles,
)
from scheduling.choice import RECOMPUTE, Choice
from scheduling.lowering.footprint import ring_footprint
from scheduling.lowering.geometry import geometry
from scheduling.lowering.planning import check_axes, least_l1_bytes, plan_geometry, plan_instance, tile_layers
from scheduling.lowering.shares import batch_part_max
from scheduling.lowering.tables import CONVOLVES, EMBEDS, NetworkTable
from scheduling.lowering.tiling import LEGAL, SHORT_L1


class Estimate(NamedTuple):
    """Of all instances of one sub-graph together, in cycles, unless said otherwise."""

    status: int
    cycles: int
    matrix: int
    vector: int
    dma: int
    dram: int
    fill: int
    launch: int
    l1_bytes: int  # footprint of one core; where that does not fit, some part of it that does not
    weight_bytes: int  # once
    border_bytes: int  # entries and tensors that leave, whole batch


ESTIMATE_FIELDS = len(Estimate._fields)


@compiled
def estimate(net: NetworkTable, m: MachineTable, choice: Choice) -> Estimate:
    """Estimate a sub-graph; `status` is LEGAL only if every kind of instance of it can be lowered."""
    net = borrowed(net)
    status, _, _ = check_axes(net, choice)
    if status != LEGAL:
        return Estimate(status, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    geo = geometry(net, choice, 0, 0)
    peak, tiles = 0, np.zeros((choice.stop - choice.first, 4), np.int64)
    if choice.halo != RECOMPUTE or m.l1_inner_bytes > 0 or choice.own_1:
        least = least_l1_bytes(net, choice, geo, m.element_bytes)
        if least > m.l1_bytes:
            return Estimate(SHORT_L1, 0, 0, 0, 0, 0, 0, 0, least, 0, 0)
        status, _, _, plan, tiles = plan_geometry(net, m, choice, geo, True)
        peak = plan.peak_bytes
    else:
        peak = ring_footprint(net, choice, geo, m.element_bytes, m.l1_bytes)
        if peak > m.l1_bytes:
            return Estimate(SHORT_L1, 0, 0, 0, 0, 0, 0, 0, peak, 0, 0)
        status, _, _ = tile_layers(net, m, choice, geo, True, tiles)
    if status != LEGAL:
        return Estimate(status, 0, 0, 0, 0, 0, 0, 0, peak, 0, 0)
    for part in range(1, choice.split_rows * choice.split_columns):
        row_part, column_part = part // choice.split_columns, part % choice.split_columns
        status, _, _, _, other, _ = plan_instance(net, m, choice, row_part, column_part)
        if status != LEGAL:
            return Estimate(status, 0, 0, 0, 0, 0, 0, 0, other.peak_bytes, 0, 0)
        peak = max(peak, other.peak_bytes)
    first = choice.first
    entries = geo.entries
    eb = m.element_bytes
    pieces = geo.ends.shape[2]
    slice_images = batch_part_max(net.batch, choice.split_batch)
    instances = choice.split_batch * choice.split_rows * choice.split_columns
    matrix, vector, slack = 0, 0, 0
    dma, weights, unique, weight_loads, reloaded, border = 0, 0, 0, 0, 0, 0
    # What crosses the border is in the LLB, or in DRAM where there is none.
    has_llb = 1 if m.llb_bytes > 0 else 0
    startup = transfer_startup(m, has_llb)
    crossing = 0
    for t in range(geo.tensor.shape[0]):
        tensor = geo.tensor[t]
        columns = geo.held_stop[t] - geo.new_start[t]
        channels = net.tensor_channels[tensor]
        images = -(-slice_images // geo.batch_ways[t])
        share = -(-channels // geo.channel_ways[t])
        rows, sum_rows, own = 0, 0, 0
        for way in range(geo.start.shape[0]):
            width = geo.ends[way, t, pieces - 1] - geo.start[way, t]
            rows = max(rows, width)
            sum_rows += width
            own += max(0, geo.own_stop[way, t] - geo.own_start[way, t])
        if geo.copied_from[t] >= 0:
            core = images * rows * columns * (channels if geo.full[t] else share) * eb
            dma += -(-core // m.exchange) + m.dma_startup * pieces * geo.batch_ways[t] * geo.row_ways[t]
            continue
        if t < entries:
            constant = net.tensor_constant[tensor] == 1
            size = (1 if constant else slice_images) * sum_rows * columns * channels * eb
            core = (1 if constant else images) * rows * columns * (channels if geo.full[t] else share) * eb
            link = link_cycles(m, size, has_llb, 0)
            dma += max(-(-core // m.dma_bytes), link) + startup * pieces
            crossing += link
            border += size * instances
            continue
        if geo.leaves[t]:
            size = slice_images * own * columns * channels * eb
            link = link_cycles(m, size, has_llb, 1)
            dma += max(-(-(images * rows * columns * share * eb) // m.dma_bytes), link)
            dma += startup * pieces
            crossing += link
            border += size * instances
        if geo.gathered[t]:
            dma += images * rows * columns * (channels - share) * eb // m.exchange + m.dma_startup * pieces
        j = t - entries
        layer = first + j
        here_vector = vector_cycles(m, images * rows * columns * share, net.passes[layer])
        here_matrix = 0
        units = pieces
        if net.is_matrix[layer] and tiles[j, 0] > 0:
            groups = max(1, net.groups[layer] // geo.channel_ways[t])
            group_share = -(-share // groups)
            chunks = -(-group_share // tiles[j, 0])
            last = group_share - (chunks - 1) * tiles[j, 0]
            parts = -(-net.reduction[layer] // tiles[j, 1])
            piece_rows = -(-rows // pieces)
            spots = -(-images // tiles[j, 2]) * -(-piece_rows // tiles[j, 3])
            reduction, taps = net.reduction[layer], net.taps[layer]
            full = 0
            if net.kind[layer] == CONVOLVES:
                if chunks > 1:
                    full = matrix_cycles(m, images, piece_rows, columns, tiles[j, 0], reduction, taps)
                rest = matrix_cycles(m, images, piece_rows, columns, last, reduction, taps)
            else:
                if chunks > 1:
                    full = matmul_cycles(m, images, piece_rows, columns, tiles[j, 0], reduction)
                rest = matmul_cycles(m, images, piece_rows, columns, last, reduction)
            here_matrix = groups * pieces * ((chunks - 1) * full + rest)
            units = pieces * groups * chunks * spots
            if net.kind[layer] == CONVOLVES:
                weights += share * reduction * taps * eb
                unique += share * reduction * taps * eb * geo.channel_ways[t]
                weight_loads += groups * chunks * parts
        elif net.kind[layer] == EMBEDS:
            size = slice_images * sum_rows * columns * channels * eb
            core = images * rows * columns * share * eb
            dma += max(-(-core // m.dma_bytes), dram_cycles(m, size, 0)) + transfer_startup(m, 0) * pieces
        weights += net.parameters[layer] * share * eb
        unique += net.parameters[layer] * share * eb * geo.channel_ways[t]
        matrix += here_matrix
        vector += here_vector
        slack += min(here_matrix, here_vector) // units + m.matrix_drain * (units if units < 4 else 4)
    times = 1
    if pieces > 1 and weights > m.weights_bytes:
        times = pieces
    dma += -(-(weights * times) // m.dma_bytes)
    # Weights come through the LLB once where they fit there beside tensors, else from DRAM for every instance.
    resident = times == 1 and 2 * unique <= m.llb_bytes
    if times > 1 and 2 * unique <= m.llb_bytes:
        resident = True
    reloaded = unique if resident else unique * times * instances
    dma += weight_loads * transfer_startup(m, 1 if resident else 0)
    dram = dram_cycles(m, reloaded, 0)
    if m.llb_bytes == 0:
        dram += crossing * instances
    busy = max(matrix, vector)
    serial = matrix + vector - busy
    fill = slack + serial // (4 * pieces)
    one = max(busy + fill, dma) + min(busy, dma) // (4 * pieces)
    launch = m.launch * instances
    cycles = max(one * instances + launch, dram)
    return Estimate(
        LEGAL, cycles, matrix * instances, vector * instances, dma * instances, dram, fill * instances, launch, peak,
        unique, border,
    )  # fmt: skip
