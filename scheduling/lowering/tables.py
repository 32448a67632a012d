"""A network and a machine as flat integer arrays, the form in which compiled lowering reads them.

Records are for people; compiled code wants arrays. This is the only place where one becomes the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graph.network import AxisMap, Layer, Network
from graph.primitives import (
    INDEX_BASE,
    ChannelReduce,
    Concat,
    Contraction,
    Embedding,
    MatMul,
    Move,
    Normalize,
    Rearrange,
    Softmax,
    Window,
)
from hwmodel.machines.machine import Machine
from hwmodel.timing.costs import vector_ops, vector_passes
from scheduling.errors import IllegalSchedule

Ints = NDArray[np.int64]

NEVER = 1 << 40
"""A step later than any other: graph outputs are used then."""

MOST_ENTRIES = INDEX_BASE * (INDEX_BASE + 1)
"""Of an embedding table: both numbers of an index are at most INDEX_BASE, which fp16 holds exactly."""

PLAIN, CONVOLVES, MULTIPLIES, EMBEDS, JOINS_CHANNELS, JOINS_ROWS, REARRANGES = range(7)
"""What a layer's anchor is to lowering. MULTIPLIES: both operands of the matrix engine are activations."""


class NetworkTable(NamedTuple):
    """Arrays of a network on a machine. T tensors, L layers, E edges (inputs of layers, in layer order).

    The first `input_count` tensors are made by no layer: graph inputs, then constants.
    """

    batch: int
    turned: (
        int  # 1 where rows and columns of tensors in shared memory are swapped (scheduling.lowering.frames)
    )
    input_count: int
    copy_passes: int  # vector cycles per lane-element of a plain copy
    tensor_channels: Ints  # (T,)
    # (T,) channels of a pixel in shared memory: more where an instance has a slice of them (lowering.channel_slices)
    stored_channels: Ints
    tensor_rows: Ints  # (T,)
    tensor_columns: Ints  # (T,)
    tensor_constant: Ints  # (T,) 1 where the tensor is the same for every image
    producer: Ints  # (T,) layer, or -1 for a graph input or constant
    last_use: Ints  # (T,) last layer that reads the tensor; NEVER for a graph output
    kind: Ints  # (L,) PLAIN, CONVOLVES, ...
    is_matrix: Ints  # (L,) 1 where the layer needs the matrix engine
    groups: Ints  # (L,) groups of channels that need nothing of each other
    reduction: Ints  # (L,) input channels of one group of a contraction or product, else 0
    taps: Ints  # (L,) kernel positions of a contraction
    passes: Ints  # (L,) vector cycles per output lane-element
    operations: Ints  # (L,) vector operations per output element, for energy
    parameters: Ints  # (L,) per-channel vectors
    holder: Ints  # (L,) of layers that share their weights, the one that these are stored for; -1 of others
    parameter_reads: Ints  # (L,) steps that read a per-channel vector
    anchor_inputs: Ints  # (L,) how many of the inputs the anchor itself reads
    edge_start: Ints  # (L + 1,)
    edge_tensor: Ints  # (E,)
    edge_stride: Ints  # (E,) region map of the rows
    edge_offset: Ints  # (E,)
    edge_extent: Ints  # (E,)
    edge_divisor: Ints  # (E,)
    edge_whole: Ints  # (E,) 1 where every output row needs all input rows
    edge_all_channels: Ints  # (E,) 1 where an output channel needs other channels of this input
    edge_steps: Ints  # (E,) element-wise steps that read this input
    column_stride: Ints  # (E,) region map of the columns
    column_offset: Ints  # (E,)
    column_extent: Ints  # (E,)
    column_divisor: Ints  # (E,)
    column_whole: Ints  # (E,) 1 where every output column needs all input columns


ROW_MAPS = ("edge_stride", "edge_offset", "edge_extent", "edge_divisor", "edge_whole")
COLUMN_MAPS = ("column_stride", "column_offset", "column_extent", "column_divisor", "column_whole")


