"""Plan of an instance: geometry, L1 layout and tilings, and whether all of it fits."""

from __future__ import annotations

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from hwmodel.machines.machine_table import MachineTable
from scheduling.choice import (
    CHANNEL_RING,
    CHANNELS,
    COLUMNS,
    RECOMPUTE,
    Choice,
    layer_ways,
    packed_runs,
    run_layers,
    run_ways,
    same_binding,
)
from scheduling.lowering.channel_rings import in_channel_ring, most_held_channels
from scheduling.lowering.geometry import Geometry, geometry
from scheduling.lowering.inner_places import place_inner
from scheduling.lowering.operations import MOST_PIECES, Plan, order_operations, place
from scheduling.lowering.shares import batch_part_max
from scheduling.lowering.tables import (
    CONVOLVES,
    EMBEDS,
    JOINS_ROWS,
    MULTIPLIES,
    REARRANGES,
    Ints,
    NetworkTable,
)
from scheduling.lowering.tiling import LEGAL, SHORT_L1, SHORT_WEIGHTS, tile_contraction

ROWS_NOT_CARRIED = 4
GROUPS_NOT_DIVISIBLE = 5
TOO_MANY_WAYS = 6
TOO_MANY_INSTRUCTIONS = 7
COLUMNS_NOT_CARRIED = 8
TOO_MANY_PIECES = 9
CACHED_TWO_WAYS = 10
WEIGHTS_NOT_KEPT = 11
CHANNELS_NOT_CARRIED = 12
OWN_ELSEWHERE = 13
OWN_CORES_DIFFER = 14
OWN_BINDING_EQUAL = 15
OWN_WITH_CACHES = 16
MOST_INSTRUCTIONS = 60_000


@compiled_leaf
def check_axes(net: NetworkTable, choice: Choice) -> tuple[int, int, int]:
    """(status, layer, short_bytes) of what can be said before geometry: axes and ways."""
    if choice.split_batch * choice.ways_batch > net.batch:
        return TOO_MANY_WAYS, choice.first, 0
    if choice.own_1:
        status, layer = check_own_runs(net, choice)
        if status != LEGAL:
            return status, layer, 0
    if choice.pieces >= MOST_PIECES:
        return TOO_MANY_PIECES, choice.first, 0
    if (
        choice.axis == COLUMNS
    ):  # such choices are lowered with rows and columns swapped: scheduling.lowering.frames
        return COLUMNS_NOT_CARRIED, choice.first, 0
    if choice.split_channels > 1:  # such choices are lowered as those of a narrower network
        return CHANNELS_NOT_CARRIED, choice.first, 0
    if choice.halo != RECOMPUTE and choice.split_rows > 1:
        return CACHED_TWO_WAYS, choice.first, 0
    for layer in range(choice.first, choice.stop):
        out = net.input_count + layer
        _, row_ways, ways = layer_ways(choice, layer)
        parts = choice.split_rows * row_ways
        if ways > net.tensor_channels[out]:
            return TOO_MANY_WAYS, layer, 0
        if ways > 1 and net.groups[layer] > 1 and net.groups[layer] % ways:
            return GROUPS_NOT_DIVISIBLE, layer, 0
        if parts > 1:
            if net.last_use[out] >= choice.stop and net.tensor_rows[out] < parts:
                return ROWS_NOT_CARRIED, layer, 0
            for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
                # Reading a whole input that lies in shared memory is a broadcast, and so is getting it from cores that
                # are bound otherwise; making it on every core again for each part would be no split.
                made_by = net.producer[net.edge_tensor[e]]
                again = choice.split_rows > 1 or same_binding(choice, made_by, layer)
                if net.edge_whole[e] and made_by >= choice.first and again:
                    return ROWS_NOT_CARRIED, layer, 0
        if choice.split_columns > 1:
            if net.last_use[out] >= choice.stop and net.tensor_columns[out] < choice.split_columns:
                return COLUMNS_NOT_CARRIED, layer, 0
            if net.kind[layer] in (MULTIPLIES, EMBEDS):
                return COLUMNS_NOT_CARRIED, layer, 0
            for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
                if net.column_whole[e] and net.producer[net.edge_tensor[e]] >= choice.first:
                    return COLUMNS_NOT_CARRIED, layer, 0
    return LEGAL, choice.first, 0


