"""Arrays without owners: the same numbers, and no reference is kept or given up."""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodel.borrowing import borrowed
from hwmodel.compiled import compiled

Ints = NDArray[np.int64]


class Pair(NamedTuple):
    scale: int
    a: Ints
    b: Ints


@compiled
def combined(pair: Pair, table: Ints) -> Ints:
    pair, table = borrowed(pair), borrowed(table)
    result = np.zeros(pair.a.shape[0], np.int64)
    for i in range(pair.a.shape[0]):
        result[i] = pair.a[i] + pair.scale * pair.b[i] + table[0, i]
    return result


def test_borrowed_arrays_hold_the_same_numbers_and_no_references() -> None:
    rng = np.random.default_rng(0)
    a, b, table = rng.integers(100, size=5), rng.integers(100, size=5), rng.integers(100, size=(2, 5))
    before = [sys.getrefcount(array) for array in (a, b, table)]
    for _ in range(100):
        assert (combined(Pair(3, a, b), table) == a + 3 * b + table[0]).all()
    assert [sys.getrefcount(array) for array in (a, b, table)] == before
