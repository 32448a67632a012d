"""How many rows and columns of each tensor of a stack its tiles need, summed over all tiles.

Like `scheduling.lowering.geometry`, backwards through the region maps from even parts of what leaves the stack, but for
the parts of all ways to cut an axis at a time. What neighbouring tiles both need is counted for each, unless it is
cached: then the parts are a partition, and their sum is what the whole needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduling.choice import COLUMNS, RECOMPUTE, Choice
from scheduling.evaluator import Evaluator
from scheduling.lowering.tables import Ints, NetworkTable

Cut = tuple[bool, int, int, int]
"""Columns or rows, slices, ways of the cores in each slice, and the engine's unrolling."""


class Extents(NamedTuple):
    """Rows, or columns, of each local tensor (..., N), summed over the slices of an axis."""

    most: Ints  # of the core that has most in a slice
    steps: Ints  # the same in steps of the engine's unrolling
    total: Ints  # of all cores
    distinct: Ints  # of all cores, those that several have counted once


class Axis(NamedTuple):
    """Rows, or columns, of a network: sizes (T,) of the tensors, and of each edge (E,) its region map and whether each
    row of the output reads a row of the input."""

    sizes: list[int]
    maps: list[tuple[int, int, int, int, int]]  # stride, offset, extent, divisor, whole
    reaches: NDArray[np.bool_]


def axes(net: NetworkTable) -> tuple[Axis, Axis]:
    """Rows and columns of a network."""
    rows = (net.edge_stride, net.edge_offset, net.edge_extent, net.edge_divisor, net.edge_whole)
    columns = (net.column_stride, net.column_offset, net.column_extent, net.column_divisor, net.column_whole)
    return _axis(net, net.tensor_rows, rows), _axis(net, net.tensor_columns, columns)


