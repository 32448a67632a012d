"""The timing simulator: one recurrence over instructions in program order.

An instruction starts when all its resources are free and all that it waits for has finished; it then holds
each resource for a time of its own and finishes after its latency. Resources serve in program order.

Written for the compiler: unsigned indices spare it numpy's negative ones, and the maximum over the resources
runs in two chains so that loads overlap. Together they are worth a factor of five with eight cores in an
instruction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwmodel.compiled import compiled

Ints = NDArray[np.int64]

_ONE, _TWO = np.uint64(1), np.uint64(2)


@compiled
def simulate(
    latency: Ints,
    resource_ptr: Ints,
    resource_index: Ints,
    resource_hold: Ints,
    wait_ptr: Ints,
    wait_index: Ints,
    free: Ints,
    start_out: Ints,
    finish_out: Ints,
) -> int:
    """Start and finish of I instructions; returns the latest finish (0 without instructions). All in cycles.

    Instruction i takes `latency[i]` (I,), holds `resource_index[k]` for `resource_hold[k]`, k from
    `resource_ptr[i]` to `resource_ptr[i + 1]` (I + 1,), and waits for the earlier `wait_index[k]`, with
    `wait_ptr` likewise; both pointers start at 0. A resource appears at most once in an instruction. `free`
    (resources,) is when each resource is free, before and, changed in place, after. `start_out` and
    `finish_out` (I,) are written. Indices are not checked: `hwmodel.timing.flatten` makes arrays that are right.
    """
    makespan = np.int64(0)
    k = np.uint64(0)  # into the resources
    w = np.uint64(0)  # into the waits
    i = np.uint64(0)
    instructions = np.uint64(latency.shape[0])
    while i < instructions:
        start, other = np.int64(0), np.int64(0)
        first, stop = k, np.uint64(resource_ptr[i + _ONE])
        while k + _ONE < stop:
            start = max(start, free[np.uint64(resource_index[k])])
            other = max(other, free[np.uint64(resource_index[k + _ONE])])
            k += _TWO
        if k < stop:
            start = max(start, free[np.uint64(resource_index[k])])
        last = np.uint64(wait_ptr[i + _ONE])
        while w < last:
            other = max(other, finish_out[np.uint64(wait_index[w])])
            w += _ONE
        start = max(start, other)
        k = first
        while k < stop:
            free[np.uint64(resource_index[k])] = start + resource_hold[k]
            k += _ONE
        finish = start + latency[i]
        start_out[i] = start
        finish_out[i] = finish
        makespan = max(makespan, finish)
        i += _ONE
    return int(makespan)
