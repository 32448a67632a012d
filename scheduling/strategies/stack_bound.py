"""What no way to run a stack of layers gets below: cycles, energy and bytes from shapes alone, nothing lowered.

An instance by itself begins with its launch; then its engines work side by side. So all instances together take at
least their launches and the larger of the matrix engine's and the vector engine's work, or their launches and what the
DMA loads, exchanges and stores, or that and the weights. Where nothing is cut into pieces a layer begins when those
before it have ended, so there the longest path counts as well. Rows and columns are what tiles need of each tensor,
with what neighbours make again (`scheduling.strategies.stack_extents`); a tile is rows times columns, so the sum over
all tiles is a product of two sums.

Left out is what only adds: fill, rounding of pieces and chunks, bursts, weights that a tile loads twice, where cached
overlaps go, inner memories.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodel.machines.machine_table import UNROLLED
from hwmodel.timing.costs import dram_rate, transfer_startup
from hwmodel.timing.counts import Counts
from hwmodel.timing.energy import energy_parts_pj
from scheduling.choice import RECOMPUTE, Choice
from scheduling.evaluator import Evaluator
from scheduling.lowering.tables import CONVOLVES, EMBEDS, Ints
from scheduling.lowering.tiling import ACCUMULATOR_BYTES
from scheduling.strategies.stack_extents import StackExtents

Floats = NDArray[np.float64]

CERTAIN = 1 - 1e-9
"""Sums of floats are multiplied by this, so that rounding never lifts a bound."""


class StackBound:
    """Bounds of the ways to run layers [first, stop). Local tensors (N) are the entries, then what the layers make."""

    def __init__(self, evaluator: Evaluator, in_llb: Ints, extents: StackExtents) -> None:
        """`in_llb` (T,) is 1 for the tensors that an instance finds or leaves in the last-level buffer."""
        self._evaluator, self._extents = evaluator, extents
        net, m = evaluator.table, evaluator.machine_table
        tensor = extents.tensor
        self._entries, self._layers = extents.entries, slice(extents.first, extents.stop)
        layers = self._layers
        self._pixel_bytes = net.tensor_channels[tensor] * float(m.element_bytes)
        self._sizes = (
            net.tensor_rows[tensor] * net.tensor_columns[tensor] * self._pixel_bytes * extents.leaves
        )
        self._constant = net.tensor_constant[tensor] == 1
        self._in_llb = in_llb[tensor] == 1
        self._gathered = np.zeros(len(tensor), np.bool_)  # read across channels
        for edges in extents.edges:
            for e, t in edges:
                if net.edge_all_channels[e]:
                    self._gathered[t] = True
        self._is_matrix = net.is_matrix[layers] == 1
        self._computed = net.kind[layers] != EMBEDS  # by an engine
        self._channels = net.tensor_channels[tensor[self._entries :]]
        holders = net.holder[layers].tolist()
        self._own = np.array([h < 0 or h not in holders[:k] for k, h in enumerate(holders)])  # weights

    def costs(self, choices: Sequence[Choice], energy: bool) -> Floats:
        """(C, 3) least cycles, energy (0 unless `energy`) and off-core bytes of each choice, whatever its order rule
        and wherever it caches overlaps."""
        net, m, entries = self._evaluator.table, self._evaluator.machine_table, self._entries
        split_batch, rows, columns, ways_batch, ways_rows, ways_channels, pieces, halo, keep_weights = (
            _fields(choices)
        )
        streamed, cross = self._extents.of(choices)
        everywhere, cached = self._extents.everywhere, halo != RECOMPUTE
        slices = rows * columns
        images = net.batch // split_batch
        most_images = np.ceil(images / ways_batch)[:, None]
        ways, each = ways_channels[:, None], slices[:, None]
        share = np.ceil(self._channels / ways)
        most = streamed.most * cross.most
        made = most[:, entries:] * most_images
        groups = np.maximum(1, net.groups[self._layers] // ways)
        # Cycles of the engines, (C, layers).
        matrix = self._matrix_steps(share, groups) * (streamed.steps * cross.steps)[:, entries:] * most_images
        vector = made * share * (net.passes[self._layers] * self._computed / m.lanes)
        # Cycles of the DMA, (C, entries) or (C, layers).
        transfers = np.where(cached, 0, slices)[:, None] * everywhere
        startup = transfers * np.where(self._in_llb, transfer_startup(m, 1), transfer_startup(m, 0))
        pixels = streamed.distinct * cross.total * np.where(self._constant, 1, images[:, None])
        loaded = (pixels * self._pixel_bytes)[:, :entries]
        stored = images[:, None] * self._sizes[entries:]
        held = most * self._pixel_bytes * np.where(self._constant, 1, most_images)
        held /= np.where(self._gathered, 1, ways)
        read_rate = np.where(self._in_llb, m.llb_read, dram_rate(m, 0))[:entries]
        loads = startup[:, :entries] + np.maximum(loaded / read_rate, held[:, :entries] / m.dma_bytes)
        cores = (ways_batch * ways_rows * ways_channels)[:, None]
        write_rate = np.where(self._in_llb, m.llb_write, dram_rate(m, 1))[entries:]
        stores = stored / np.minimum(write_rate, cores * m.dma_bytes)
        stores += startup[:, entries:] * self._extents.leaves[entries:]
        others = np.maximum(self._channels - self._channels // ways, share) * self._gathered[entries:]
        exchanges = made * others * (ways > 1) * (m.element_bytes / m.exchange) if m.exchange else 0 * made
        moved = loads.sum(1) + stores.sum(1) + exchanges.sum(1)
        times = np.where(cached | (keep_weights == 1), 1, slices) * everywhere
        weights = times * float(self._evaluator.weight_bytes[self._layers][self._own].sum())
        fetched = weights / np.minimum(dram_rate(m, 0), ways_channels * m.dma_bytes)
        fetched += times * transfer_startup(m, 0) * self._weight_loads(groups)
        launches = m.launch * slices
        cycles = launches + np.maximum(np.maximum(matrix.sum(1), vector.sum(1)), moved)
        cycles = np.maximum(cycles, moved + fetched)
        if everywhere:
            matrix += m.matrix_drain * each * self._is_matrix
            path = launches + self._longest(loads, matrix, vector, exchanges, stores)
            cycles = np.where((pieces == 1) & ~cached, np.maximum(cycles, path), cycles)
        spent = np.zeros(len(choices))
        if energy:
            spent = self._energy(streamed.total * cross.total * images[:, None], loaded, stored, weights)
        off_core = loaded.sum(1) + stored.sum(1) + weights
        return np.asarray(CERTAIN * split_batch[:, None] * np.stack((cycles, spent, off_core), axis=1))

    def _matrix_steps(self, share: Floats, groups: Floats) -> Floats:
        """(C, layers) cycles of the matrix engine for each row step and column step of an image."""
        net, m = self._evaluator.table, self._evaluator.machine_table
        if m.streamed != UNROLLED and m.fold_fill + m.fold_least == 0:
            return np.zeros_like(share)  # an array of one element needs a cycle less than it has steps
        reduction, taps = net.reduction[self._layers], net.taps[self._layers]
        if m.im2col:
            reduction, taps = reduction * taps, np.ones_like(taps)
        outputs = np.ceil((share // groups) / m.f_out_channels)
        inputs = -(-reduction // m.f_in_channels) * taps
        return np.asarray(groups * outputs * (inputs * self._is_matrix / m.f_pixels))

    def _weight_loads(self, groups: Floats) -> Floats:
        """(C,) least transfers of weights for an instance: of each layer its parameters, and each group's weights."""
        net, layers = self._evaluator.table, self._layers
        loads = (net.parameters[layers] > 0) + groups * (net.kind[layers] == CONVOLVES)
        return np.asarray(loads @ self._own)

    def _longest(
        self, loads: Floats, matrix: Floats, vector: Floats, exchanges: Floats, stores: Floats
    ) -> Floats:
        """(C,) the longest path of layers one after the other, from a load to a store. What a layer's anchor reads is
        there before its matrix engine begins, what its steps read before its vector engine does."""
        operands = (self._evaluator.table.anchor_inputs[self._layers] * self._is_matrix).tolist()
        there = list(loads.T)
        longest = np.zeros(len(loads))
        both = np.maximum(matrix, vector)
        for j, edges in enumerate(self._extents.edges):
            end = both[:, j]
            for k, (_, t) in enumerate(edges):
                end = np.maximum(end, there[t] + (both if k < operands[j] else vector)[:, j])
            longest = np.maximum(longest, end + stores[:, j])
            there.append(end + exchanges[:, j])
        return longest

    def _energy(self, pixels: Floats, loaded: Floats, stored: Floats, weights: Floats) -> Floats:
        """(C,) picojoules of what surely happens; `pixels` (C, N) of all images and cores."""
        net, machine, layers = self._evaluator.table, self._evaluator.machine, self._layers
        made = pixels[:, self._entries :] * self._channels
        sums = ACCUMULATOR_BYTES * (made @ self._is_matrix)
        from_llb, to_llb = self._in_llb[: self._entries], self._in_llb[self._entries :]
        moved: dict[str, Any] = {
            "dram_read_bytes": loaded @ ~from_llb + weights,
            "dram_write_bytes": stored @ ~to_llb,
            "llb_read_bytes": loaded @ from_llb,
            "llb_write_bytes": stored @ to_llb,
            "macs": made @ (self._is_matrix * net.reduction[layers] * net.taps[layers]),
            "vector_operations": made @ (self._computed * net.operations[layers]),
            "accumulator_read_bytes": sums,
            "accumulator_write_bytes": sums,
        }
        if machine.levels is None:  # else inner memories take some of it
            moved["l1_read_bytes"] = stored.sum(1)
            moved["l1_write_bytes"] = loaded.sum(1) + made @ self._computed * machine.element_bytes
            moved["weights_write_bytes"] = weights
        return np.asarray(sum(energy_parts_pj(Counts(**moved), machine).values()))


FIELDS = [
    Choice._fields.index(name)
    for name in (
        "split_batch",
        "split_rows",
        "split_columns",
        "ways_batch",
        "ways_rows",
        "ways_channels",
        "pieces",
        "halo",
        "keep_weights",
    )
]


def _fields(choices: Sequence[Choice]) -> Floats:
    """(fields, C) what bounds depend on."""
    return np.array(choices, np.float64)[:, FIELDS].T
