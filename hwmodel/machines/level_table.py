"""The inner memories of a machine as arrays: compiled code takes no pydantic model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodel.machines.machine_levels import Buffer, Levels

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class LevelTable(NamedTuple):
    """The n inner memories in the order of `Levels.inner`; rows n and n + 1 are l1 and the weight buffer.

    A part of l1's addresses ends at `input_end` where inputs and outputs share the buffer, a part of the weight
    buffer's at `weight_end`; both are 0 for the other levels, and for the outermost ones, which end it all.
    """

    inner: int  # n
    sum_bytes: int
    registers: Ints  # (n + 2,) 1 where `bytes` are those of each register
    inputs: Ints  # (n + 2,) 1 where inputs pass the level
    weights: Ints  # (n + 2,)
    outputs: Ints  # (n + 2,)
    bytes: Ints  # (n + 2,) 0 for the outermost ones
    word_bytes: Ints  # (n + 2,)
    ports: Ints  # (n + 2,)
    input_end: Ints  # (n + 2,)
    weight_end: Ints  # (n + 2,)
    read_pj: Floats  # (n + 2,) per byte
    write_pj: Floats  # (n + 2,)


@lru_cache(maxsize=32)
def level_table(levels: Levels, l1_pj: tuple[float, float], weights_pj: tuple[float, float]) -> LevelTable:
    """The arrays of inner memories, made once. `l1_pj`, `weights_pj`: picojoules of a byte read, and of one written."""
    inner, outer = levels.inner, (levels.l1, levels.weights)
    buffers = [level if isinstance(level, Buffer) else None for level in inner]

    def serves(operand: str, l1: int, weights: int) -> Ints:
        return _ints([*(operand in level.operands for level in inner), l1, weights])

    return LevelTable(
        inner=len(inner),
        sum_bytes=levels.sum_bytes,
        registers=_ints([*(buffer is None for buffer in buffers), 0, 0]),
        inputs=serves("inputs", 1, 0),
        weights=serves("weights", 0, 1),
        outputs=serves("outputs", 1, 0),
        bytes=_ints([*(level.bytes for level in inner), 0, 0]),
        word_bytes=_ints([level.word_bits // 8 for level in (*inner, *outer)]),
        ports=_ints(
            [*(2 if buffer is None else buffer.ports for buffer in buffers), *(p.ports for p in outer)]
        ),
        input_end=_ends([buffer.bytes if buffer and buffer.shared else 0 for buffer in buffers]),
        weight_end=_ends([buffer.bytes if buffer and buffer.of_weights else 0 for buffer in buffers]),
        read_pj=np.array([*(level.read_pj_per_byte for level in inner), l1_pj[0], weights_pj[0]]),
        write_pj=np.array([*(level.write_pj_per_byte for level in inner), l1_pj[1], weights_pj[1]]),
    )


def _ints(values: Sequence[int]) -> Ints:
    return np.array(values, np.int64)


def _ends(sizes: Sequence[int]) -> Ints:
    """Where the parts of an address space end that levels of these sizes have; 0 for a level that has none."""
    ends = np.cumsum(_ints([*sizes, 0, 0]))
    return np.where(_ints([*sizes, 0, 0]) > 0, ends, 0)
