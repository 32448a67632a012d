"""Which tensors of an instance lie in the inner buffers that inputs and outputs share, where a core has such.

Addresses of l1 begin with them. A tensor lies in one memory as a whole; of those that fit an inner one, the tensors
that use it most come first: all have about as many accesses for each of their rows, so these are the ones whose ring
holds the smallest part of their rows.
"""

from __future__ import annotations

import numpy as np

from hwmodel.compiled import compiled
from scheduling.lowering.geometry import Geometry
from scheduling.lowering.tables import Ints

_SCALE = 1 << 20


@compiled
def place_inner(
    geo: Geometry, ring_rows: Ints, size: Ints, born: Ints, dies: Ints, first_end: int, inner_end: int
) -> tuple[Ints, int]:
    """(addresses (N,), peak bytes) of rings of `size` bytes that are live from `born` to `dies` (N,): in the first
    buffer, which ends at `first_end`, in the next, which ends at `inner_end`, or behind them, larger ones first."""
    n = size.shape[0]
    last = geo.ends.shape[2] - 1
    share = np.zeros(n, np.int64)
    for t in range(n):
        rows = 0
        for way in range(geo.start.shape[0]):
            rows = max(rows, geo.ends[way, t, last] - geo.start[way, t])
        share[t] = _SCALE * ring_rows[t] // max(1, rows)
    address = np.full(n, -1, np.int64)
    peak = 0
    for t in np.argsort(share, kind="mergesort"):
        if size[t] > 0:
            address[t] = _lowest(address, size, born, dies, t, 0, first_end)
            if address[t] < 0 and inner_end > first_end:
                address[t] = _lowest(address, size, born, dies, t, first_end, inner_end)
            if address[t] >= 0:
                peak = max(peak, address[t] + size[t])
    for t in np.argsort(-size, kind="mergesort"):
        if size[t] > 0 and address[t] < 0:
            address[t] = _lowest(address, size, born, dies, t, inner_end, 1 << 60)
            peak = max(peak, address[t] + size[t])
    return np.maximum(address, 0), peak


@compiled
def _lowest(address: Ints, size: Ints, born: Ints, dies: Ints, t: int, low: int, end: int) -> int:
    """The lowest address from `low` on that is free for tensor t's whole life, or -1 where it would end behind
    `end`."""
    offset = low
    moved = True
    while moved and offset + size[t] <= end:
        moved = False
        for other in range(size.shape[0]):
            if (
                address[other] >= 0
                and size[other] > 0
                and born[t] <= dies[other]
                and born[other] <= dies[t]
                and offset < address[other] + size[other]
                and address[other] < offset + size[t]
            ):
                offset = address[other] + size[other]
                moved = True
    return offset if offset + size[t] <= end else -1
