"""A network and a machine as flat integer arrays, the form in which compiled lowering reads them.

Records are for people; compiled code wants arrays. This is the only place where one becomes the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graph.network import Network
from graph.primitives import Concat, Contraction, Window
from hwmodel.costs import vector_ops, vector_passes
from hwmodel.machine import Machine

Ints = NDArray[np.int64]

NEVER = 1 << 40
"""A step later than any other: graph outputs are used then."""


class NetworkTable(NamedTuple):
    """Arrays of a network on a machine. T tensors, L layers, E edges (inputs of layers, in layer order)."""

    batch: int
    input_count: int
    tensor_channels: Ints  # (T,)
    tensor_rows: Ints  # (T,)
    tensor_columns: Ints  # (T,)
    producer: Ints  # (T,) layer, or -1 for a graph input
    last_use: Ints  # (T,) last layer that reads the tensor; NEVER for a graph output
    is_matrix: Ints  # (L,) 1 for a contraction
    groups: Ints  # (L,)
    reduction: Ints  # (L,) input channels of one group of a contraction, else 0
    taps: Ints  # (L,) kernel positions of a contraction
    passes: Ints  # (L,) vector cycles per output lane-element
    operations: Ints  # (L,) vector operations per output element, for energy
    parameters: Ints  # (L,) per-channel vectors
    parameter_reads: Ints  # (L,) steps that read a per-channel vector
    tensor_steps: Ints  # (L,) steps that read another tensor
    anchor_inputs: Ints  # (L,) how many of the inputs the anchor itself reads
    edge_start: Ints  # (L + 1,)
    edge_tensor: Ints  # (E,)
    edge_stride: Ints  # (E,) region map of the rows
    edge_offset: Ints  # (E,)
    edge_extent: Ints  # (E,)
    edge_whole: Ints  # (E,) 1 where every output row needs all input rows
    edge_all_channels: Ints  # (E,) 1 where an output channel needs other channels of this input


def network_table(network: Network, machine: Machine) -> NetworkTable:
    """Flatten a network for a machine (the machine decides the vector cycles of a layer)."""
    layers = network.layers
    tensors = network.tensors
    producer = np.full(len(tensors), -1, np.int64)
    last_use = np.full(len(tensors), -1, np.int64)
    edges: list[tuple[int, int, int, int, int, int]] = []
    starts = [0]
    for index, layer in enumerate(layers):
        producer[layer.output] = index
        for tensor, region in zip(layer.inputs, layer.maps, strict=True):
            last_use[tensor] = index
            rows, channels = region.rows, region.channels
            # A Concat moves even its first input to other cores: an even share of the output is not one of it.
            same = not (channels.whole or channels.offset or isinstance(layer.anchor, Concat))
            edges.append((tensor, rows.stride, rows.offset, rows.extent, int(rows.whole), int(not same)))
        starts.append(len(edges))
    for tensor in network.outputs:
        last_use[tensor] = NEVER
    edge = np.array(edges, np.int64).reshape(-1, 6)
    columns = [_layer_columns(network, index, machine) for index in range(len(layers))]
    by_column = [np.array(values, np.int64) for values in zip(*columns, strict=True)]
    fields = (
        network.batch,
        len(network.inputs),
        np.array([t.channels for t in tensors], np.int64),
        np.array([t.rows for t in tensors], np.int64),
        np.array([t.columns for t in tensors], np.int64),
        producer,
        last_use,
        *by_column,
        np.array(starts, np.int64),
        *(np.ascontiguousarray(edge[:, i]) for i in range(6)),
    )
    return NetworkTable._make(fields)


def _layer_columns(network: Network, index: int, machine: Machine) -> tuple[int, ...]:
    layer = network.layers[index]
    anchor = layer.anchor
    contraction = anchor if isinstance(anchor, Contraction) else None
    step_tensors = {step.tensor for step in layer.steps if step.tensor is not None}
    return (
        int(contraction is not None),
        contraction.groups if contraction else 1,
        contraction.in_channels // contraction.groups if contraction else 0,
        contraction.taps
        if contraction
        else (anchor.kernel_h * anchor.kernel_w if isinstance(anchor, Window) else 1),
        vector_passes(machine, anchor, layer.steps),
        vector_ops(anchor, layer.steps),
        len(layer.parameters),
        sum(step.parameter is not None for step in layer.steps),
        sum(step.tensor is not None for step in layer.steps),
        len(layer.inputs) - len(step_tensors),
    )