@compiled_leaf
def check_own_runs(net: NetworkTable, choice: Choice) -> tuple[int, int]:
    """Whether layers may have the bindings of their own that a choice gives them: LEGAL or why not, and the first layer
    of the run in question."""
    cores, behind = choice.ways_batch * choice.ways_rows * choice.ways_channels, choice.first
    ended = False
    for run in packed_runs(choice):
        first, stop = run_layers(run)
        batch, rows, channels = run_ways(run)
        if run == 0:
            ended = True
            continue
        if ended or not behind <= first < stop <= choice.stop:
            return OWN_ELSEWHERE, choice.first
        if batch * rows * channels == 0 or cores % (batch * rows * channels):
            return OWN_CORES_DIFFER, first
        if batch == choice.ways_batch and rows == choice.ways_rows and channels == choice.ways_channels:
            return OWN_BINDING_EQUAL, first
        if choice.split_batch * batch > net.batch:
            return TOO_MANY_WAYS, first
        behind = stop
    if choice.halo != RECOMPUTE:
        return OWN_WITH_CACHES, choice.first
    return LEGAL, choice.first


@compiled
def settle(m: MachineTable, geo: Geometry, plan: Plan) -> Plan:
    """The same plan with places that make use of the inner buffers of l1."""
    address, peak = place_inner(
        geo, plan.ring_rows, plan.size_bytes, plan.born, plan.dies, m.l1_first_bytes, m.l1_inner_bytes
    )
    return Plan(
        plan.kind,
        plan.tensor,
        plan.piece,
        plan.ring_rows,
        address,
        plan.size_bytes,
        plan.born,
        plan.dies,
        peak + plan.cache_bytes,
        plan.cache_address,
        plan.cache_bytes,
    )


@compiled
def check_streams_columns(net: NetworkTable, choice: Choice) -> tuple[int, int, int]:
    """The same of a choice that streams along columns, of the network as it is, beside `check_axes` in its frame."""
    for layer in range(choice.first, choice.stop):
        if net.kind[layer] in (MULTIPLIES, EMBEDS, REARRANGES, JOINS_ROWS):
            return COLUMNS_NOT_CARRIED, layer, 0
    return LEGAL, choice.first, 0


