"""What an order of layers is worth, without simulation: the least additive cost of cutting it into runs.

Dynamic programming as in `dp`, with a cheaper and coarser cost of a run, so that thousands of orders a second can be
compared: the busiest of matrix engine, vector engine, weight loads and border transfers, a quarter of the lesser
engine (what does not overlap), launches, and DRAM time for what crosses a cut and does not fit the last-level
buffer. A run of several layers must fit the L1 of all cores with whole tensors; that decides its split.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled
from hwmodel.timing.costs import dram_rate
from scheduling.candidates.estimate import Estimate
from scheduling.candidates.space import PIECES, survey
from scheduling.chains.segments import Floats
from scheduling.choice import CHOICE_FIELDS
from scheduling.lowering.tables import NEVER, Ints
from scheduling.problem import Problem

MOST_AHEAD = 64
"""Longest run that is considered."""

USABLE = 0.6
"""Share of L1 that whole tensors may fill; the rest is for rows that cores share, and for what lies between."""

SERIAL = 0.25
"""Share of the lesser engine's time that the busier one does not hide."""

SPLIT = 2
MATRIX, VECTOR = (CHOICE_FIELDS + Estimate._fields.index(name) for name in ("matrix", "vector"))


class OrderTable(NamedTuple):
    """Figures that no order changes; layers and tensors as in the file. L layers, T tensors, S splits."""

    edge_start: Ints  # (L + 1,)
    edge_tensor: Ints  # (E,)
    sources: int  # tensors before the first layer's
    tensor_bytes: Floats  # (T,) whole batch; constants 0
    is_output: Ints  # (T,)
    matrix: Floats  # (S, L) cycles of the whole batch
    vector: Floats  # (S, L)
    weights: Floats  # (L,) cycles of the DRAM link
    splits: Floats  # (S,)
    launch: float
    l1_bytes: float  # usable, of all cores
    llb_bytes: float
    border_rate: float  # bytes a cycle between kernels
    dram_rate: float


def order_table(problem: Problem) -> OrderTable:
    """Figures of a problem's layers, each as the best estimate of a run of its own."""
    evaluator, space = problem.evaluator, problem.space
    table, machine = evaluator.table, evaluator.machine_table
    layers, splits = space.layers, space.splits
    matrix, vector = np.empty((len(splits), layers)), np.empty((len(splits), layers))
    for layer in range(layers):
        rows = survey(table, machine, layer, np.array([layer + 1], np.int64), splits, PIECES)
        if not len(rows):
            rows = space.all(layer)
            rows = rows[rows[:, 1] == layer + 1]
        for s, split in enumerate(splits.tolist()):
            # Where the split itself was not surveyed, the next finer one, or else the finest there is.
            finer = rows[rows[:, SPLIT] >= split]
            own = finer[finer[:, SPLIT] == finer[:, SPLIT].min()] if len(finer) else rows
            best = own[np.argmin(np.maximum(own[:, MATRIX], own[:, VECTOR]))]
            matrix[s, layer], vector[s, layer] = best[MATRIX], best[VECTOR]
    size = table.tensor_channels * table.tensor_rows * table.tensor_columns * (1 - table.tensor_constant)
    has_llb = machine.llb_bytes > 0
    return OrderTable(
        table.edge_start,
        table.edge_tensor,
        table.input_count,
        (size * table.batch * machine.element_bytes).astype(np.float64),
        (table.last_use == NEVER).astype(np.int64),
        matrix,
        vector,
        evaluator.weight_bytes / dram_rate(machine, 0),
        splits.astype(np.float64),
        float(machine.launch),
        USABLE * machine.l1_bytes * machine.cores,
        float(machine.llb_bytes),
        float(machine.llb_read) if has_llb else dram_rate(machine, 0),
        dram_rate(machine, 0),
    )


@compiled
def order_cost(figures: OrderTable, order: Ints) -> float:
    """Least additive cycles over all cuts of an order (L,) into runs."""
    start, edge, sources = figures.edge_start, figures.edge_tensor, figures.sources
    size, splits = figures.tensor_bytes, figures.splits
    layers, tensors = order.shape[0], size.shape[0]
    last = np.full(tensors, -1, np.int64)  # position that reads it last
    crossing = np.zeros(layers + 1)
    for p in range(layers):
        for e in range(start[order[p]], start[order[p] + 1]):
            last[edge[e]] = p
    for p in range(layers):
        t = sources + order[p]
        if figures.is_output[t]:
            last[t] = layers
        else:
            for cut in range(p + 1, last[t] + 1):
                crossing[cut] += size[t]
    least = np.full(layers + 1, np.inf)
    least[0] = 0.0
    live = np.empty(layers)
    seen = np.full(tensors, -1, np.int64)
    used = np.empty(tensors, np.int64)
    ended = np.full(tensors, -1, np.int64)
    matrix, vector = np.empty(splits.shape[0]), np.empty(splits.shape[0])
    for i in range(layers):
        matrix[:], vector[:] = 0.0, 0.0
        peak, entered, left, weights = 0.0, 0.0, 0.0, 0.0
        for j in range(i, min(layers, i + MOST_AHEAD)):
            layer = order[j]
            out = sources + layer
            live[j] = size[out]
            seen[out], used[out] = i, j
            if last[out] > j:
                left += size[out]
            for e in range(start[layer], start[layer + 1]):
                t = edge[e]
                if seen[t] != i:
                    seen[t], used[t] = i, j
                    live[j] += size[t]
                    entered += size[t]
                    ended[t] = i  # it is no result of the run
                for p in range(used[t] + 1, j + 1):
                    live[p] += size[t]
                    peak = max(peak, live[p])
                used[t] = j
                if last[t] == j and ended[t] != i:
                    ended[t] = i
                    left -= size[t]
            peak = max(peak, live[j])
            weights += figures.weights[layer]
            fits = False
            for s in range(splits.shape[0]):
                matrix[s] += figures.matrix[s, layer]
                vector[s] += figures.vector[s, layer]
                if j > i and peak > figures.l1_bytes * splits[s]:
                    continue
                fits = True
                cost = max(matrix[s], vector[s]) + SERIAL * min(matrix[s], vector[s])
                cost = max(max(cost, weights), (entered + left) / figures.border_rate)
                beyond = crossing[j + 1] / splits[s] - figures.llb_bytes
                if beyond > 0.0 and figures.llb_bytes > 0.0:
                    cost += 2.0 * beyond * splits[s] / figures.dram_rate
                least[j + 1] = min(least[j + 1], least[i] + cost + figures.launch * splits[s])
            if not fits:
                break
    return float(least[layers])
