"""The conversions of float16 give numpy's bits, for every float16 and for hard and random float32."""

from __future__ import annotations

import numpy as np
import pytest

from hwmodel.functional.halves import narrow, widen


def test_every_float16_is_widened() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16)
    found = widen(halves, 0, (1 << 15, 1 << 13, 1 << 5), (2, 4, 1 << 8, 1 << 5))
    expected = halves.view(np.float16).astype(np.float32)
    assert np.array_equal(found.reshape(-1).view(np.uint32), expected.view(np.uint32))


def test_floats_are_narrowed() -> None:
    rng = np.random.default_rng(0)
    widened = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32).view(np.uint32)
    anything = rng.integers(0, 1 << 32, 1 << 18, dtype=np.uint32)
    moderate = (anything & 0x807FFFFF) | rng.integers(95, 145, anything.size, dtype=np.uint32) << np.uint32(
        23
    )
    ties = moderate & np.uint32(0xFFFFF000)
    bits = np.concatenate([widened, widened + np.uint32(1), widened - np.uint32(1), anything, moderate, ties])
    with np.errstate(all="ignore"):
        expected = bits.view(np.float32).astype(np.float16).view(np.uint16)
    found = np.zeros(bits.size, np.uint16)
    narrow(bits.view(np.float32).reshape(1, 1, 1, -1), found, 0, (0, 0, bits.size))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("by_column", [3, 5])
def test_strides_are_followed(by_column: int) -> None:
    shape, strides, start = (2, 3, 4, 3), (200, 50, by_column), 7
    memory = np.random.default_rng(1).standard_normal(500).astype(np.float16)
    expected = np.array(
        np.ndarray(shape, np.float16, memory, start * 2, tuple(2 * stride for stride in (*strides, 1)))
    )
    found = widen(memory.view(np.uint16), start, strides, shape)
    assert np.array_equal(found, expected.astype(np.float32))
    other = np.zeros(500, np.uint16)
    narrow(found.transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2), other, start, strides)
    assert np.array_equal(widen(other, start, strides, shape), found)
    assert np.count_nonzero(other) == np.count_nonzero(expected)
