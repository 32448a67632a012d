"""The bound: what no schedule of a network on a machine can beat. Computed, not searched.

Latency: the largest of three times of one cluster. Matrix engine: a cycle of a core covers at most the unrolled
pixels (of all images) times the unrolled output channels (of a systolic array: those that its folds hold), so a layer
needs at least so many core-cycles that every pixel meets every channel; all layers' core-cycles are divided over the
cores, without fill. Vector engine: every output element passes through it once. DRAM: each input and weight is read
once (also a weight that several layers share) and each output written once, at the rates that the link sustains, one
after the other where both directions share it. Rows that no output depends on are left out.

Off-core bytes: those compulsory DRAM bytes. Energy: multiply-accumulates and those bytes. Energy-delay: the product
of the two bounds. What is left out (launches, fill, L1 traffic, the last-level buffer) only adds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graph.network import AxisMap, Layer, Network
from graph.primitives import Contraction, Embedding, MatMul
from hwmodel.machines.machine import Machine
from hwmodel.timing.costs import dram_cycles, vector_passes
from scheduling.lowering.tables import Ints
from scheduling.objective import Objective


@dataclass(frozen=True, slots=True)
class Bound:
    """Least costs of one cluster for its batch, and the parts that they come from."""

    matrix_cycles: int
    vector_cycles: int
    dram_cycles: int
    dram_read_bytes: int
    dram_write_bytes: int
    macs: int
    energy_pj: float

    @property
    def cycles(self) -> int:
        """Least latency."""
        return max(self.matrix_cycles, self.vector_cycles, self.dram_cycles)

    @property
    def off_core_bytes(self) -> int:
        """Least bytes to and from the cores."""
        return self.dram_read_bytes + self.dram_write_bytes

    @property
    def limit(self) -> str:
        """What the latency bound is the time of: `matrix`, `vector` or `dram`."""
        parts = {"matrix": self.matrix_cycles, "vector": self.vector_cycles, "dram": self.dram_cycles}
        return max(parts, key=lambda name: parts[name])

    def of(self, objective: Objective) -> float:
        """Least cost by an objective."""
        if objective is Objective.LATENCY:
            return float(self.cycles)
        if objective is Objective.OFF_CORE:
            return float(self.off_core_bytes)
        if objective is Objective.ENERGY:
            return self.energy_pj
        return self.energy_pj * self.cycles


def bound(network: Network, machine: Machine) -> Bound:
    """The bound of a network on one cluster of a machine, for the network's batch."""
    rows = _needed_rows(network)
    matrix, vector, macs, weights = 0, 0, 0, 0
    holders: set[int] = set()  # of the weights counted so far
    unrolling = machine.matrix.spatial
    for number, layer in enumerate(network.layers):
        output = network.tensors[layer.output]
        pixels = network.batch * rows[layer.output] * output.columns
        if pixels:
            vector += pixels * output.channels * vector_passes(machine, layer.anchor, layer.steps)
            matrix += _matrix_work(network, machine, layer, rows[layer.output])
            macs += pixels * _macs_per_pixel(layer)
            if isinstance(layer.anchor, Embedding):
                weights += min(pixels, layer.anchor.entries) * output.channels
            holder = number if layer.shares is None else layer.shares
            if holder not in holders:
                weights += _weight_count(layer) + len(layer.parameters) * output.channels
            holders.add(holder)
    at_once = machine.cores * unrolling.out_pixels * unrolling.out_rows * unrolling.out_channels
    weights += sum(_elements(network, constant, rows) for constant in network.constants)
    read = weights * machine.element_bytes + _bytes(network, machine, network.inputs, rows)
    written = _bytes(network, machine, tuple(set(network.outputs) - set(network.inputs)), rows)
    table = machine.table()
    reading, writing = dram_cycles(table, read, 0), dram_cycles(table, written, 1)
    energy = (
        macs * machine.energy.mac_pj
        + read * machine.energy.dram_read_pj_per_byte
        + written * machine.energy.dram_write_pj_per_byte
    )
    return Bound(
        matrix_cycles=-(-matrix // at_once),
        vector_cycles=-(-vector // (machine.cores * machine.vector.lanes)),
        dram_cycles=reading + writing if table.dram_shared else max(reading, writing),
        dram_read_bytes=read,
        dram_write_bytes=written,
        macs=macs,
        energy_pj=float(energy),
    )


latency_bound = bound
"""The name under which the public API exports it."""


def _needed_rows(network: Network) -> list[int]:
    """Of each tensor, how many rows the outputs depend on."""
    needed = [np.zeros(tensor.rows, np.bool_) for tensor in network.tensors]
    for tensor in network.outputs:
        needed[tensor][:] = True
    for layer in reversed(network.layers):
        wanted = np.flatnonzero(needed[layer.output])
        for tensor, region in zip(layer.inputs, layer.maps, strict=True):
            needed[tensor] |= _read_rows(region.rows, wanted, network.tensors[tensor].rows)
    return [int(rows.sum()) for rows in needed]


def _read_rows(axis: AxisMap, wanted: Ints, size: int) -> NDArray[np.bool_]:
    """(size,) which rows of an input the wanted rows of the output read."""
    if axis.whole and len(wanted):
        return np.ones(size, np.bool_)
    first = wanted // axis.divisor * axis.stride + axis.offset
    edges = np.zeros(size + 1, np.int64)
    np.add.at(edges, np.clip(first, 0, size), 1)
    np.add.at(edges, np.clip(first + axis.extent, 0, size), -1)
    return np.asarray(np.cumsum(edges[:size]) > 0)


def _weight_count(layer: Layer) -> int:
    anchor = layer.anchor
    if not isinstance(anchor, Contraction):
        return 0
    return anchor.out_channels * (anchor.in_channels // anchor.groups) * anchor.taps


def _macs_per_pixel(layer: Layer) -> int:
    if isinstance(layer.anchor, MatMul):
        return layer.anchor.out_channels * layer.anchor.reduction
    return _weight_count(layer)


def _matrix_work(network: Network, machine: Machine, layer: Layer, rows: int) -> int:
    """Core-cycles of a contraction, times out_pixels x out_rows x out_channels of the engine. A product of two
    activations has another operand for every image, so images cannot share an issue."""
    anchor = layer.anchor
    images = network.batch
    if isinstance(anchor, Contraction):
        inputs, times = anchor.in_channels // anchor.groups, 1
    elif isinstance(anchor, MatMul):
        inputs, images, times = anchor.reduction, 1, network.batch
    else:
        return 0
    by = machine.matrix.spatial
    columns = network.tensors[layer.output].columns
    spans = -(-columns // by.out_columns)
    if by.out_pixels > 1:
        high, pixels = by.out_pixels, images * rows * columns
        full_pixels = -(-pixels // high) * high
    else:
        high, pixels = by.out_rows, images * rows * spans
        full_pixels = images * spans * -(-rows // high) * high
    channels = anchor.out_channels // anchor.groups
    full_channels = -(-channels // by.out_channels) * by.out_channels
    taps = anchor.taps if isinstance(anchor, Contraction) else 1
    reduction = machine.matrix.reduction_steps(inputs, taps)
    return times * anchor.groups * reduction * max(pixels * full_channels, channels * full_pixels)


def _bytes(network: Network, machine: Machine, tensors: tuple[int, ...], rows: list[int]) -> int:
    """Bytes of the needed rows of some tensors, whole batch."""
    per_image = sum(_elements(network, t, rows) for t in tensors)
    return per_image * network.batch * machine.element_bytes


def _elements(network: Network, tensor: int, rows: list[int]) -> int:
    """Elements of one image in the needed rows."""
    shape = network.tensors[tensor]
    return shape.channels * rows[tensor] * shape.columns
