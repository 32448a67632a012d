"""Words for why a sub-graph cannot be lowered."""

from __future__ import annotations

from graph.network import Network
from hwmodel.machines.machine import Machine
from scheduling.choice import COLUMNS, Choice, layer_ways
from scheduling.lowering.operations import MOST_PIECES
from scheduling.lowering.planning import (
    CACHED_TWO_WAYS,
    CHANNELS_NOT_CARRIED,
    COLUMNS_NOT_CARRIED,
    GROUPS_NOT_DIVISIBLE,
    OWN_BINDING_EQUAL,
    OWN_CORES_DIFFER,
    OWN_ELSEWHERE,
    OWN_WITH_CACHES,
    ROWS_NOT_CARRIED,
    TOO_MANY_INSTRUCTIONS,
    TOO_MANY_PIECES,
    TOO_MANY_WAYS,
    WEIGHTS_NOT_KEPT,
)
from scheduling.lowering.tiling import SHORT_ACCUMULATOR, SHORT_L1, SHORT_WEIGHTS

_MEMORY = {SHORT_L1: "l1", SHORT_WEIGHTS: "weights", SHORT_ACCUMULATOR: "accumulator"}


def explain(
    network: Network, machine: Machine, choice: Choice, status: int, layer: int, short_bytes: int
) -> str:
    """One sentence: which sub-graph, which layer, what is short by how many bytes."""
    name = network.layers[layer].name
    where = f"sub-graph of layers {_run(network, choice.first, choice.stop)} on {machine.name}"
    if status in _MEMORY:
        memory = _MEMORY[status]
        capacity = getattr(machine.memories, memory).bytes
        why = ""
        if status == SHORT_ACCUMULATOR:
            why = ", since a row of its slice cannot be cut"
        elif status == SHORT_L1 and choice.several_bindings:
            own = ", ".join(_run(network, run.first, run.stop) for run in choice.own_runs)
            why = f"; layers {own} have bindings of their own, and what goes from one to another lies there in both"
        return f"{where}: {memory} ({capacity} bytes) is short by {short_bytes} bytes at layer {name}{why}"
    if status in (ROWS_NOT_CARRIED, COLUMNS_NOT_CARRIED):
        # A choice that streams along columns is checked with both swapped.
        turned = choice.axis == COLUMNS
        rows = (status == ROWS_NOT_CARRIED) != turned
        parts = choice.split_rows if rows else choice.split_columns
        if rows != turned:  # the axis that is streamed, which cores share
            parts *= layer_ways(choice, layer)[1]
        if turned and parts == 1:
            return f"{where}: pieces along columns are not possible at layer {name}"
        return f"{where}: {'rows' if rows else 'columns'} cannot be cut into {parts} through layer {name}"
    if status == CACHED_TWO_WAYS:
        return f"{where}: overlaps can be cached along rows or along columns, not both; pieces run along the other one"
    if status == WEIGHTS_NOT_KEPT and short_bytes:
        capacity = machine.memories.weights.bytes
        return f"{where}: weights ({capacity} bytes) is short by {short_bytes} bytes to keep all weights"
    if status == WEIGHTS_NOT_KEPT:
        return f"{where}: weights cannot be kept, since the first instance does not use those of layer {name}"
    if status == TOO_MANY_PIECES:
        return f"{where}: {choice.pieces} pieces, expected less than {MOST_PIECES}"
    if status == GROUPS_NOT_DIVISIBLE:
        return f"{where}: the groups of layer {name} are not divisible by {layer_ways(choice, layer)[2]} channel ways"
    if status == TOO_MANY_WAYS:
        batch_ways = max(choice.ways_batch, *(run.batch for run in choice.own_runs), 1)
        if choice.split_batch * batch_ways > network.batch:
            slices = f"{choice.split_batch} slices of the batch in {batch_ways} ways each"
            return f"{where}: {slices} are more slices than images ({network.batch} in the batch)"
        return (
            f"{where}: {layer_ways(choice, layer)[2]} channel ways are more than the channels of layer {name}"
        )
    if status == CHANNELS_NOT_CARRIED:
        return f"{where}: channels are cut into {choice.split_channels}, expected a choice in its frame"
    if status in (OWN_ELSEWHERE, OWN_CORES_DIFFER, OWN_BINDING_EQUAL, OWN_WITH_CACHES):
        return f"{where}: {_own_binding(network, choice, status, layer)}"
    if status == TOO_MANY_INSTRUCTIONS:
        return f"{where}: one instance has too many instructions; split it or cut it into fewer pieces"
    raise ValueError(f"unknown status {status}")


def _own_binding(network: Network, choice: Choice, status: int, layer: int) -> str:
    """Why layers cannot have the bindings of their own that a choice gives them; `layer` is the first of a run."""
    if status == OWN_ELSEWHERE:
        runs = ", ".join(_run(network, run.first, run.stop) for run in choice.own_runs)
        return f"bindings of layers {runs}, expected runs of its layers, one behind the other"
    if status == OWN_WITH_CACHES:
        return "layers cannot have bindings of their own where overlaps are cached"
    run = next(run for run in choice.own_runs if run.first == layer)
    names = f"the binding of layers {_run(network, run.first, run.stop)}"
    if status == OWN_CORES_DIFFER:
        cores = run.batch * run.rows * run.channels
        return f"{names} has {cores} cores, expected a divisor of the {choice.cores} of the sub-graph's"
    return f"{names} is that of the sub-graph"


def _run(network: Network, first: int, stop: int) -> str:
    """The layers [first, stop) by name; a number in place of a name that there is not."""
    layers = network.layers
    return " to ".join(layers[k].name if 0 <= k < len(layers) else f"#{k}" for k in (first, stop - 1))
