"""A tile: the part of a piece of a layer that is computed at one time."""

from __future__ import annotations

from typing import NamedTuple


class Tile(NamedTuple):
    """Output channels [k0, k1), images [i0, i1) and rows [h0, h1) of a piece, counted from the start of each core's
    share, and what falls to the cores of it."""

    t: int  # local tensor that the layer makes
    p: int  # piece
    j: int  # layer of the sub-graph
    layer: int  # layer of the network
    barrier: int  # latest row of the vector engine before the piece
    chunk: int  # of the layer's parameters (lowering.weight_ring)
    weights: int  # first chunk of the tile's weights
    group: int
    columns: int
    k0: int
    k1: int
    sum_k: int  # of all channel ways together
    max_k: int  # of the one that has most
    cores_k: int  # how many have any
    i0: int
    i1: int
    sum_i: int  # likewise
    cores_i: int
    h0: int
    h1: int
    sum_h: int
    max_h: int
    cores_h: int
