"""Slices over channels: each instance makes its part of the channels of all tensors of a sub-graph.

An instance of a slice is lowered and emitted as one of a narrower network, in which the tensors that slices cut have
only its channels; shared memory alone has all of them, so a pixel there is wider (`NetworkTable.stored_channels`) and
what a kernel's symbols stand for begins where the slice does.

Channels are cut where every layer of the sub-graph carries them through: the same part of its inputs makes a part of
its output, or it is a contraction without groups (or an embedding) of an input made elsewhere, of which each slice
reads all. Layers that work on groups of channels (heads, depthwise convolutions) are cut between groups. A copy
(Rearrange) makes a part of its channels of the same channels of its input, as far into it, or of all channels of the
rows and columns that this part needs, of an input made elsewhere. Slices consist of *units*, as many as all those
tensors and groups can be divided into alike, and are as even as units allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import gcd
from typing import NamedTuple

import numpy as np

from graph.layering.narrow_copies import equal_parts, narrow_copy, narrow_input, same_channels
from graph.network import Layer, Network
from graph.primitives import (
    Anchor,
    ChannelReduce,
    Concat,
    Contraction,
    Embedding,
    MatMul,
    Normalize,
    Rearrange,
    Softmax,
)
from scheduling.errors import IllegalSchedule
from scheduling.lowering.tables import (
    COLUMN_MAPS,
    ROW_MAPS,
    NetworkTable,
    axis_map,
    channel_groups,
    reads_own_share,
)


class ChannelRun(NamedTuple):
    """Consecutive channels of a tensor."""

    first: int
    channels: int


@dataclass(frozen=True, slots=True)
class ChannelUnits:
    """What slices over channels cut of the layers [first, stop): which channels of which tensors, into how many units
    each, and whether layers differ from slice to slice in more than their width (`by_place`)."""

    first: int
    stop: int
    cut: Mapping[int, ChannelRun]
    units: int
    limit: int  # the layer that allows no more units
    by_place: bool

    def bounds(self, part: int, parts: int) -> tuple[int, int]:
        """Units [low, high) of a slice."""
        return self.units * part // parts, self.units * (part + 1) // parts

    def first_channel(self, tensor: int, part: int, parts: int) -> int:
        """Where a slice of a tensor begins; 0 of those that are not cut."""
        if tensor not in self.cut:
            return 0
        run = self.cut[tensor]
        return run.first + run.channels // self.units * self.bounds(part, parts)[0]


def channel_units(network: Network, first: int, stop: int) -> ChannelUnits:
    """How layers [first, stop) can be cut over channels. Raises IllegalSchedule where one cannot."""
    made = frozenset(layer.output for layer in network.layers[first:stop])
    cut = {tensor: ChannelRun(0, network.tensors[tensor].channels) for tensor in made}
    whole: dict[int, Layer] = {}
    where = f"sub-graph of layers {network.layers[first].name} to {network.layers[stop - 1].name}"
    units, limit, by_place = 0, first, False
    for number, layer in enumerate(network.layers[first:stop], first):
        here = gcd(units, network.tensors[layer.output].channels)
        for position, tensor in enumerate(layer.inputs):
            run = _run_read(network, layer, position)
            if run is not None:
                if cut.setdefault(tensor, run) != run:
                    name = network.tensors[tensor].name
                    raise _not_carried(
                        where, layer, f"reads other channels of {name} than others make or read"
                    )
                here = gcd(here, run.channels)
                continue
            _check_read_whole(network, layer, position, where)
            if tensor in made:
                raise _not_carried(
                    where,
                    layer,
                    f"reads all channels of {network.tensors[tensor].name}, made in the same sub-graph",
                )
            whole[tensor] = layer
        if _works_on_groups(layer.anchor):
            here = gcd(here, channel_groups(network, layer))
        if isinstance(layer.anchor, Rearrange) and not same_channels(layer.maps[0]):
            here = gcd(here, equal_parts(layer.anchor, network.tensors[layer.output]))
            by_place = True
        if here != units:
            units, limit = here, number
    for tensor, layer in whole.items():
        if tensor in cut:
            name = network.tensors[tensor].name
            raise _not_carried(where, layer, f"reads all channels of {name}, of which slices are read too")
    return ChannelUnits(first, stop, cut, units, limit, by_place)


def narrow_network(network: Network, units: ChannelUnits, low: int, high: int) -> Network:
    """The network with units [low, high) of the tensors that are cut, and their layers likewise. Their weights and
    parameters are left as they are, and so are constants."""
    tensors = list(network.tensors)
    for tensor, run in units.cut.items():
        tensors[tensor] = replace(tensors[tensor], channels=run.channels // units.units * (high - low))
    layers = list(network.layers)
    for number in range(units.first, units.stop):
        layer = layers[number]
        if isinstance(layer.anchor, Rearrange):
            layers[number] = _narrowed_copy(network, layer, units, low, high)
        else:
            anchor = _narrowed(layer.anchor, tensors[layer.output].channels, units.units, high - low)
            layers[number] = replace(layer, anchor=anchor)
    return replace(network, tensors=tuple(tensors), layers=tuple(layers))


def narrow_table(table: NetworkTable, network: Network, units: ChannelUnits) -> NetworkTable:
    """The table of a narrow network, made from that of the network; both turned, or neither."""
    groups, all_channels = table.groups.copy(), table.edge_all_channels.copy()
    maps = [getattr(table, name) for name in (*ROW_MAPS, *COLUMN_MAPS)]
    if units.by_place:
        maps = [column.copy() for column in maps]
    for number in range(units.first, units.stop):
        layer = network.layers[number]
        groups[number] = channel_groups(network, layer)
        begin = int(table.edge_start[number])
        for position in range(len(layer.inputs)):
            all_channels[begin + position] = int(not reads_own_share(network, layer, position))
        if units.by_place and isinstance(layer.anchor, Rearrange):
            region = layer.maps[0]
            for column, value in zip(maps, (*axis_map(region.rows), *axis_map(region.columns)), strict=True):
                column[begin] = value
    return table._replace(
        tensor_channels=np.array([tensor.channels for tensor in network.tensors], np.int64),
        groups=groups,
        edge_all_channels=all_channels,
        **dict(zip((*ROW_MAPS, *COLUMN_MAPS), maps, strict=True)),
    )


def _run_read(network: Network, layer: Layer, position: int) -> ChannelRun | None:
    """The channels of an input of which a slice reads as large a part as it makes of the output; None where it needs
    others too."""
    tensor = network.tensors[layer.inputs[position]]
    if reads_own_share(network, layer, position):
        return ChannelRun(0, tensor.channels)
    region, output = layer.maps[position], network.tensors[layer.output]
    if isinstance(layer.anchor, Rearrange) and same_channels(region) and tensor.channels >= output.channels:
        return ChannelRun(region.channels.offset, output.channels)
    return None


def _narrowed_copy(network: Network, layer: Layer, units: ChannelUnits, low: int, high: int) -> Layer:
    """A Rearrange that makes units [low, high) of its channels."""
    anchor, output, given = layer.anchor, network.tensors[layer.output], network.tensors[layer.inputs[0]]
    unit = output.channels // units.units
    if not isinstance(anchor, Rearrange):
        raise TypeError(f"layer {layer.name} is no copy")
    if layer.inputs[0] in units.cut:
        anchor, region = narrow_input(anchor, layer.maps[0], output, given, unit * (high - low))
    else:
        anchor, region = narrow_copy(anchor, output, given, unit * low, unit * (high - low))
    return replace(layer, anchor=anchor, maps=(region, *layer.maps[1:]))


def _works_on_groups(anchor: Anchor) -> bool:
    """Whether slices must cut between groups of channels."""
    if isinstance(anchor, Contraction):
        return anchor.groups > 1
    return isinstance(anchor, MatMul | Softmax | Normalize | ChannelReduce)


def _not_carried(where: str, layer: Layer, why: str) -> IllegalSchedule:
    """The error for a layer that hands no slices on."""
    return IllegalSchedule(
        f"{where}: channels cannot be cut through layer {layer.name}, which {why}; a sub-graph that is cut over "
        "channels begins behind it or ends before it"
    )


def _check_read_whole(network: Network, layer: Layer, position: int, where: str) -> None:
    """Refuse an input of which a slice of the output needs other channels than its own, unless the layer is computed
    alike from all of them."""
    anchor, tensor = layer.anchor, network.tensors[layer.inputs[position]]
    operand = position > 0 and not isinstance(anchor, MatMul | Concat)
    if operand and tensor.channels == 1:
        return
    if not operand and isinstance(anchor, Contraction | Embedding | Rearrange):
        return
    what = "joins channels" if isinstance(anchor, Concat) else "mixes channels"
    raise _not_carried(where, layer, f"{what} of {tensor.name}")


def _narrowed(anchor: Anchor, channels: int, units: int, width: int) -> Anchor:
    """An anchor that makes so many channels, `width` of `units` of its groups."""
    if isinstance(anchor, Contraction) and anchor.groups > 1:
        groups = anchor.groups // units * width
        inputs = anchor.in_channels // anchor.groups * groups
        return replace(anchor, out_channels=channels, in_channels=inputs, groups=groups)
    if isinstance(anchor, Contraction):
        return replace(anchor, out_channels=channels)
    if isinstance(anchor, MatMul):
        return replace(anchor, out_channels=channels, groups=anchor.groups // units * width)
    return anchor
