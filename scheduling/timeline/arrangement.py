"""What stays in the last-level buffer, for instances in a given order: the default rules.

A tensor that crosses an instance boundary lives in the LLB when all its slices fit there over their lives in that
order, else in DRAM; what came first stays. Weights that a kernel reads several times (row pieces, more weights than the
weight buffer holds) come before the tensors, others after them.

Lives are counted in steps or, where steps hold several instances, in their waves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled
from hwmodel.machines.machine_table import MachineTable
from scheduling.choice import COLUMNS, RECOMPUTE
from scheduling.lowering.tables import NEVER, Ints, NetworkTable
from scheduling.timeline.llb_places import first_fit, insert
from scheduling.timeline.packing import PackedOrder
from scheduling.timeline.slices import (
    AXIS,
    FIRST,
    HALO,
    SPLIT_BATCH,
    SPLIT_CHANNELS,
    SPLIT_COLUMNS,
    SPLIT_ROWS,
    STOP,
    slices,
    touching,
)
from scheduling.timeline.tensor_moves import TensorMoves
from scheduling.timeline.weight_places import last_users, place_weights

SCOPE_DRAM, SCOPE_DEFAULT, SCOPE_SHORTENED = 0, 1, 2
"""Where tensors go: to DRAM; to the LLB where they fit for as long as they are used; or, where they do not, to the LLB
until as late a reader as fits, and then to DRAM."""

WEIGHTS_RELOADED, WEIGHTS_RESIDENT = 0, 1


class Arrangement(NamedTuple):
    """S sub-graphs, N instances. Addresses are bytes in the LLB, -1 where the item is not there.

    An instance is a step of its own or, where `packed` says so, several make a step. `when` ascends: the step of an
    instance, or its wave.
    """

    subgraph: Ints  # (N,)
    # (N,) ((batch part x split_channels + channel part) x split_rows + row part) x split_columns + column part
    instance: Ints
    in_llb: Ints  # (T,) where a tensor is made, and read until it moves
    source_batch: Ints  # (T,) slices of the batch of a tensor in the LLB, else 1
    source_rows: Ints  # (T,) slices of the rows; 1 where all instances of a batch slice share one place
    slice_start: Ints  # (T + 1,) index of the first slice of each tensor in slice_address
    slice_address: Ints
    staged: Ints  # (L,)
    staged_address: Ints  # (L,)
    staged_by: Ints  # (L,) of staged weights, the layer whose copies they are: its own, or another's that shares them
    copy_when: Ints  # (copies,) when weights are copied from DRAM, ascending
    copy_layer: Ints  # (copies,) whose
    place_of: Ints  # (N,) place in the order of an instance, by sub-graph, then instance
    instance_start: Ints  # (S + 1,)
    when: Ints  # (N,)
    packed: PackedOrder
    moves: TensorMoves
    overlap_address: Ints  # (N,) by sub-graph, then instance: where overlaps are cached that are in the LLB


@compiled
def arrange(
    net: NetworkTable,
    m: MachineTable,
    choices: Ints,
    subgraph: Ints,
    instance: Ints,
    instance_start: Ints,
    scope_rule: int,
    weight_rule: int,
    prefetch: int,
    packed: PackedOrder,
    spilled: Ints,
    taken: Ints,
) -> tuple[Arrangement, Ints]:
    """Scopes, LLB addresses and resident weights by the default rules, for instances in the given order; and all that
    lies in the LLB then, in the form of `taken`.

    `spilled` (T,): 1 where a tensor goes to DRAM though it may fit. `taken` (n, 4): what lies in the LLB already, first
    and last step, address and size.
    """
    count = choices.shape[0]
    tensors = net.tensor_rows.shape[0]
    layers = net.is_matrix.shape[0]
    total = subgraph.shape[0]
    eb = m.element_bytes
    none = np.empty(0, np.int64)
    moves = TensorMoves(none, none, none, none)
    place_of = np.empty(total, np.int64)
    step_of = np.empty(total, np.int64)  # the step or wave, by sub-graph, then instance
    first_step = np.full(count, total, np.int64)
    last_step = np.zeros(count, np.int64)
    when = np.arange(total) if packed.when.shape[0] == 0 else packed.when
    for k in range(total):
        s = subgraph[k]
        place_of[instance_start[s] + instance[k]] = k
        step_of[instance_start[s] + instance[k]] = when[k]
        first_step[s] = min(first_step[s], when[k])
        last_step[s] = max(last_step[s], when[k])
    home = np.empty(layers, np.int64)
    for s in range(count):
        home[choices[s, FIRST] : choices[s, STOP]] = s
    in_llb = np.zeros(tensors, np.int64)
    source_batch = np.ones(tensors, np.int64)
    source_rows = np.ones(tensors, np.int64)
    slice_start = np.zeros(tensors + 1, np.int64)
    one_place = np.zeros(tensors, np.bool_)  # for all slices of a batch slice: they are no runs of whole rows
    for t in range(tensors):
        made_by = net.producer[t]
        parts = 1
        if made_by >= 0:
            s = home[made_by]
            parts = choices[s, SPLIT_BATCH] * slices(choices, s)
            across = choices[s, SPLIT_COLUMNS] > 1 or choices[s, SPLIT_CHANNELS] > 1
            if across or choices[s, AXIS] == COLUMNS or choices[s, HALO] != RECOMPUTE:
                one_place[t] = True
        slice_start[t + 1] = slice_start[t] + parts
    slice_address = np.full(slice_start[tensors], -1, np.int64)
    last_read = np.full(slice_start[tensors], -1, np.int64)
    for layer in range(layers):
        s = home[layer]
        for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
            t = net.edge_tensor[e]
            made_by = net.producer[t]
            if made_by < 0 or home[made_by] == s:
                continue
            q = home[made_by]
            if choices[s, AXIS] == COLUMNS:
                one_place[t] = True
            for ib in range(choices[s, SPLIT_BATCH]):
                a, b = touching(ib, choices[s, SPLIT_BATCH], choices[q, SPLIT_BATCH], net.batch)
                latest = 0
                for i in range(slices(choices, s)):
                    latest = max(latest, step_of[instance_start[s] + ib * slices(choices, s) + i])
                for i in range(a * slices(choices, q), b * slices(choices, q)):
                    last_read[slice_start[t] + i] = max(last_read[slice_start[t] + i], latest)
    most_copies = layers + total * 8
    capacity = slice_start[tensors] + most_copies + taken.shape[0] + 1
    items = np.empty((capacity, 4), np.int64)
    by_address = np.empty(capacity, np.int64)
    window = np.empty((1, 2), np.int64)
    placed = 0
    for i in range(taken.shape[0]):
        placed = insert(items, by_address, placed, taken[i, 0], taken[i, 1], taken[i, 2], taken[i, 3])
    staged = np.zeros(layers, np.int64)
    staged_address = np.full(layers, -1, np.int64)
    staged_by = np.full(layers, -1, np.int64)
    last_user = last_users(net, home, last_step)
    copy_step = np.empty(most_copies, np.int64)
    copy_layer = np.empty(most_copies, np.int64)
    copies = 0
    if weight_rule == WEIGHTS_RESIDENT:
        placed, copies = place_weights(
            net, m, choices, step_of, instance_start, first_step, last_user, items, by_address, placed, prefetch, True,
            staged, staged_address, staged_by, copy_step, copy_layer, copies,
        )  # fmt: skip
    if scope_rule != SCOPE_DRAM:
        # Tensors in the order in which their first slice is made.
        made = np.empty(layers, np.int64)
        for layer in range(layers):
            made[layer] = first_step[home[layer]]
        for layer in np.argsort(made, kind="mergesort"):
            t = net.input_count + layer
            s = home[layer]
            if net.last_use[t] < choices[s, STOP] or net.last_use[t] == NEVER or spilled[t]:
                continue
            before = placed
            fits = True
            own, split_rows = slices(choices, s), choices[s, SPLIT_ROWS]
            if one_place[t]:
                split_rows = 1
            for i in range(slice_start[t + 1] - slice_start[t]):
                if one_place[t] and i % own > 0:
                    slice_address[slice_start[t] + i] = slice_address[slice_start[t] + i - 1]
                    continue
                ib, ir = i // own, i % own
                images = (
                    net.batch * (ib + 1) // choices[s, SPLIT_BATCH]
                    - net.batch * ib // choices[s, SPLIT_BATCH]
                )
                rows = net.tensor_rows[t] * (ir + 1) // split_rows - net.tensor_rows[t] * ir // split_rows
                size = images * rows * net.tensor_columns[t] * net.tensor_channels[t] * eb
                begin = step_of[instance_start[s] + i]
                end = max(begin, last_read[slice_start[t] + i])
                if one_place[t]:
                    for k in range(i, i + own):
                        begin = min(begin, step_of[instance_start[s] + k])
                        end = max(end, max(step_of[instance_start[s] + k], last_read[slice_start[t] + k]))
                window[0, 0], window[0, 1] = begin, end
                address = first_fit(items, by_address, placed, window, size, m.llb_bytes)
                if address < 0:
                    fits = False
                    break
                slice_address[slice_start[t] + i] = address
                placed = insert(items, by_address, placed, begin, end, address, size)
            if fits:
                in_llb[t] = 1
                source_batch[t] = choices[s, SPLIT_BATCH]
                source_rows[t] = split_rows
            else:
                slice_address[slice_start[t] : slice_start[t + 1]] = -1
                kept = 0
                for k in range(placed):
                    if by_address[k] < before:
                        by_address[kept] = by_address[k]
                        kept += 1
                placed = before
    if weight_rule == WEIGHTS_RESIDENT:
        placed, copies = place_weights(
            net, m, choices, step_of, instance_start, first_step, last_user, items, by_address, placed, prefetch, False,
            staged, staged_address, staged_by, copy_step, copy_layer, copies,
        )  # fmt: skip
    by_step = np.argsort(copy_step[:copies], kind="mergesort")
    arrangement = Arrangement(
        subgraph, instance, in_llb, source_batch, source_rows, slice_start, slice_address,
        staged, staged_address, staged_by, copy_step[:copies][by_step], copy_layer[:copies][by_step],
        place_of, instance_start, when, packed, moves, np.full(total, -1, np.int64),
    )  # fmt: skip
    return arrangement, items[:placed]
