"""Sub-graphs as rows of numbers, and which slices of the batch touch each other."""

from __future__ import annotations

from hwmodel.compiled import compiled, compiled_leaf
from scheduling.lowering.tables import Ints

# Columns of the choices array are the fields of scheduling.choice.Choice.
FIRST, STOP, SPLIT_BATCH, SPLIT_ROWS, AXIS, SPLIT_COLUMNS, HALO, SPLIT_CHANNELS = 0, 1, 2, 3, 8, 11, 12, 14
WAYS_BATCH, WAYS_ROWS, WAYS_CHANNELS = 4, 5, 6


@compiled_leaf
def touching(part: int, parts: int, other_parts: int, batch: int) -> tuple[int, int]:
    """Which of `other_parts` even slices of the batch slice `part` of `parts` touches: [first, stop)."""
    low = batch * part // parts
    high = batch * (part + 1) // parts
    return ((low + 1) * other_parts - 1) // batch, (high * other_parts - 1) // batch + 1


@compiled
def slices(choices: Ints, s: int) -> int:
    """Instances of one slice of the batch of sub-graph s."""
    return int(choices[s, SPLIT_CHANNELS] * choices[s, SPLIT_ROWS] * choices[s, SPLIT_COLUMNS])
