"""Shortest path over segments, with the last-level buffer (LLB) followed along the way.

A label is a way to reach a cut: its cost, should the border there be in the LLB or in DRAM; the split of the sub-graph
that ends there; and what of the LLB the way takes. In depth-first order a border of X bytes between splits a and b
holds X / min(a, b), and where b < a, slices of it wait while everything before runs again. As in the default rule,
what came first stays: a border is in the LLB exactly when it fits beside the earlier ones.
"""

from __future__ import annotations

import numpy as np

from hwmodel.compiled import compiled
from scheduling.chains.segments import Floats
from scheduling.lowering.tables import Ints

LABELS = 16
"""Labels kept for each cut and split of the sub-graph before it: the cheapest that no other one dominates."""

COST_LLB, COST_DRAM, PEAK, INPUT, WEIGHTS = 0, 1, 2, 3, 4
"""Columns of a label: cost by where the border is; bytes live at most while anything up to here runs; bytes of
the last sub-graph's input in the LLB; bytes of weights that stay."""


@compiled
def shortest(
    crossing: Ints,
    start: Ints,
    stop: Ints,
    split: Ints,
    split_index: Ints,
    splits: int,
    cost: Floats,
    kept: Floats,
    capacity: float,
    seen: Ints,
) -> Ints:
    """Indices of the segments of the cheapest chain from the first cut to the last, front to back.

    `crossing` (cuts,): bytes that cross each cut. Segments start[c] .. start[c + 1] begin at cut c; `stop` (A,) is the
    cut at which each ends, `cost` (A, 2, 2) its cost by where (entries, exits) are: 0 LLB, 1 DRAM. `seen` (cuts,
    splits, splits) overrides the rule where it is known (by index of the splits before and after) where the border
    goes: 0 LLB, 1 DRAM, else -1.
    """
    cuts = crossing.shape[0]
    labels = np.zeros((cuts, splits, LABELS, 5))
    count = np.zeros((cuts, splits), np.int64)
    origin = np.full((cuts, splits, LABELS, 3), -1, np.int64)  # segment, split index and label before it
    values = np.ones(splits, np.int64)
    new = np.empty(5)
    labels[0, 0, 0, COST_LLB] = np.inf
    count[0, 0] = 1
    for at in range(cuts - 1):
        for before in range(splits):
            for number in range(count[at, before]):
                label = labels[at, before, number]
                for a in range(start[at], start[at + 1]):
                    own, other = split[a], values[before]
                    border = crossing[at] / min(own, other)
                    waiting = border * (1.0 - own / other) if own < other else 0.0
                    weights = label[WEIGHTS] + kept[a]
                    free = capacity - weights
                    known = seen[at, before, split_index[a]]
                    fits = known == 0 or (
                        known < 0 and label[INPUT] + border <= free and label[PEAK] + waiting <= free
                    )
                    fits = fits and label[COST_LLB] < np.inf
                    entered = 0 if fits else 1
                    base = label[COST_LLB] if fits else label[COST_DRAM]
                    new[COST_LLB] = base + cost[a, entered, 0]
                    new[COST_DRAM] = base + cost[a, entered, 1]
                    new[INPUT] = border if fits else 0.0
                    if own > other:  # nothing before runs again until this slice of the border is used up
                        new[PEAK] = new[INPUT]
                    elif fits:
                        new[PEAK] = max(label[PEAK] + waiting, label[INPUT] + border)
                    else:
                        new[PEAK] = max(label[PEAK], label[INPUT])
                    new[WEIGHTS] = weights
                    to, index = stop[a], split_index[a]
                    values[index] = own
                    place = _insert(labels[to, index], count[to, index], new)
                    if place >= 0:
                        count[to, index] = min(LABELS, max(count[to, index], place + 1))
                        origin[to, index, place, 0] = a
                        origin[to, index, place, 1] = before
                        origin[to, index, place, 2] = number
    best, index, number = np.inf, -1, -1
    for s in range(splits):
        for k in range(count[cuts - 1, s]):
            if labels[cuts - 1, s, k, COST_DRAM] < best:
                best = labels[cuts - 1, s, k, COST_DRAM]
                index, number = s, k
    path = np.empty(cuts, np.int64)
    length = 0
    at = cuts - 1
    if index < 0:
        return path[:0]
    while at > 0:
        a, before, k = origin[at, index, number]
        path[length] = a
        length += 1
        at = np.searchsorted(start, a, side="right") - 1
        index, number = before, k
    return path[:length][::-1].copy()


@compiled
def _insert(labels: Floats, count: int, new: Floats) -> int:
    """Put a label in place of one that it dominates, of the dearest, or behind the last; -1 if it is not kept."""
    for k in range(count):
        if (
            new[COST_DRAM] >= labels[k, COST_DRAM]
            and new[COST_LLB] >= labels[k, COST_LLB]
            and new[PEAK] >= labels[k, PEAK]
            and new[INPUT] >= labels[k, INPUT]
            and new[WEIGHTS] >= labels[k, WEIGHTS]
        ):
            return -1
    dearest, replaced = -1, -1
    for k in range(count):
        if (
            new[COST_DRAM] <= labels[k, COST_DRAM]
            and new[COST_LLB] <= labels[k, COST_LLB]
            and new[PEAK] <= labels[k, PEAK]
            and new[INPUT] <= labels[k, INPUT]
            and new[WEIGHTS] <= labels[k, WEIGHTS]
        ):
            replaced = k
            break
        if dearest < 0 or labels[k, COST_DRAM] > labels[dearest, COST_DRAM]:
            dearest = k
    if replaced < 0:
        if count < LABELS:
            replaced = count
        elif new[COST_DRAM] < labels[dearest, COST_DRAM]:
            replaced = dearest
        else:
            return -1
    for column in range(5):
        labels[replaced, column] = new[column]
    return replaced
