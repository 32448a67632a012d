"""Better orders of instructions for the kernels of a schedule, each judged by the whole schedule.

For each distinct kernel, those that take most time first: list schedules by the longest chain to the end, and by the
order of lowering; with `windows`, what CP-SAT makes of the best of these (scheduling.exact.instruction_windows). Then
single instructions shift within their slack, at random, while there is budget. A kernel's time by itself says
little (weights are loaded under the kernel before), so an order stays only where the simulated schedule is faster.

Source: list scheduling by critical path (Graham, Bell System Technical Journal 1966; Giffler and Thompson, Operations
Research 1960); windows solved exactly are a large-neighbourhood search (Shaw, CP 1998).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from scheduling.choice import Choice
from scheduling.evaluator import Evaluator
from scheduling.instruction_orders import (
    InstructionOrder,
    alike_instances,
    link_slots,
    template_hazards,
)
from scheduling.lowering.hazards import Hazards
from scheduling.lowering.reordering import list_order, reordered, tails
from scheduling.lowering.tables import Ints
from scheduling.strategies.drawing import drawn
from scheduling.templates import Template, Templates
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.isolated import lone_cycles

BUDGET = 1000
"""Schedules that are simulated by default."""

MOST_INSTRUCTIONS = 12_000
"""Kernels of more instructions keep the order of lowering: hazards are looked for between all pairs."""

MOST_WINDOWED = 1000
"""Kernels of more instructions are not given to CP-SAT, which would take minutes for each."""

FARTHEST = 64
"""Places that an instruction shifts by at most."""

Windows = Callable[[Ints, Hazards, Ints, Ints], Ints]
"""Improves an order: rows, hazards, order, places of the links -> order."""


@dataclass(slots=True, eq=False)
class _Kernel:
    """A distinct kernel of the schedule: a sub-graph's instances that are lowered alike."""

    subgraph: int
    instances: tuple[int, ...]
    template: Template
    hazards: Hazards
    share: float
    order: Ints | None = None
    before: list[list[int]] = field(init=False)
    after: list[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        start, before = self.hazards.start.tolist(), self.hazards.before.tolist()
        self.before = [before[start[i] : start[i + 1]] for i in range(len(self.rows))]
        self.after = [[] for _ in self.before]
        for i, earlier in enumerate(self.before):
            for other in earlier:
                self.after[other].append(i)

    @property
    def rows(self) -> Ints:
        """(I, COLUMNS), in the order of lowering."""
        return self.template.lowered.rows


class _Found(Templates):
    """The templates of one schedule, which change in place while orders are tried."""

    def __init__(self, base: Evaluator, choices: Sequence[Choice], plan: Arrangement) -> None:
        super().__init__(base.network, base.machine)
        self._found = super().of(choices, plan)

    def of(self, choices: Sequence[Choice], plan: Arrangement) -> list[Template]:
        """The templates of the one schedule."""
        return self._found

    def indices(self, choices: Sequence[Choice], plan: Arrangement) -> Ints:
        """(N,) the template of every instance, by its place in the store."""
        return np.array([template.index for template in self._found], np.int64)


class _Trials(Evaluator):
    """The schedule and its kernels, which take one order of instructions after the other."""

    def __init__(self, base: Evaluator, choices: Sequence[Choice], plan: Arrangement) -> None:
        super().__init__(base.network, base.machine, base, _Found(base, choices, plan))
        self._choices, self._plan = tuple(choices), plan
        self.kernels: list[_Kernel] = []
        for (subgraph, _), (template, instances) in alike_instances(self, choices, plan).items():
            rows = template.lowered.rows
            if len(rows) <= MOST_INSTRUCTIONS:
                share = len(instances) * lone_cycles(self.machine_table, rows)
                must = template_hazards(self.templates, choices[subgraph], template)
                self.kernels.append(_Kernel(subgraph, instances, template, must, float(share)))

    def apply(self, kernel: _Kernel, order: Ints | None) -> None:
        """Put a kernel's instructions in an order; None for that of lowering."""
        rows = kernel.rows if order is None else reordered(kernel.rows, kernel.hazards, order)
        self.templates.store.retime(kernel.template.index, rows)

    def cycles(self) -> int:
        """Simulated cycles of the schedule as it is."""
        self._count[0] += 1
        return int(self.simulate(self._choices, self._plan)[0].makespan)


def order_instructions(
    evaluator: Evaluator,
    choices: Sequence[Choice],
    plan: Arrangement,
    *,
    budget: int = BUDGET,
    seed: int = 0,
    windows: bool = False,
) -> tuple[InstructionOrder, ...]:
    """Orders of instructions with which the schedule takes fewer cycles; none where no better ones were found.

    Simulates at most `budget` schedules. With `windows` CP-SAT is used, which needs OR-tools (ImportError).
    """
    improve = _cpsat() if windows else None
    trials = _Trials(evaluator, choices, plan)
    search = _Search(trials, evaluator.evaluations + budget)
    for kernel in sorted(trials.kernels, key=lambda each: -each.share):
        search.by_list(kernel)
    if improve is not None:
        for kernel in sorted(trials.kernels, key=lambda each: -each.share):
            search.by_windows(kernel, improve)
    search.by_shifts(np.random.default_rng(seed))
    return tuple(
        InstructionOrder(
            subgraph=kernel.subgraph, instances=kernel.instances, order=tuple(kernel.order.tolist())
        )
        for kernel in trials.kernels
        if kernel.order is not None
    )


def _cpsat() -> Windows:
    from scheduling.exact.instruction_windows import order_by_windows

    return lambda rows, hazards, order, link_slot: order_by_windows(rows, hazards, order, link_slot).order


class _Search:
    def __init__(self, trials: _Trials, last: int) -> None:
        self._trials, self._last = trials, last
        self._links = link_slots(trials.machine_table)
        self._best = trials.cycles()

    def by_list(self, kernel: _Kernel) -> None:
        """Try list schedules."""
        chain = tails(kernel.rows, kernel.hazards)
        as_lowered = -np.arange(len(kernel.rows))
        self._try(kernel, np.arange(len(kernel.rows)))
        for priority in (chain, as_lowered):
            for active in (False, True):
                self._try(kernel, list_order(kernel.rows, kernel.hazards, priority, self._links, active))

    def by_windows(self, kernel: _Kernel, improve: Windows) -> None:
        """Try what windows make of the kernel's order, and of its list schedule."""
        if len(kernel.rows) > MOST_WINDOWED:
            return
        chain = tails(kernel.rows, kernel.hazards)
        own = np.arange(len(kernel.rows)) if kernel.order is None else kernel.order
        listed = list_order(kernel.rows, kernel.hazards, chain, self._links, False)
        for order in (own, listed):
            if self._trials.evaluations < self._last:
                self._try(kernel, improve(kernel.rows, kernel.hazards, order, self._links))

    def by_shifts(self, random: np.random.Generator) -> None:
        """Shift single instructions within their slack while there is budget."""
        kernels = [kernel for kernel in self._trials.kernels if len(kernel.rows) > 2]
        if not kernels:
            return
        weights = np.array([kernel.share for kernel in kernels])
        weights /= weights.sum()
        fruitless = 0
        while self._trials.evaluations < self._last and fruitless < 10_000:
            kernel = kernels[drawn(random, weights)]
            order = _shifted(kernel, random)
            fruitless += 1
            if order is not None:
                fruitless = 0
                self._try(kernel, order, sideways=True)

    def _try(self, kernel: _Kernel, order: Ints, sideways: bool = False) -> None:
        if self._trials.evaluations >= self._last:
            return
        self._trials.apply(kernel, order)
        cycles = self._trials.cycles()
        if cycles < self._best or (sideways and cycles == self._best):
            kernel.order, self._best = order, cycles
        else:
            self._trials.apply(kernel, kernel.order)


def _shifted(kernel: _Kernel, random: np.random.Generator) -> Ints | None:
    """An order with one instruction somewhere else within its slack; None where it has none."""
    order = np.arange(len(kernel.rows)) if kernel.order is None else kernel.order
    at = int(random.integers(len(order)))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    moved = int(order[at])
    low = max((int(place[i]) + 1 for i in kernel.before[moved]), default=0)
    high = min((int(place[i]) - 1 for i in kernel.after[moved]), default=len(order) - 1)
    low, high = max(low, at - FARTHEST), min(high, at + FARTHEST)
    if low == high:
        return None
    to = int(random.integers(low, high))
    to += to >= at
    rest = np.delete(order, at)
    return np.insert(rest, to, moved)
