"""Choice: the decisions about one sub-graph, as plain integers that compiled code takes as they are."""

from __future__ import annotations

from typing import NamedTuple

ROWS = 0
CHANNELS = 1

RULE_SCALE = 20
"""An instruction-order rule orders operations by layer + a x piece; it is stored as the integer a x 20."""


class Choice(NamedTuple):
    """How one run of layers [first, stop) becomes kernels.

    `split_*`: slices of the output per axis; one instance each. `ways_*`: how an instance is spread over cores.
    `pieces` parts along `axis` (ROWS: rows of every layer; CHANNELS: output channels of every contraction).
    `rule`: a x RULE_SCALE in the operation order key layer + a x piece. `overlap`: 1 lets weights be loaded as soon
    as their place is free, also under the previous kernel; 0 is one layer after the other.
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

    @property
    def instances(self) -> int:
        """Kernel launches of the sub-graph."""
        return self.split_batch * self.split_rows
