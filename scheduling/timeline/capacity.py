"""Whether a network has room in DRAM at all, where a machine's DRAM has a size.

With every layer alone everything that is not inside a layer has a place of its own there, and that schedule must
always be possible; so a network is refused by what this one takes, whatever a better schedule would keep on chip.
"""

from __future__ import annotations

from graph.network import Network
from graph.primitives import Contraction, Embedding
from hwmodel.machines.machine import Machine
from scheduling.errors import IllegalSchedule


def dram_bytes(network: Network, element_bytes: int) -> int:
    """Bytes of all tensors of the whole batch, of constants, weights, tables and parameters."""
    elements = 0
    for index, tensor in enumerate(network.tensors):
        images = 1 if index in network.constants else network.batch
        elements += images * tensor.rows * tensor.columns * tensor.channels
    for layer in network.layers:
        anchor, channels = layer.anchor, network.tensors[layer.output].channels
        if isinstance(anchor, Contraction):
            elements += channels * (anchor.in_channels // anchor.groups) * anchor.taps
        elif isinstance(anchor, Embedding):
            elements += anchor.entries * anchor.channels
        elements += len(layer.parameters) * channels
    return elements * element_bytes


def check_dram(network: Network, machine: Machine) -> None:
    """Raise IllegalSchedule where a network of this batch takes more than the machine's DRAM holds."""
    dram = machine.memories.dram
    if dram is None or dram.bytes is None:
        return
    need = dram_bytes(network, machine.element_bytes)
    if need > dram.bytes:
        raise IllegalSchedule(
            f"{network.name} at batch {network.batch} takes {need} bytes of DRAM, and {machine.name} has {dram.bytes}: "
            f"short by {need - dram.bytes} bytes"
        )
