"""Frames: how compiled code sees a sub-graph, rows being the axis that it streams along.

A choice that streams along columns is lowered and emitted as that of the turned network, whose rows are the columns of
the network. Only windows in shared memory (`scheduling.emission.places`) and stored kernels (the field kernel_turned of
CONV) tell one from the other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from graph.network import Layer, Network, RegionMap
from graph.primitives import Anchor, Contraction, Window
from scheduling.choice import COLUMNS, ROWS, Choice
from scheduling.lowering.tables import NetworkTable


class Frame(NamedTuple):
    """A choice in the frame in which it is lowered, and the network there."""

    network: Network
    table: NetworkTable
    choice: Choice
    turned: bool


def turned_choice(choice: Choice) -> Choice:
    """A choice with axis COLUMNS as one of the turned network."""
    if choice.axis != COLUMNS:
        return choice
    return choice._replace(axis=ROWS, split_rows=choice.split_columns, split_columns=choice.split_rows)


def turned_network(network: Network) -> Network:
    """The network with rows and columns of all tensors swapped. Anchors that are not symmetric in them (Concat along
    rows, Rearrange, MatMul) are left as they are: `scheduling.lowering.planning` lets none of them be streamed along
    columns.
    """
    tensors = tuple(replace(t, rows=t.columns, columns=t.rows) for t in network.tensors)
    return replace(network, tensors=tensors, layers=tuple(_turned(layer) for layer in network.layers))


def _turned(layer: Layer) -> Layer:
    maps = tuple(RegionMap(region.columns, region.rows, region.channels) for region in layer.maps)
    return replace(layer, anchor=_turned_anchor(layer.anchor), maps=maps)


def _turned_anchor(anchor: Anchor) -> Anchor:
    if isinstance(anchor, Contraction):
        anchor = replace(anchor, dilation_h=anchor.dilation_w, dilation_w=anchor.dilation_h)
    if isinstance(anchor, Contraction | Window):
        return replace(
            anchor,
            kernel_h=anchor.kernel_w,
            kernel_w=anchor.kernel_h,
            stride_h=anchor.stride_w,
            stride_w=anchor.stride_h,
            pad_top=anchor.pad_left,
            pad_left=anchor.pad_top,
            pad_bottom=anchor.pad_right,
            pad_right=anchor.pad_bottom,
        )
    return anchor
