"""Local tensors of a sub-graph: what its instances have in L1.

First its entries (tensors made elsewhere), in order of first use, then the output of each of its layers. Where layers
have bindings of their own (`Choice.own_1`), what a layer reads that one of another binding makes is an entry too: a
*copy*, which the cores fill among themselves (`scheduling.lowering.redistribution`). A tensor is there once for each
binding that reads it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled
from scheduling.choice import Choice, layer_ways, same_binding
from scheduling.lowering.tables import Ints, NetworkTable


class Locals(NamedTuple):
    """N local tensors: what does not depend on the instance."""

    entries: int
    tensor: Ints  # (N,) index of the tensor in the network
    edge_local: Ints  # (edges of the sub-graph,) local tensor of each input, in layer order
    leaves: Ints  # (N,) 1 where a later layer or the user reads the tensor
    full: Ints  # (N,) 1 where every core of a channel group holds all channels
    gathered: Ints  # (N,) 1 where these get the channels of a layer's output from each other
    batch_ways: Ints  # (N,) how the layers that make or, of entries, read it are bound
    row_ways: Ints  # (N,)
    channel_ways: Ints  # (N,)
    copied_from: Ints  # (N,) local tensor of which this is a copy, else -1
    next_copy: Ints  # (N,) the first copy of this one or, of a copy, the next one of the same tensor; else -1


@compiled
def local_tensors(net: NetworkTable, choice: Choice) -> Locals:
    """Entries in order of first use, then the outputs of the layers."""
    first, stop = choice.first, choice.stop
    count = stop - first
    edge0 = net.edge_start[first]
    edges = net.edge_start[stop] - edge0
    edge_local = np.empty(edges, np.int64)
    entry_tensors = np.empty(edges, np.int64)
    entry_readers = np.empty(edges, np.int64)  # the first layer that reads it
    entries = 0
    for layer in range(first, stop):
        for e in range(net.edge_start[layer] - edge0, net.edge_start[layer + 1] - edge0):
            tensor = net.edge_tensor[edge0 + e]
            made_by = net.producer[tensor]
            if first <= made_by < stop and same_binding(choice, made_by, layer):
                edge_local[e] = -1 - (made_by - first)
                continue
            found = -1
            for k in range(entries):
                if entry_tensors[k] == tensor and same_binding(choice, entry_readers[k], layer):
                    found = k
            if found < 0:
                found = entries
                entry_tensors[entries] = tensor
                entry_readers[entries] = layer
                entries += 1
            edge_local[e] = found
    for e in range(edges):
        if edge_local[e] < 0:
            edge_local[e] = entries - 1 - edge_local[e]
    n = entries + count
    tensor_of = np.empty(n, np.int64)
    tensor_of[:entries] = entry_tensors[:entries]
    flags = np.zeros((8, n), np.int64)
    leaves, full, batch_ways, row_ways, channel_ways = flags[0], flags[1], flags[2], flags[3], flags[4]
    copied_from, next_copy, gathered = flags[5], flags[6], flags[7]
    copied_from[:] = -1
    next_copy[:] = -1
    for t in range(entries - 1, -1, -1):
        batch_ways[t], row_ways[t], channel_ways[t] = layer_ways(choice, entry_readers[t])
        made_by = net.producer[entry_tensors[t]]
        if first <= made_by < stop:
            source = entries + made_by - first
            copied_from[t] = source
            next_copy[t] = next_copy[source]
            next_copy[source] = t
    for j in range(count):
        t = entries + j
        tensor_of[t] = net.input_count + first + j
        batch_ways[t], row_ways[t], channel_ways[t] = layer_ways(choice, first + j)
        leaves[t] = 1 if net.last_use[tensor_of[t]] >= stop else 0
        for e in range(net.edge_start[first + j], net.edge_start[first + j + 1]):
            if net.edge_all_channels[e]:
                full[edge_local[e - edge0]] = 1
    for t in range(n):
        if channel_ways[t] == 1:
            full[t] = 1
        elif t >= entries:
            gathered[t] = full[t]
    return Locals(
        entries, tensor_of, edge_local, leaves, full, gathered, batch_ways, row_ways, channel_ways, copied_from,
        next_copy,
    )  # fmt: skip
