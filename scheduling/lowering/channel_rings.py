"""Rings of channels: the output of a contraction that is stored part by part, so that L1 never has all of it.

An output that only a later sub-graph reads is of no use in L1 once it is stored. With pieces along CHANNEL_RING it lies
in a ring of two parts of its channels: while one is stored the next one is computed. Rings of rows cannot do that where
an instance has few rows, or where pieces of rows would read the weights again.
"""

from __future__ import annotations

from hwmodel.compiled import compiled_leaf
from hwmodel.timing.costs import ceil_div
from scheduling.choice import CHANNEL_RING, Choice
from scheduling.lowering.geometry import Geometry
from scheduling.lowering.tables import CONVOLVES, NetworkTable


@compiled_leaf
def in_channel_ring(net: NetworkTable, choice: Choice, geo: Geometry, t: int) -> bool:
    """Whether a local tensor lies in a ring of channels: the output of a contraction without groups that leaves the
    sub-graph and that no layer in it reads."""
    if choice.axis != CHANNEL_RING or t < geo.entries or geo.leaves[t] == 0:
        return False
    if geo.next_copy[t] >= 0:
        return False
    layer = choice.first + t - geo.entries
    if net.kind[layer] != CONVOLVES or net.groups[layer] > 1:
        return False
    for e in range(geo.edge_local.shape[0]):  # noqa: SIM110 (numba)
        if geo.edge_local[e] == t:
            return False
    return True


@compiled_leaf
def most_held_channels(net: NetworkTable, choice: Choice, geo: Geometry, t: int) -> int:
    """Channels of a local tensor that a core has room for at most."""
    channels = net.tensor_channels[geo.tensor[t]]
    if not geo.full[t]:
        channels = ceil_div(channels, geo.channel_ways[t])
    if in_channel_ring(net, choice, geo, t):
        channels = min(channels, 2 * ceil_div(channels, choice.pieces))
    return int(channels)


@compiled_leaf
def stored_by_itself(net: NetworkTable, choice: Choice, geo: Geometry, t: int) -> bool:
    """Whether a tensor that leaves has an operation that stores it; else its computation does, part by part."""
    return geo.leaves[t] == 1 and not in_channel_ring(net, choice, geo, t)