def _axis(net: NetworkTable, sizes: Ints, maps: tuple[Ints, ...]) -> Axis:
    stride, offset, extent, divisor, whole = maps
    made = net.input_count + np.repeat(np.arange(len(net.kind)), np.diff(net.edge_start))
    ends = np.stack((np.zeros_like(stride), (sizes[made] - 1) // divisor * stride)) + offset
    inside = (ends.max(0) < sizes[net.edge_tensor]) & (ends.min(0) + extent > 0)
    listed = zip(*(values.tolist() for values in maps), strict=True)
    return Axis(sizes.tolist(), list(listed), (whole == 1) | inside)


class StackExtents:
    """Extents of layers [first, stop). Local tensors (N): the entries, then what the layers make.

    `tensor` (N,) are their indices in the network, `leaves` (N,) tells which leave the stack, `edges` are (edge, local
    tensor) of the inputs of each layer.
    """

    def __init__(self, evaluator: Evaluator, both: tuple[Axis, Axis], first: int, stop: int) -> None:
        self.first, self.stop = first, stop
        net, self._machine, self._axes = evaluator.table, evaluator.machine_table, both
        entries, exits = evaluator.templates.borders(first, stop)
        self.entries = len(entries)
        self.tensor = np.concatenate((entries, net.input_count + np.arange(first, stop)))
        self.leaves = np.isin(self.tensor, exits)
        place = {t: local for local, t in enumerate(self.tensor.tolist())}
        bounds = net.edge_start[first : stop + 1].tolist()
        reads = net.edge_tensor[bounds[0] : bounds[-1]].tolist()
        self.edges = [
            [(e, place[reads[e - bounds[0]]]) for e in range(low, high)] for low, high in pairwise(bounds)
        ]
        inputs = slice(bounds[0], bounds[-1])
        self._reaches = all(bool(axis.reaches[inputs].all()) for axis in both)
        self.everywhere = False
        """Whether every tile has a part of every tensor, as far as is known: all of them lead to what leaves, and each
        row and column of an output reads one of each input. Of what `of` was last asked for."""

    def of(self, choices: Sequence[Choice]) -> tuple[Extents, Extents]:
        """(C, N) extents of each choice along the axis that it streams, and along the cross axis."""
        m = self._machine
        step, cross_step = (1, 1) if m.f_pixels > 1 else (m.f_rows, m.f_columns)
        pairs: list[tuple[Cut, Cut]] = []
        for choice in choices:
            turned, cuts = choice.axis == COLUMNS, (choice.split_rows, choice.split_columns)
            across = 1 if choice.halo != RECOMPUTE else cuts[not turned]
            pairs.append(
                ((turned, cuts[turned], choice.ways_rows, step), (not turned, across, 1, cross_step))
            )
        whole = (False, 1, 1, 1), (True, 1, 1, 1)
        wanted = dict.fromkeys(cut for pair in (whole, *pairs) for cut in pair)
        known: dict[Cut, Extents] = {}
        for by_columns in (False, True):
            known |= self._along(by_columns, [cut for cut in wanted if cut[0] == by_columns])
        self.everywhere = self._reaches and all(bool((known[cut].most > 0).all()) for cut in whole)
        streamed, cross = zip(*pairs, strict=True)
        return _stacked(known[cut] for cut in streamed), _stacked(known[cut] for cut in cross)

    def _along(self, by_columns: bool, cuts: Sequence[Cut]) -> dict[Cut, Extents]:
        parts = sorted({slices * ways for _, slices, ways, _ in cuts})
        starts, stops = self._ranges(by_columns, parts)
        place = dict(zip(parts, np.cumsum([0, *parts]).tolist(), strict=False))
        found = {}
        for cut in cuts:
            _, slices, ways, step = cut
            low = place[slices * ways]
            start, stop = (side[:, low : low + slices * ways] for side in (starts, stops))
            length = stop - start
            total = most = length
            distinct = total = length.sum(1)
            if ways > 1:
                most = length.reshape(-1, slices, ways).max(2)
                distinct = _union(start.reshape(-1, slices, ways), stop.reshape(-1, slices, ways))
            steps = -(-most // step) if step > 1 else most
            found[cut] = Extents(most.sum(1), steps.sum(1), total, distinct)
        return found

    def _ranges(self, by_columns: bool, parts: Sequence[int]) -> tuple[Ints, Ints]:
        """(N, sum of parts) first row, or column, of each tensor that each of so many even parts of what leaves needs,
        and the one after the last; 0 and 0 where it needs none."""
        axis = self._axes[by_columns]
        sizes = [axis.sizes[t] for t in self.tensor.tolist()]
        part = np.concatenate([np.arange(count) for count in parts])
        count = np.repeat(parts, parts)
        start = np.repeat(np.array(sizes)[:, None], len(part), axis=1)
        stop = np.zeros_like(start)
        for t in np.flatnonzero(self.leaves).tolist():
            start[t], stop[t] = sizes[t] * part // count, sizes[t] * (part + 1) // count
        for j in range(len(self.edges) - 1, -1, -1):
            begin, end = start[self.entries + j], stop[self.entries + j]
            made = end > begin
            for e, t in self.edges[j]:
                stride, offset, extent, divisor, whole = axis.maps[e]
                if whole:
                    low, high = np.zeros_like(begin), np.full_like(end, sizes[t])
                elif (stride, offset, extent, divisor) == (1, 0, 1, 1):
                    low, high = begin, np.minimum(end, sizes[t])
                else:
                    first, last = (
                        (begin, end - 1) if divisor == 1 else (begin // divisor, (end - 1) // divisor)
                    )
                    low = np.maximum(first * stride + offset, 0)
                    high = np.minimum(last * stride + (offset + extent), sizes[t])
                reads = made & (high > low)
                np.minimum(start[t], low, out=start[t], where=reads)
                np.maximum(stop[t], high, out=stop[t], where=reads)
        unused = stop <= start
        start[unused] = stop[unused] = 0
        return start, stop


def _union(start: Ints, stop: Ints) -> Ints:
    """(N,) how many rows are in any of the ranges (N, slices, ways) of each slice, which begin one after the other."""
    before = np.maximum.accumulate(stop, axis=2)[:, :, :-1]
    later = np.maximum(0, stop[:, :, 1:] - np.maximum(start[:, :, 1:], before))
    return np.asarray((stop - start)[:, :, 0].sum(1) + later.sum((1, 2)))


def _stacked(extents: Iterable[Extents]) -> Extents:
    return Extents(*(np.stack(part) for part in zip(*extents, strict=True)))
