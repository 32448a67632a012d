"""Lowering: one instance of a sub-graph becomes instructions with waits, as rows of integers.

`lower` in `instance` walks the operations of the plan. A `Site` is what they read, a `Draft` what they write (`draft`);
each kind of operation writes its rows in a file of its own. The rows are the single source of truth: the timing
simulator reads their costs, and `scheduling.emission.instructions` turns the same rows into instructions with
addresses.
"""

from scheduling.lowering.draft import DMA_READS, DMA_WRITES, VECTOR_READS, VECTOR_WRITES
from scheduling.lowering.instance import Lowered, lower

__all__ = ["DMA_READS", "DMA_WRITES", "VECTOR_READS", "VECTOR_WRITES", "Lowered", "lower"]