@compiled_leaf
def kept_bytes(net: NetworkTable, choice: Choice, element_bytes: int) -> int:
    """Bytes of one core's share of all weights and parameters of a sub-graph."""
    total = 0
    for layer in range(choice.first, choice.stop):
        share = -(-net.tensor_channels[net.input_count + layer] // layer_ways(choice, layer)[2])
        weights = net.reduction[layer] * net.taps[layer] if net.kind[layer] == CONVOLVES else 0
        total += share * (weights + net.parameters[layer]) * element_bytes
    return total


@compiled
def plan_instance(
    net: NetworkTable, m: MachineTable, choice: Choice, row_part: int, column_part: int
) -> tuple[int, int, int, Geometry, Plan, Ints]:
    """Geometry, layout and tilings of an instance, and whether they fit: (status, layer, short bytes, ...)."""
    geo = geometry(net, choice, row_part, column_part)
    leads = row_part == 0 and column_part == 0
    status, where, short, plan, tiles = plan_geometry(net, m, choice, geo, leads)
    return status, where, short, geo, plan, tiles


@compiled_leaf
def least_l1_bytes(net: NetworkTable, choice: Choice, geo: Geometry, element_bytes: int) -> int:
    """Bytes that no order of the operations gets below: for each layer its output and the inputs that are there when
    its last piece is computed, each with the rows of its largest piece. Much cheaper to find than the layout."""
    first, entries = choice.first, geo.entries
    pieces = geo.ends.shape[2]
    edge0 = net.edge_start[first]
    part = batch_part_max(net.batch, choice.split_batch)
    least = 0
    for j in range(choice.stop - first):
        low_edge, high_edge = net.edge_start[first + j] - edge0, net.edge_start[first + j + 1] - edge0
        total, last = 0, -1
        for e in range(low_edge - 1, high_edge):
            t = geo.edge_local[e] if e >= low_edge else entries + j
            repeated = False
            for other in range(low_edge, e):
                repeated = repeated or geo.edge_local[other] == t
            if repeated:
                continue
            rows, begins, ends = 0, pieces, -1
            for way in range(geo.start.shape[0]):
                for p in range(pieces):
                    low = geo.start[way, t] if p == 0 else geo.ends[way, t, p - 1]
                    if geo.ends[way, t, p] > low:
                        rows = max(rows, geo.ends[way, t, p] - low)
                        begins = min(begins, p)
                        ends = max(ends, p)
            if e < low_edge:
                last = ends
            if begins > last:
                continue
            tensor = geo.tensor[t]
            channels = most_held_channels(net, choice, geo, t)
            held = 1 if net.tensor_constant[tensor] else -(-part // geo.batch_ways[t])
            total += held * rows * (geo.held_stop[t] - geo.held_start[t]) * channels * element_bytes
        least = max(least, total)
    return least


@compiled
def plan_geometry(
    net: NetworkTable, m: MachineTable, choice: Choice, geo: Geometry, leads: bool
) -> tuple[int, int, int, Plan, Ints]:
    """Layout and tilings of an instance of this geometry, and whether they fit: (status, layer, short bytes, ...).

    `leads`: it is the first one of a slice of the batch, which loads weights that stay (Choice.keep_weights)."""
    kinds, tensors, pieces = order_operations(net, choice, geo)
    plan = place(net, choice, geo, kinds, tensors, pieces, m.element_bytes, m.l1_bytes)
    if m.l1_inner_bytes > 0:
        plan = settle(m, geo, plan)
    tiles = np.zeros((choice.stop - choice.first, 4), np.int64)
    status, where, short = tile_layers(net, m, choice, geo, leads, tiles)
    if status == LEGAL and plan.peak_bytes > m.l1_bytes:
        status, short = SHORT_L1, plan.peak_bytes - m.l1_bytes
        largest = 0
        for t in range(geo.tensor.shape[0]):
            if plan.size_bytes[t] > largest:
                largest = plan.size_bytes[t]
                where = choice.first + max(0, t - geo.entries)
    return status, where, short, plan, tiles


@compiled_leaf
def tile_layers(
    net: NetworkTable, m: MachineTable, choice: Choice, geo: Geometry, leads: bool, tiles: Ints
) -> tuple[int, int, int]:
    """Fill in the tilings (layers, 4) of an instance of this geometry: (status, layer, short bytes) of what does not
    fit the weight buffer or the accumulator. `leads` as in `plan_geometry`."""
    if choice.keep_weights:
        total = kept_bytes(net, choice, m.element_bytes)
        if total > m.weights_bytes:
            return WEIGHTS_NOT_KEPT, choice.first, total - m.weights_bytes
    for j in range(choice.stop - choice.first):
        layer = choice.first + j
        t = geo.entries + j
        images = -(-batch_part_max(net.batch, choice.split_batch) // geo.batch_ways[t])
        share = -(-net.tensor_channels[geo.tensor[t]] // geo.channel_ways[t])
        parameter_bytes = net.parameters[layer] * share * m.element_bytes
        if parameter_bytes > m.weights_bytes:
            return SHORT_WEIGHTS, layer, parameter_bytes - m.weights_bytes
        if not (net.is_matrix[layer] or choice.keep_weights):
            continue
        rows = 0
        for way in range(geo.start.shape[0]):
            for p in range(geo.ends.shape[2]):
                low = geo.start[way, t] if p == 0 else geo.ends[way, t, p - 1]
                rows = max(rows, geo.ends[way, t, p] - low)
        if choice.keep_weights:
            nothing = rows == 0 or geo.held_stop[t] <= geo.new_start[t]
            if leads and nothing:  # the others would not find its weights
                return WEIGHTS_NOT_KEPT, layer, 0
            if not net.is_matrix[layer]:
                continue
            rows = max(1, rows)
        if rows == 0:
            continue
        groups = max(1, net.groups[layer] // geo.channel_ways[t])
        group_share = -(-share // groups)
        most = group_share
        if in_channel_ring(net, choice, geo, t):
            most = -(-group_share // choice.pieces)
        elif choice.axis in (CHANNELS, CHANNEL_RING):
            part = -(-group_share // choice.pieces)
            most = min(group_share, -(-part // m.f_out_channels) * m.f_out_channels)
        tiling = tile_contraction(
            m,
            net.kind[layer] == MULTIPLIES,
            images,
            rows,
            max(1, geo.held_stop[t] - geo.new_start[t]),
            group_share,
            net.reduction[layer],
            net.taps[layer],
            parameter_bytes,
            most,
            choice.keep_weights == 1,
        )
        if tiling.status != LEGAL:
            return tiling.status, layer, tiling.short_bytes
        tiles[j, 0] = tiling.channels
        tiles[j, 1] = tiling.reduction
        tiles[j, 2] = tiling.images
        tiles[j, 3] = tiling.rows
    return LEGAL, choice.first, 0
