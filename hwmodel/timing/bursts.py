"""Bursts: DRAM moves whole bursts, so every contiguous run of bytes of a transfer is rounded up to them.

Runs are those of one core in one instruction: dimensions whose stride is what lies inside them join into one. That a
run may begin in the middle of a burst is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable


def rounded_bytes(size_bytes: int, burst_bytes: int) -> int:
    """A run's bytes in whole bursts."""
    return -(-size_bytes // burst_bytes) * burst_bytes


def bytes_in_bursts(run_bytes: int, dimensions: Iterable[tuple[int, int]], burst_bytes: int) -> int:
    """Bytes on the link of a box of runs of `run_bytes`; `dimensions` are (extent, stride in bytes) in any order."""
    count, joined = 1, True
    for extent, stride in sorted(dimensions, key=lambda dimension: dimension[1]):
        if extent == 1:
            continue
        joined = joined and stride == run_bytes
        if joined:
            run_bytes *= extent
        else:
            count *= extent
    return count * rounded_bytes(run_bytes, burst_bytes)
