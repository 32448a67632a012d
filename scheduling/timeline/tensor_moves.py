"""Moves of tensors between the last-level buffer (LLB) and DRAM while they are in use: spills and refills.

A move takes a slice of the batch, as the tensor's producer cuts it (a graph input is one slice), and stands before
the instances of a wave: these and later ones read the slice where the last move before them took it. A move to DRAM
of what is there already copies nothing, the place in the LLB is only given up. A slice that comes back lies in one
piece, all rows of its images.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scheduling.lowering.tables import Ints


class TensorMoves(NamedTuple):
    """M moves in order; where they stand at the same wave, those to DRAM come first."""

    when: Ints  # (M,) waves of all steps, counted from 0; their number for what moves after the last one
    tensor: Ints  # (M,)
    part: Ints  # (M,) slice of the batch
    address: Ints  # (M,) bytes in the LLB; -1 where it goes to DRAM


def no_moves() -> TensorMoves:
    """Of a schedule whose tensors stay where they are made."""
    none = np.empty(0, np.int64)
    return TensorMoves(none, none, none, none)
