"""Where everything that a program keeps in DRAM lies: one buffer after the other."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from graph.network import Network
from graph.primitives import Contraction, Embedding
from hwmodel.programs.isa import Buffer


class DramBuffers:
    """The buffers of a network's program, and where each tensor and each layer's weights begin.

    `boundary` are the tensors that kernels hand on through DRAM; inputs, outputs and constants have a buffer anyway.
    What layers share is there once. Room for overlaps is added for the
    sub-graphs that keep them in DRAM.
    """

    def __init__(self, network: Network, element_bytes: int, boundary: Collection[int]) -> None:
        self.buffers: list[Buffer] = []
        self.tensor_address: dict[int, int] = {}
        self.weight_address: dict[int, int] = {}
        self.overlap_address: dict[int, int] = {}
        self._element_bytes = element_bytes
        self._used = 0
        self._place_tensors(network, boundary)
        self._place_weights(network)

    def _add(self, name: str, role: str, shape: tuple[int, ...]) -> int:
        address = self._used
        self.buffers.append(Buffer(name, role, address, shape))
        self._used += int(np.prod(shape)) * self._element_bytes
        return address

    def add_overlaps(self, subgraph: int, name: str, parts: int, part_bytes: int) -> None:
        """Make room for the overlaps of a sub-graph, named by its first layer, of each slice of the batch."""
        shape = (parts, part_bytes // self._element_bytes)
        self.overlap_address[subgraph] = self._add(f"{name}.overlaps", "overlaps", shape)

    def _place_tensors(self, network: Network, boundary: Collection[int]) -> None:
        for index, tensor in enumerate(network.tensors):
            shape = (network.batch, tensor.rows, tensor.columns, tensor.channels)
            if index in network.constants:
                self.tensor_address[index] = self._add(tensor.name, "constant", shape[1:])
            elif index in network.inputs:
                self.tensor_address[index] = self._add(tensor.name, "input", shape)
            elif index in network.outputs:
                self.tensor_address[index] = self._add(tensor.name, "output", shape)
            elif index in boundary:
                self.tensor_address[index] = self._add(tensor.name, "boundary", shape)

    def _place_weights(self, network: Network) -> None:
        for number, layer in enumerate(network.layers):
            if layer.shares is not None:
                continue
            self.weight_address[number] = self._used
            anchor = layer.anchor
            channels = network.tensors[layer.output].channels
            if isinstance(anchor, Contraction):
                reduction = anchor.in_channels // anchor.groups
                self._add(
                    f"{layer.name}.weight", "weight", (channels, reduction, anchor.kernel_h, anchor.kernel_w)
                )
            elif isinstance(anchor, Embedding):
                self._add(f"{layer.name}.weight", "table", (anchor.entries, anchor.channels))
            for index in range(len(layer.parameters)):
                self._add(f"{layer.name}.parameter{index}", "parameter", (channels,))
        for number, layer in enumerate(network.layers):
            if layer.shares is not None:
                self.weight_address[number] = self.weight_address[layer.shares]
