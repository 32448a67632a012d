"""Which weights stay in the last-level buffer, where, and when they are copied there.

Layer by layer, from the kernel before their first use to their last; where that is too long, anew for each run of
instances that follow one another. Weights that layers of several sub-graphs share stay from their first use to their
last, where that fits.
"""

from __future__ import annotations

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from hwmodel.machines.machine_table import MachineTable
from scheduling.choice import choice_of, row_pieces
from scheduling.lowering.tables import CONVOLVES, Ints, NetworkTable
from scheduling.timeline.llb_places import at_the_time, first_fit, first_fit_always, insert, insert_sorted
from scheduling.timeline.slices import FIRST, STOP


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
def last_users(net: NetworkTable, home: Ints, last_step: Ints) -> Ints:
    """(L,) at the layer that shared weights are stored for: the last step that reads them; -1 at all others."""
    last = np.full(home.shape[0], -1, np.int64)
    for layer in range(home.shape[0]):
        if net.holder[layer] >= 0:
            last[net.holder[layer]] = max(last[net.holder[layer]], last_step[home[layer]])
    return last


@compiled
def place_weights(
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
    # What is in the LLB with the weights of a sub-graph, by address, of several items at one address perhaps only one:
    # while any of its instances runs or one between them; and while one of its own does.
    near, near_runs = np.empty(by_address.shape[0], np.int64), np.empty(by_address.shape[0], np.int64)
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
        count_near, count_runs = at_the_time(items, by_address, placed, whole, near), -1
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
                address = first_fit(items, by_address, placed, windows, size, m.llb_bytes)
            if alone and address < 0:
                continue
            if address < 0:
                windows = whole
                address = first_fit_always(items, near, count_near, size, m.llb_bytes)
            if address < 0 and (again or prefetch > 0):
                windows = runs[:used]
                if count_runs < 0:
                    count_runs = at_the_time(items, near, count_near, windows, near_runs)
                address = first_fit_always(items, near_runs, count_runs, size, m.llb_bytes)
            if address < 0 or copies + windows.shape[0] > copy_step.shape[0]:
                break
            for w in range(windows.shape[0]):
                placed = insert(items, by_address, placed, windows[w, 0], windows[w, 1], address, size)
                copy_step[copies] = windows[w, 0]
                copy_layer[copies] = layer
                copies += 1
            insert_sorted(items, near, count_near, placed - 1)
            count_near += 1
            if count_runs >= 0:
                insert_sorted(items, near_runs, count_runs, placed - 1)
                count_runs += 1
            staged[layer] = 1
            staged_address[layer] = address
            staged_by[layer] = layer
            if holder >= 0 and windows.shape[0] == 1:
                resident[holder] = layer
                since[holder], until[holder] = windows[0, 0], windows[0, 1]
    return placed, copies
