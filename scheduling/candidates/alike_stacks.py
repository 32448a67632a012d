"""Which stacks look alike to lowering, so that what is known of one of them is known of all: blocks that repeat.

Two stacks are alike when their layers have the same rows in the tables that lowering reads, join their inputs and each
other alike, and find and leave tensors of the same shapes in the same memories.
"""

from __future__ import annotations

import numpy as np

from scheduling.lowering.tables import Ints, NetworkTable

_BY_LAYER = (
    "kind", "is_matrix", "groups", "reduction", "taps", "passes", "operations", "parameters", "parameter_reads",
    "anchor_inputs",
)  # fmt: skip
_BY_EDGE = (
    "edge_stride", "edge_offset", "edge_extent", "edge_divisor", "edge_whole", "edge_all_channels", "edge_steps",
    "column_stride", "column_offset", "column_extent", "column_divisor", "column_whole",
)  # fmt: skip
_BY_TENSOR = ("tensor_channels", "tensor_rows", "tensor_columns", "tensor_constant")


class AlikeStacks:
    """Stacks of one network on one machine, by what lowering reads of them."""

    def __init__(self, net: NetworkTable, in_llb: Ints) -> None:
        """`in_llb` (T,) is 1 for the tensors that an instance finds or leaves in the last-level buffer."""
        self._net = net
        self._layers = np.stack([getattr(net, name) for name in _BY_LAYER], axis=1)
        self._edges = np.stack([getattr(net, name) for name in _BY_EDGE], axis=1)
        self._tensors = np.stack([*(getattr(net, name) for name in _BY_TENSOR), in_llb], axis=1)
        self._first: dict[tuple[object, ...], int] = {}
        self._known: dict[tuple[int, int], int] = {}

    def of(self, first: int, stop: int) -> int:
        """The first layer of the stack that was asked for first of all that are like layers [first, stop)."""
        known = self._known.get((first, stop))
        if known is None:
            known = self._known[first, stop] = self._first.setdefault(self.look(first, stop), first)
        return known

    def look(self, first: int, stop: int) -> tuple[object, ...]:
        """All that lowering reads of a stack, the same for those that are alike."""
        net = self._net
        edges = slice(int(net.edge_start[first]), int(net.edge_start[stop]))
        made = range(net.input_count + first, net.input_count + stop)
        read = net.edge_tensor[edges].tolist()
        entries = [tensor for tensor in dict.fromkeys(read) if tensor not in made]
        place = {tensor: local for local, tensor in enumerate([*entries, *made])}
        holders = net.holder[first:stop].tolist()
        return (
            self._layers[first:stop].tobytes(),
            self._edges[edges].tobytes(),
            self._tensors[list(place)].tobytes(),
            (net.last_use[made.start : made.stop] >= stop).tobytes(),
            tuple(np.diff(net.edge_start[first : stop + 1]).tolist()),
            tuple(place[tensor] for tensor in read),
            tuple(-1 if holder < 0 else holders.index(holder) for holder in holders),
        )
