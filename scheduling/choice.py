"""Choice: the decisions about one sub-graph, as plain integers that compiled code takes as they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodel.compiled import compiled, compiled_leaf

ROWS = 0
CHANNELS = 1
COLUMNS = 2
CHANNEL_RING = 3

RECOMPUTE = 0
CACHE = 1
CACHE_LLB = 2
CACHE_DRAM = 3

RULE_SCALE = 20
"""An instruction-order rule orders operations by layer + a x piece; it is stored as the integer a x 20."""


class Choice(NamedTuple):
    """How one run of layers [first, stop) becomes kernels.

    `split_*`: slices of the output per axis; one instance each. `ways_*`: how an instance is spread over cores;
    `ways_rows` along the axis that is streamed, so over the columns where `axis` is COLUMNS.
    `pieces` parts along `axis` (ROWS or COLUMNS: of every layer, streamed through rings; CHANNELS: output channels of
    every contraction; CHANNEL_RING: that too, and an output that only later sub-graphs read is stored part by part,
    scheduling.lowering.channel_rings). The other one of rows and columns is the *cross* axis: an instance has its part
    of it whole.
    `rule`: a x RULE_SCALE in the operation order key layer + a x piece. `overlap`: 1 lets weights be loaded as soon
    as their place is free, also under the previous kernel; 0 is one layer after the other.
    `halo`: what happens to what neighbouring slices of the cross axis both need. RECOMPUTE: each makes it; CACHE: the
    earlier slice leaves it in L1 for the next one, so nothing is made or loaded twice; CACHE_LLB, CACHE_DRAM: there.
    `keep_weights`: 1 where instances of one slice of the batch find the weights of the first of them in the buffer.
    With either, the instances of a slice of the batch follow one another.
    `split_channels`: each slice over the channels makes its part of those of all tensors (lowering.channel_slices).
    Instances are counted by slices of the batch, then of channels, rows and columns.
    `own_*`: layers [own_first, own_stop) are bound by `own_batch`, `own_rows` and `own_channels` and not by `ways_*`,
    over the same cores; both 0 where no layer has a binding of its own.
    """

    first: int
    stop: int
    split_batch: int = 1
    split_rows: int = 1
    ways_batch: int = 1
    ways_rows: int = 1
    ways_channels: int = 1
    pieces: int = 1
    axis: int = ROWS
    rule: int = RULE_SCALE
    overlap: int = 1
    split_columns: int = 1
    halo: int = RECOMPUTE
    keep_weights: int = 0
    split_channels: int = 1
    own_first: int = 0
    own_stop: int = 0
    own_batch: int = 1
    own_rows: int = 1
    own_channels: int = 1

    @property
    def tiles(self) -> int:
        """Instances of one slice of the channels in one of the batch."""
        return self.split_rows * self.split_columns

    @property
    def slices(self) -> int:
        """Instances of one slice of the batch."""
        return self.split_channels * self.tiles

    @property
    def instances(self) -> int:
        """Instances of the sub-graph, a kernel each."""
        return self.split_batch * self.slices

    @property
    def consecutive(self) -> bool:
        """Whether the instances of a slice of the batch must follow one another."""
        return self.tiles > 1 and (self.halo != RECOMPUTE or self.keep_weights == 1)

    @property
    def cores(self) -> int:
        """Cores that an instance is spread over."""
        return self.ways_batch * self.ways_rows * self.ways_channels

    @property
    def two_bindings(self) -> bool:
        """Whether some layers have a binding of their own."""
        return self.own_stop > self.own_first


CHOICE_FIELDS = len(Choice._fields)


@compiled
def choice_of(row: NDArray[np.int64]) -> Choice:
    """A Choice from its fields in an array, (CHOICE_FIELDS,) or longer."""
    return Choice(
        row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9], row[10], row[11],
        row[12], row[13], row[14], row[15], row[16], row[17], row[18], row[19],
    )  # fmt: skip


def in_whole_rows(choice: Choice) -> bool:
    """Whether the instances of a slice of the batch make runs of whole rows of what leaves the sub-graph."""
    across = choice.split_columns > 1 or choice.split_channels > 1
    return not across and choice.axis != COLUMNS and choice.halo == RECOMPUTE


@compiled_leaf
def layer_ways(choice: Choice, layer: int) -> tuple[int, int, int]:
    """Ways over the batch, the rows and the channels by which a layer is bound."""
    if choice.own_first <= layer < choice.own_stop:
        return choice.own_batch, choice.own_rows, choice.own_channels
    return choice.ways_batch, choice.ways_rows, choice.ways_channels


@compiled_leaf
def same_binding(choice: Choice, one: int, other: int) -> bool:
    """Whether two layers are bound alike."""
    own = choice.own_first <= one < choice.own_stop
    return own == (choice.own_first <= other < choice.own_stop)


@compiled_leaf
def channel_ways(choice: Choice, layer: int) -> int:
    """Those over the channels."""
    return choice.own_channels if choice.own_first <= layer < choice.own_stop else choice.ways_channels


@compiled_leaf
def most_row_ways(choice: Choice) -> int:
    """Row ways of the binding that has more of them."""
    if choice.own_stop > choice.own_first:
        return max(choice.ways_rows, choice.own_rows)
    return choice.ways_rows


@compiled_leaf
def row_pieces(choice: Choice) -> int:
    """Parts of the rows of an instance's tensors."""
    return 1 if choice.axis in (CHANNELS, CHANNEL_RING) else choice.pieces
