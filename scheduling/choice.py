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


CHOICE_FIELDS = len(Choice._fields)


@compiled
def choice_of(row: NDArray[np.int64]) -> Choice:
    """A Choice from its fields in an array, (CHOICE_FIELDS,) or longer."""
    return Choice(
        row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9], row[10], row[11],
        row[12], row[13], row[14],
    )  # fmt: skip


def in_whole_rows(choice: Choice) -> bool:
    """Whether the instances of a slice of the batch make runs of whole rows of what leaves the sub-graph."""
    across = choice.split_columns > 1 or choice.split_channels > 1
    return not across and choice.axis != COLUMNS and choice.halo == RECOMPUTE


@compiled_leaf
def row_pieces(choice: Choice) -> int:
    """Parts of the rows of an instance's tensors."""
    return 1 if choice.axis in (CHANNELS, CHANNEL_RING) else choice.pieces