def network_table(network: Network, machine: Machine, turned: bool = False) -> NetworkTable:
    """Flatten a network, `turned` or not, for a machine (the machine decides the vector cycles of a layer).

    Raises IllegalSchedule for an embedding table whose indices the machine's element type cannot hold.
    """
    layers = network.layers
    _check_tables(network)
    tensors = network.tensors
    producer = np.full(len(tensors), -1, np.int64)
    last_use = np.full(len(tensors), -1, np.int64)
    edges: list[tuple[int, ...]] = []
    starts = [0]
    for index, layer in enumerate(layers):
        producer[layer.output] = index
        for position, (tensor, region) in enumerate(zip(layer.inputs, layer.maps, strict=True)):
            last_use[tensor] = index
            shared_out = int(not reads_own_share(network, layer, position))
            steps = sum(step.tensor == position for step in layer.steps)
            edges.append((tensor, *axis_map(region.rows), shared_out, steps, *axis_map(region.columns)))
        starts.append(len(edges))
    for tensor in network.outputs:
        last_use[tensor] = NEVER
    edge = np.array(edges, np.int64).reshape(-1, 13)
    columns = [
        _layer_columns(network, index, holder, machine) for index, holder in enumerate(_holders(network))
    ]
    by_column = [np.array(values, np.int64) for values in zip(*columns, strict=True)]
    fields = (
        network.batch,
        int(turned),
        network.source_count,
        vector_passes(machine, Move(), ()),
        np.array([t.channels for t in tensors], np.int64),
        np.array([t.channels for t in tensors], np.int64),
        np.array([t.rows for t in tensors], np.int64),
        np.array([t.columns for t in tensors], np.int64),
        np.array([t in network.constants for t in range(len(tensors))], np.int64),
        producer,
        last_use,
        *by_column,
        np.array(starts, np.int64),
        *(np.ascontiguousarray(edge[:, i]) for i in range(13)),
    )
    return NetworkTable._make(fields)


def axis_map(axis: AxisMap) -> tuple[int, ...]:
    """A region map of an axis, as ROW_MAPS and COLUMN_MAPS name its numbers."""
    return axis.stride, axis.offset, axis.extent, axis.divisor, int(axis.whole)


def reads_own_share(network: Network, layer: Layer, position: int) -> bool:
    """Whether an even share of the output channels needs no more than the same share of input `position`.

    A Concat or Rearrange moves channels to other cores even where its map begins like that.
    """
    channels = layer.maps[position].channels
    if isinstance(layer.anchor, Concat | Rearrange):
        return channels == AxisMap() and isinstance(layer.anchor, Concat) and layer.anchor.axis == "rows"
    groups = channel_groups(network, layer)
    into = network.tensors[layer.inputs[position]].channels // groups
    out = network.tensors[layer.output].channels // groups
    blocks = AxisMap(stride=into, extent=into, divisor=out)
    return channels == AxisMap() or (groups > 1 and channels == blocks)


def _check_tables(network: Network) -> None:
    for layer in network.layers:
        if isinstance(layer.anchor, Embedding) and layer.anchor.entries > MOST_ENTRIES:
            raise IllegalSchedule(
                f"layer {layer.name}: a table of {layer.anchor.entries} entries; expected at most {MOST_ENTRIES}, "
                "since an index is stored as two numbers"
            )


def channel_groups(network: Network, layer: Layer) -> int:
    """Groups of channels that need nothing of each other; 1 too where every channel is one."""
    anchor = layer.anchor
    if isinstance(anchor, Contraction | MatMul):
        return anchor.groups
    if isinstance(anchor, Softmax | Normalize | ChannelReduce):
        return network.tensors[layer.inputs[0]].channels // anchor.group
    return 1


def _holders(network: Network) -> list[int]:
    holders = [-1] * len(network.layers)
    for index, layer in enumerate(network.layers):
        if layer.shares is not None:
            holders[index] = holders[layer.shares] = layer.shares
    return holders


def _layer_columns(network: Network, index: int, holder: int, machine: Machine) -> tuple[int, ...]:
    layer = network.layers[index]
    anchor = layer.anchor
    step_tensors = {step.tensor for step in layer.steps if step.tensor is not None}
    kind, reduction, taps = PLAIN, 0, 1
    if isinstance(anchor, Contraction):
        kind, reduction, taps = CONVOLVES, anchor.in_channels // anchor.groups, anchor.taps
    elif isinstance(anchor, MatMul):
        kind, reduction = MULTIPLIES, anchor.reduction
    elif isinstance(anchor, Embedding):
        kind = EMBEDS
    elif isinstance(anchor, Concat):
        kind = JOINS_CHANNELS if anchor.axis == "channels" else JOINS_ROWS
    elif isinstance(anchor, Rearrange):
        kind = REARRANGES
    elif isinstance(anchor, Window):
        taps = anchor.kernel_h * anchor.kernel_w
    return (
        kind,
        int(kind in (CONVOLVES, MULTIPLIES)),
        channel_groups(network, layer),
        reduction,
        taps,
        vector_passes(machine, anchor, layer.steps),
        vector_ops(anchor, layer.steps),
        len(layer.parameters),
        holder,
        sum(step.parameter is not None for step in layer.steps),
        len(layer.inputs) - len(step_tensors),
    )
