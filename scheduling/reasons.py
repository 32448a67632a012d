"""Words for why a sub-graph cannot be lowered."""

from __future__ import annotations

from graph.network import Network
from hwmodel.machine import Machine
from scheduling.choice import Choice
from scheduling.planning import GROUPS_NOT_DIVISIBLE, ROWS_NOT_CARRIED, TOO_MANY_INSTRUCTIONS, TOO_MANY_WAYS
from scheduling.tiling import SHORT_ACCUMULATOR, SHORT_L1, SHORT_WEIGHTS

_MEMORY = {SHORT_L1: "l1", SHORT_WEIGHTS: "weights", SHORT_ACCUMULATOR: "accumulator"}


def explain(
    network: Network, machine: Machine, choice: Choice, status: int, layer: int, short_bytes: int
) -> str:
    """One sentence: which sub-graph, which layer, what is short by how many bytes."""
    name = network.layers[layer].name
    where = (
        f"sub-graph of layers {choice.first} to {choice.stop - 1} "
        f"({network.layers[choice.first].name} to {network.layers[choice.stop - 1].name}) on {machine.name}"
    )
    if status in _MEMORY:
        memory = _MEMORY[status]
        capacity = getattr(machine.memories, memory).bytes
        wide = ", since a row cannot be cut into columns" if status == SHORT_ACCUMULATOR else ""
        return f"{where}: {memory} ({capacity} bytes) is short by {short_bytes} bytes at layer {name}{wide}"
    if status == ROWS_NOT_CARRIED:
        parts = choice.split_rows * choice.ways_rows
        return f"{where}: rows cannot be cut into {parts} through layer {name}"
    if status == GROUPS_NOT_DIVISIBLE:
        return f"{where}: the groups of layer {name} are not divisible by {choice.ways_channels} channel ways"
    if status == TOO_MANY_WAYS:
        return f"{where}: more slices than images ({network.batch} in the batch) or channels at layer {name}"
    if status == TOO_MANY_INSTRUCTIONS:
        return f"{where}: one instance has too many instructions; split it or cut it into fewer pieces"
    raise ValueError(f"unknown status {status}")
