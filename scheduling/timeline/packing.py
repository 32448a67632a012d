"""Packing: several instances in one step, each on a range of cores, where the machine runs kernels concurrently.

A step is one launch. Its instances run in list order on the cores that they share, and interleave on others; they
may depend on each other. In Rammer's words (OSDI'20) a step is an rProgram, an instance an rOperator, and what one
core does of it an rTask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from scheduling.lowering.tables import Ints

WAITS, BARRIERS = 0, 1
"""How the instances of a step wait for each other: for the stores that they read; or, besides, every instance of a
wave for all of the waves before it, and then for the machine's barrier."""

EARLIEST, AS_BARRIERS = 0, 1
"""How the instructions of a step's instances are merged into one program order: always the one that can start first,
the earlier instance on a tie; or in the order that this gives if every step had barriers. Since the times of a given
program order only fall when waits are left out, the second makes a step with waits never slower than with barriers."""


class Placement(NamedTuple):
    """One instance of a step: which, its first core (its binding says how many), and its wave in the step."""

    subgraph: int
    instance: int
    first_core: int = 0
    wave: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """Instances of one launch, waves in ascending order; `sync` is WAITS or BARRIERS."""

    instances: tuple[Placement, ...]
    sync: int = WAITS


@dataclass(frozen=True, slots=True)
class Packing:
    """The steps of a whole schedule in order; `merge` is EARLIEST or AS_BARRIERS."""

    steps: tuple[Step, ...]
    merge: int = EARLIEST

    @property
    def concurrent(self) -> bool:
        """Whether anything is packed: not where every step is one instance from core 0 on."""
        return any(len(step.instances) != 1 or step.instances[0].first_core for step in self.steps)


class PackedOrder(NamedTuple):
    """A packing as arrays over its N instances in order; without instances where nothing is packed.

    `when` counts the waves of all steps: what is read in one wave and made in a later one may share memory.
    """

    step: Ints  # (N,)
    first_core: Ints  # (N,)
    when: Ints  # (N,)
    barrier: Ints  # (N,) 1 where the step of the instance has barriers
    as_barriers: int


def packed_order(steps: Sequence[Step], merge: int) -> PackedOrder:
    """The arrays of a packing."""
    step, first_core, when, barrier = list[int](), list[int](), list[int](), list[int]()
    now = -1
    for number, packed in enumerate(steps):
        wave = None
        for placement in packed.instances:
            now += placement.wave != wave
            wave = placement.wave
            step.append(number)
            first_core.append(placement.first_core)
            when.append(now)
            barrier.append(packed.sync)
    return PackedOrder(
        np.array(step, np.int64),
        np.array(first_core, np.int64),
        np.array(when, np.int64),
        np.array(barrier, np.int64),
        merge,
    )


def nothing_packed() -> PackedOrder:
    """Of a schedule with one instance a step."""
    none = np.empty(0, np.int64)
    return PackedOrder(none, none, none, none, EARLIEST)
