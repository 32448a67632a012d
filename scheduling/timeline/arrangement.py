"""Order of the instances, and what stays in the last-level buffer: the default rules.

Order: depth first (a stack of ready instances) or breadth first (sub-graph by sub-graph). Scope: a tensor that
crosses an instance boundary lives in the LLB when all its slices fit there over their lives in that order, else in
DRAM; what came first stays. Weights take the LLB layer by layer, from the kernel before their first use to their
last; where that is too long, anew for each run of instances that follow one another. Weights that a kernel reads
several times (row pieces, more weights than the weight buffer holds) come before the tensors, others after them.
Weights that layers of several sub-graphs share stay from their first use to their last, where that fits.

Lives are counted in steps or, where steps hold several instances, in their waves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from hwmodel.machines.machine_table import MachineTable
from scheduling.choice import COLUMNS, RECOMPUTE, choice_of, row_pieces
from scheduling.lowering.tables import CONVOLVES, NEVER, Ints, NetworkTable
from scheduling.timeline.packing import PackedOrder
from scheduling.timeline.tensor_moves import TensorMoves

BREADTH_FIRST, DEPTH_FIRST = 0, 1
SCOPE_DRAM, SCOPE_DEFAULT, SCOPE_SHORTENED = 0, 1, 2
"""Where tensors go: to DRAM; to the LLB where they fit for as long as they are used; or, where they do not, to the LLB
until as late a reader as fits, and then to DRAM."""

WEIGHTS_RELOADED, WEIGHTS_RESIDENT = 0, 1

# Columns of the choices array are the fields of scheduling.choice.Choice.
FIRST, STOP, SPLIT_BATCH, SPLIT_ROWS, AXIS, SPLIT_COLUMNS, HALO = 0, 1, 2, 3, 8, 11, 12


class Arrangement(NamedTuple):
    """S sub-graphs, N instances. Addresses are bytes in the LLB, -1 where the item is not there.

    An instance is a step of its own or, where `packed` says so, several make a step. `when` ascends: the step of an
    instance, or its wave.
    """

    subgraph: Ints  # (N,)
    instance: Ints  # (N,) (batch part x split_rows + row part) x split_columns + column part
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


@compiled_leaf
def touching(part: int, parts: int, other_parts: int, batch: int) -> tuple[int, int]:
    """Which of `other_parts` even slices of the batch slice `part` of `parts` touches: [first, stop)."""
    low = batch * part // parts
    high = batch * (part + 1) // parts
    return ((low + 1) * other_parts - 1) // batch, (high * other_parts - 1) // batch + 1


@compiled
def slices(choices: Ints, s: int) -> int:
    """Instances of one slice of the batch of sub-graph s."""
    return int(choices[s, SPLIT_ROWS] * choices[s, SPLIT_COLUMNS])


@compiled
def order_instances(net: NetworkTable, choices: Ints, rule: int) -> tuple[Ints, Ints, Ints]:
    """(sub-graph of each step, instance of each step, first instance number of each sub-graph)."""
    count = choices.shape[0]
    start = np.zeros(count + 1, np.int64)
    home = np.empty(net.edge_start.shape[0] - 1, np.int64)
    for s in range(count):
        start[s + 1] = start[s] + choices[s, SPLIT_BATCH] * slices(choices, s)
        home[choices[s, FIRST] : choices[s, STOP]] = s
    total = start[count]
    subgraph = np.empty(total, np.int64)
    instance = np.empty(total, np.int64)
    if rule == BREADTH_FIRST:
        k = 0
        for s in range(count):
            for i in range(start[s + 1] - start[s]):
                subgraph[k] = s
                instance[k] = i
                k += 1
        return subgraph, instance, start
    # Distinct (producer, consumer) pairs of sub-graphs, as a linked list per producer, consumers ascending.
    edges = net.edge_tensor.shape[0]
    head = np.full(count, -1, np.int64)
    follow = np.full(edges, -1, np.int64)
    target = np.empty(edges, np.int64)
    links = 0
    for layer in range(home.shape[0] - 1, -1, -1):
        for e in range(net.edge_start[layer], net.edge_start[layer + 1]):
            made_by = net.producer[net.edge_tensor[e]]
            if made_by < 0 or home[made_by] == home[layer]:
                continue
            q = home[made_by]
            if head[q] >= 0 and target[head[q]] == home[layer]:
                continue
            target[links] = home[layer]
            follow[links] = head[q]
            head[q] = links
            links += 1
    missing = np.zeros(total, np.int64)
    for q in range(count):
        link = head[q]
        while link >= 0:
            s = target[link]
            for ib in range(choices[s, SPLIT_BATCH]):
                a, b = touching(ib, choices[s, SPLIT_BATCH], choices[q, SPLIT_BATCH], net.batch)
                for i in range(slices(choices, s)):
                    missing[start[s] + ib * slices(choices, s) + i] += (b - a) * slices(choices, q)
            link = follow[link]
    stack = np.empty(total, np.int64)
    owner = np.empty(total, np.int64)
    top = 0
    for s in range(count - 1, -1, -1):
        for i in range(start[s + 1] - 1, start[s] - 1, -1):
            owner[i] = s
            if missing[i] == 0:
                stack[top] = i
                top += 1
    k = 0
    while top > 0:
        top -= 1
        number = stack[top]
        q = owner[number]
        subgraph[k] = q
        instance[k] = number - start[q]
        k += 1
        jb = (number - start[q]) // slices(choices, q)
        link = head[q]
        while link >= 0:
            s = target[link]
            a, b = touching(jb, choices[q, SPLIT_BATCH], choices[s, SPLIT_BATCH], net.batch)
            for i in range(b * slices(choices, s) - 1, a * slices(choices, s) - 1, -1):
                missing[start[s] + i] -= 1
                if missing[start[s] + i] == 0:
                    stack[top] = start[s] + i
                    top += 1
            link = follow[link]
    return subgraph, instance, start


@compiled_leaf
def _first_fit(items: Ints, sorted_items: Ints, count: int, windows: Ints, size: int, capacity: int) -> int:
    """Lowest offset free in all `windows` (first, last step); -1 if there is none.

    `items`: (begin, end, address, size) rows; `sorted_items`: the first `count` of them by address.
    """
    offset = 0
    for k in range(count):
        i = sorted_items[k]
        if items[i, 2] >= offset + size:
            break
        if items[i, 2] + items[i, 3] > offset:
            for w in range(windows.shape[0]):
                if items[i, 0] <= windows[w, 1] and windows[w, 0] <= items[i, 1]:
                    offset = items[i, 2] + items[i, 3]
                    break
    return offset if offset + size <= capacity else -1


@compiled_leaf
def _insert(
    items: Ints, sorted_items: Ints, count: int, begin: int, end: int, address: int, size: int
) -> int:
    items[count, 0] = begin
    items[count, 1] = end
    items[count, 2] = address
    items[count, 3] = size
    _insert_sorted(items, sorted_items, count, count)
    return count + 1


@compiled_leaf
def _insert_sorted(items: Ints, sorted_items: Ints, count: int, item: int) -> None:
    """Put an item among the first `count` of `sorted_items`, by address."""
    address = items[item, 2]
    k = count
    while k > 0 and items[sorted_items[k - 1], 2] > address:
        sorted_items[k] = sorted_items[k - 1]
        k -= 1
    sorted_items[k] = item


@compiled_leaf
def _at_the_time(items: Ints, sorted_items: Ints, count: int, begin: int, end: int, found: Ints) -> int:
    """Write into `found` those of the first `count` of `sorted_items` that are there in some of steps [begin, end]."""
    number = 0
    for k in range(count):
        i = sorted_items[k]
        if items[i, 0] <= end and begin <= items[i, 1]:
            found[number] = i
            number += 1
    return number


@compiled_leaf
def weight_bytes(net: NetworkTable, layer: int, element_bytes: int) -> int:
    """Weights and per-channel parameters of a layer; the table of an Embedding stays in DRAM."""
    channels = net.tensor_channels[net.input_count + layer]
    weights = net.reduction[layer] * net.taps[layer] if net.kind[layer] == CONVOLVES else 0
    per_channel = weights + net.parameters[layer]
    return int(channels * per_channel * element_bytes)


@compiled
def layer_weight_bytes(net: NetworkTable, element_bytes: int) -> Ints:
    """(L,) `weight_bytes` of every layer."""
    layers = net.is_matrix.shape[0]
    sizes = np.empty(layers, np.int64)
    for layer in range(layers):
        sizes[layer] = weight_bytes(net, layer, element_bytes)
    return sizes


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
            if choices[s, SPLIT_COLUMNS] > 1 or choices[s, AXIS] == COLUMNS or choices[s, HALO] != RECOMPUTE:
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
        placed = _insert(items, by_address, placed, taken[i, 0], taken[i, 1], taken[i, 2], taken[i, 3])
    staged = np.zeros(layers, np.int64)
    staged_address = np.full(layers, -1, np.int64)
    staged_by = np.full(layers, -1, np.int64)
    last_user = _last_users(net, home, last_step)
    copy_step = np.empty(most_copies, np.int64)
    copy_layer = np.empty(most_copies, np.int64)
    copies = 0
    if weight_rule == WEIGHTS_RESIDENT:
        placed, copies = _place_weights(
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
                address = _first_fit(items, by_address, placed, window, size, m.llb_bytes)
                if address < 0:
                    fits = False
                    break
                slice_address[slice_start[t] + i] = address
                placed = _insert(items, by_address, placed, begin, end, address, size)
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
        placed, copies = _place_weights(
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


@compiled
def _last_users(net: NetworkTable, home: Ints, last_step: Ints) -> Ints:
    """(L,) at the layer that shared weights are stored for: the last step that reads them; -1 at all others."""
    last = np.full(home.shape[0], -1, np.int64)
    for layer in range(home.shape[0]):
        if net.holder[layer] >= 0:
            last[net.holder[layer]] = max(last[net.holder[layer]], last_step[home[layer]])
    return last


@compiled
def _place_weights(
    net: NetworkTable,
    m: MachineTable,
    choices: Ints,
    step_of: Ints,
    instance_start: Ints,
    first_step: Ints,
    last_user: Ints,
    items: Ints,
    by_address: Ints,
    placed: int,
    prefetch: int,
    urgent: bool,
    staged: Ints,
    staged_address: Ints,
    staged_by: Ints,
    copy_step: Ints,
    copy_layer: Ints,
    copies: int,
) -> tuple[int, int]:
    """Give LLB places to the weights of the sub-graphs that read theirs several times (`urgent`), or of the others.
    Returns the numbers of placed items and of copies."""
    if m.sdma_bytes == 0:
        return placed, copies
    # Of shared weights: the layer whose one copy lies in the LLB, and the steps from which and until which it does.
    resident = np.full(staged.shape[0], -1, np.int64)
    since = np.zeros(staged.shape[0], np.int64)
    until = np.zeros(staged.shape[0], np.int64)
    nearby = np.empty(
        by_address.shape[0], np.int64
    )  # what is in the LLB with the weights of a sub-graph, by address
    for s in np.argsort(first_step, kind="mergesort"):
        total = 0
        for layer in range(choices[s, FIRST], choices[s, STOP]):
            total += weight_bytes(net, layer, m.element_bytes)
        again = row_pieces(choice_of(choices[s])) > 1 and total > m.weights_bytes
        if again != urgent:
            continue
        steps = np.sort(step_of[instance_start[s] : instance_start[s + 1]])
        count = steps.shape[0]
        # Each weight is loaded once and nothing comes before: a copy would only delay it, but for later readers.
        alone = not again and count == 1 and (prefetch == 0 or first_step[s] == 0)
        runs = np.empty((count, 2), np.int64)
        whole = np.empty((1, 2), np.int64)
        whole[0, 0], whole[0, 1] = max(0, steps[0] - prefetch), steps[count - 1]
        used = 0
        for k in range(count):
            begin = max(0, steps[k] - prefetch)
            if used > 0 and begin <= runs[used - 1, 1]:
                runs[used - 1, 1] = steps[k]
            else:
                runs[used, 0], runs[used, 1] = begin, steps[k]
                used += 1
        near = _at_the_time(items, by_address, placed, whole[0, 0], whole[0, 1], nearby)
        for layer in range(choices[s, FIRST], choices[s, STOP]):
            size = weight_bytes(net, layer, m.element_bytes)
            if size == 0:
                continue
            holder = net.holder[layer]
            known = resident[holder] if holder >= 0 else -1
            if known >= 0 and since[holder] <= steps[0] and steps[count - 1] <= until[holder]:
                staged[layer] = 1
                staged_address[layer] = staged_address[known]
                staged_by[layer] = known
                continue
            windows = whole
            address = -1
            if holder >= 0 and last_user[holder] > steps[count - 1]:
                windows = whole.copy()
                windows[0, 1] = last_user[holder]
                address = _first_fit(items, by_address, placed, windows, size, m.llb_bytes)
            if alone and address < 0:
                continue
            if address < 0:
                windows = whole
                address = _first_fit(items, nearby, near, windows, size, m.llb_bytes)
            if address < 0 and (again or prefetch > 0):
                windows = runs[:used]
                address = _first_fit(items, nearby, near, windows, size, m.llb_bytes)
            if address < 0 or copies + windows.shape[0] > copy_step.shape[0]:
                break
            for w in range(windows.shape[0]):
                placed = _insert(items, by_address, placed, windows[w, 0], windows[w, 1], address, size)
                _insert_sorted(items, nearby, near, placed - 1)
                near += 1
                copy_step[copies] = windows[w, 0]
                copy_layer[copies] = layer
                copies += 1
            staged[layer] = 1
            staged_address[layer] = address
            staged_by[layer] = layer
            if holder >= 0 and windows.shape[0] == 1:
                resident[holder] = layer
                since[holder], until[holder] = windows[0, 0], windows[0, 1]
    return placed, copies
