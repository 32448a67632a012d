"""What the strategies share: ways to run one run of layers, and their additive cost.

The additive cost guides: it ranks. Only the simulated cost (`scheduling.problem`) decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import NamedTuple

import numpy as np

from hwmodel.timing.costs import dram_rate
from scheduling.candidates.sliced import estimate_of, isolated_of
from scheduling.choice import Choice
from scheduling.lowering.tiling import LEGAL
from scheduling.objective import Objective
from scheduling.problem import Problem

CYCLES, WEIGHT_BYTES, BORDER_BYTES = 1, 9, 10
"""Columns of figures: of the estimate."""
ISOLATED, DRAM = 11, 12
"""Columns of figures: of the isolated template."""


Run = tuple[int, int]
"""Layers [first, stop)."""


class Option(NamedTuple):
    """A legal way to run a run of layers, and its figures (13,): Estimate fields, isolated and DRAM cycles."""

    choice: Choice
    figures: tuple[int, ...]


class Options:
    """Legal choices for runs of layers, found once each; unlike CandidateSpace.at, for one end at a time."""

    def __init__(self, problem: Problem, pool: Executor | None = None) -> None:
        """`pool` has a thread that finds options while the caller's finds others."""
        self._problem = problem
        self._pool = pool
        self._known: dict[Run, tuple[Option, ...]] = {}
        self._begun: dict[Run, Future[tuple[Option, ...]]] = {}

    def of(self, first: int, stop: int) -> tuple[Option, ...]:
        """Options for layers [first, stop), least additive cost first; none where nothing fits."""
        known = self._known.get((first, stop))
        if known is None:
            begun = self._begun.pop((first, stop), None)
            # What the pool has not begun with, since no core was free, is found here without waiting for it.
            known = self._find(first, stop) if begun is None or begun.cancel() else begun.result()
            self._known[first, stop] = known
        return known

    def begin(self, runs: Sequence[Run]) -> None:
        """Let the pool find what is not known of runs of layers that will all be asked for next, but for the first of
        them, which the caller finds meanwhile; compiled code leaves the interpreter lock alone."""
        unknown = [run for run in runs if run not in self._known]
        if self._pool is not None:
            for run in unknown[1:]:
                self._begun[run] = self._pool.submit(self._find, *run)

    def _find(self, first: int, stop: int) -> tuple[Option, ...]:
        choices, figures = self._problem.space.between(first, stop)
        options = [Option(c, tuple(row)) for c, row in zip(choices, figures.tolist(), strict=True)]
        options.sort(key=lambda option: additive_cost(self._problem, option))
        return tuple(options)

    def known(self, choice: Choice) -> Option | None:
        """A given choice with its figures; None where it is not legal."""
        evaluator = self._problem.evaluator
        figures = estimate_of(evaluator, choice)
        if figures.status != LEGAL:
            return None
        times = isolated_of(evaluator, evaluator.machine_table, np.array([choice], np.int64))
        return Option(choice, (*figures, *times[0].tolist()))


def additive_cost(problem: Problem, option: Option) -> float:
    """A sub-graph's share of the objective, as if its neighbours were in the LLB, where there is one."""
    figures = option.figures
    machine = problem.evaluator.machine_table
    cycles = float(max(figures[ISOLATED], figures[DRAM]))
    if problem.objective is Objective.LATENCY:
        return cycles
    traffic = figures[DRAM] * dram_rate(machine, 0)
    if machine.llb_bytes:  # else the border is among what goes to DRAM
        traffic += figures[BORDER_BYTES]
    if problem.objective is Objective.OFF_CORE:
        return float(traffic)
    if problem.objective is Objective.ENERGY:
        return float(traffic)
    return cycles * math.sqrt(traffic + 1.0)
