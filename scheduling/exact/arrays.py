"""Lists of indices as arrays, for compiled code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scheduling.exact.memory_search import Words
from scheduling.lowering.tables import Ints


def concatenated(lists: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """Where each list starts (one more than lists), and the lists one after the other."""
    start = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    return start, np.array([value for values in lists for value in values], np.int64)


def bit_rows(lists: Sequence[Sequence[int]], words: int) -> Words:
    """(lists, words) each list as a set of bits."""
    rows = np.zeros((len(lists), words), np.uint64)
    for row, values in zip(rows, lists, strict=True):
        for value in values:
            row[value >> 6] |= np.uint64(1) << np.uint64(value & 63)
    return rows
