"""Geometry of an instance: which rows and columns of which tensor its cores have, and in which piece they make them.

Rows are the axis that is streamed; an instance has its part of the columns, the cross axis, whole (an instance that
streams along columns is described with both swapped, `scheduling.lowering.frames`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled
from scheduling.choice import Choice, most_row_ways, row_pieces
from scheduling.lowering.column_ranges import column_ranges
from scheduling.lowering.local_tensors import local_tensors
from scheduling.lowering.row_ranges import row_ranges
from scheduling.lowering.tables import Ints, NetworkTable


class Geometry(NamedTuple):
    """N local tensors, R row ways (the most that a layer has), P row pieces. Row ranges are absolute and half open;
    unused: start = stop = 0."""

    entries: int
    tensor: Ints  # (N,) index of the tensor in the network
    edge_local: Ints  # (edges of the sub-graph,) local tensor of each input, in layer order
    start: Ints  # (R, N) first row held
    ends: Ints  # (R, N, P) row after the last one of each piece
    # (R, N) rows stored to shared memory: of tensors that leave; of a copy, by row ways of its source, those sent; else
    # empty
    own_start: Ints
    own_stop: Ints  # (R, N)
    leaves: Ints  # (N,) 1 where a later layer or the user reads the tensor
    full: Ints  # (N,) 1 where every core of a channel group holds all channels
    gathered: Ints  # (N,) 1 where these get the channels of a layer's output from each other
    batch_ways: Ints  # (N,) how the layers that make or, of entries, read it are bound
    row_ways: Ints  # (N,)
    channel_ways: Ints  # (N,)
    copied_from: Ints  # (N,) local tensor of which this is a copy, else -1
    next_copy: Ints  # (N,) the first copy of this one or, of a copy, the next one of the same tensor; else -1
    held_start: Ints  # (N,) columns in L1
    held_stop: Ints  # (N,)
    new_start: Ints  # (N,) first column that is made or loaded; those before it come from the cache
    keep_start: Ints  # (N,) first column that the next instance needs again; held_stop where none
    own_columns_start: Ints  # (N,) columns stored to shared memory
    own_columns_stop: Ints  # (N,)
    cache_columns: (
        Ints  # (N,) columns that the cache has room for, the same in all instances of the sub-graph
    )
    cache_rows: Ints  # (N,) rows likewise


@compiled
def geometry(net: NetworkTable, choice: Choice, row_part: int, column_part: int) -> Geometry:
    """Geometry of the instances of a sub-graph with this row slice and this column slice."""
    own = local_tensors(net, choice)
    n = own.tensor.shape[0]
    pieces = row_pieces(choice)
    row_ways = most_row_ways(choice)
    rows = np.zeros((3, row_ways, n), np.int64)
    start, own_start, own_stop = rows[0], rows[1], rows[2]
    ends = np.empty((row_ways, n, pieces), np.int64)
    row_ranges(net, choice, row_part, own, start, ends, own_start, own_stop)
    columns = column_ranges(net, choice, column_part, own)
    cache_rows = np.zeros(n, np.int64)
    for t in range(n):
        if columns[6, t] > 0:
            for way in range(row_ways):
                cache_rows[t] = max(cache_rows[t], ends[way, t, pieces - 1] - start[way, t])
        if columns[1, t] <= columns[0, t]:  # what is needed of it lies in the padding: nothing
            start[:, t] = 0
            ends[:, t, :] = 0
            own_start[:, t] = 0
            own_stop[:, t] = 0
    return Geometry(
        own.entries, own.tensor, own.edge_local, start, ends, own_start, own_stop, own.leaves, own.full, own.gathered,
        own.batch_ways, own.row_ways, own.channel_ways, own.copied_from, own.next_copy,
        columns[0], columns[1], columns[2], columns[3], columns[4], columns[5], columns[6],
        cache_rows,
    )  # fmt: skip
