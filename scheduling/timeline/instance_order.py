"""Order of the instances by rule.

Depth first is a stack of ready instances, breadth first goes sub-graph by sub-graph.
"""

from __future__ import annotations

import numpy as np

from hwmodel.compiled import compiled
from scheduling.lowering.tables import Ints, NetworkTable
from scheduling.timeline.slices import FIRST, SPLIT_BATCH, STOP, slices, touching

BREADTH_FIRST, DEPTH_FIRST = 0, 1


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
