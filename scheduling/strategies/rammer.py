"""`rammer`: operators in breadth-first waves, co-scheduled on disjoint cores in one launch (Rammer, OSDI'20).

Every layer is a sub-graph, an rOperator; the rTask of a core is its share of the layer's instructions. A wave holds the
layers whose producers are all in earlier waves. A wave joins the current program (a step) if the simulated time of
both together is no more than the sum apart; else the current program is emitted and the wave starts a new one. In a
wave every layer has its fastest kernel, unless these fill the cores; then the most efficient ones (least time x
cores) are tried, and kept if better. A layer goes to the range of cores that can start it first.

Inferred: in the original a core takes rTasks of many operators one by one, where here a layer holds its cores as a
whole, so a third set of kernels is tried for a full wave, in which each has the cores that its work is a share of. Of a
program only the last WINDOW layers are simulated when a wave may join it, since what ran long before has ended.
Of a wave the longest layers are placed first. A layer that fits only in slices has its instances follow one another on
the same cores. The result is compared with one layer at a time, and then never worse;
that and both orders of instructions are three simulated schedules, of which a smaller budget leaves out the last.

`rammer_barriers` waits for whole waves at a barrier instead of for the stores that are read; `rammer_base` is one
layer at a time on its fastest kernel, each a launch of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scheduling.choice import Choice
from scheduling.core_groups.core_ranges import CoreRanges
from scheduling.errors import UnsupportedDecision
from scheduling.lowering.tables import NetworkTable
from scheduling.problem import Problem, simulated_cost
from scheduling.rules import Rules
from scheduling.strategies.rammer_kernels import LayerKernel, LayerKernels
from scheduling.strategies.rammer_programs import StepSimulator
from scheduling.timeline.arrangement import WEIGHTS_RELOADED
from scheduling.timeline.instance_order import BREADTH_FIRST
from scheduling.timeline.packing import AS_BARRIERS, BARRIERS, EARLIEST, Packing, Placement, Step

WINDOW = 64
"""So many of the last layers of a program stand for it where it is decided whether a wave joins it."""

RULES = Rules(order=BREADTH_FIRST, weights=WEIGHTS_RELOADED, prefetch=0)


def rammer(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """Waves of layers side by side in a launch, each layer waiting for what it reads."""
    choices, packing = _programs(problem)
    tried = [
        (choices, replace(RULES, packing=replace(packing, merge=EARLIEST))),
        rammer_base(problem),
        (choices, replace(RULES, packing=replace(packing, merge=AS_BARRIERS))),
    ]
    within = tried[: problem.budget]
    return within[0] if len(within) == 1 else min(within, key=lambda found: simulated_cost(problem, *found))


def rammer_barriers(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """The waves of `rammer`, with barriers between them."""
    choices, packing = _programs(problem)
    steps = tuple(replace(step, sync=BARRIERS) for step in packing.steps)
    return choices, replace(RULES, packing=Packing(steps))


def rammer_base(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """One layer at a time, each in its fastest kernel."""
    _check(problem)
    kernels = LayerKernels(problem)
    cores = problem.evaluator.machine.cores
    return tuple(kernels.fastest(layer, cores).choice for layer in range(problem.space.layers)), RULES


def breadth_first_waves(table: NetworkTable) -> list[list[int]]:
    """The layers in waves: each is in the first wave after those of all that it reads."""
    depth: list[int] = []
    waves: list[list[int]] = []
    for layer in range(len(table.is_matrix)):
        read = table.edge_tensor[table.edge_start[layer] : table.edge_start[layer + 1]]
        made_by = [int(made) for made in table.producer[read] if made >= 0]
        depth.append(1 + max((depth[made] for made in made_by), default=-1))
        if depth[layer] == len(waves):
            waves.append([])
        waves[depth[layer]].append(layer)
    return waves


@dataclass(frozen=True, slots=True)
class _Member:
    """A layer of a program: its kernel, its place, and when it is estimated to end."""

    kernel: LayerKernel
    first_core: int
    wave: int
    end: int

    @property
    def placements(self) -> list[Placement]:
        """Its instances, one after the other on its cores."""
        choice = self.kernel.choice
        return [Placement(choice.first, k, self.first_core, self.wave) for k in range(choice.instances)]


class _Cores:
    """When each core is estimated to be free, and each layer of the program to have ended."""

    def __init__(self, table: NetworkTable, count: int) -> None:
        self._table = table
        self._ranges = CoreRanges(count)
        self._end: dict[int, int] = {}

    def copy(self) -> _Cores:
        other = _Cores(self._table, 0)
        other._ranges = self._ranges.copy()
        other._end = dict(self._end)
        return other

    def place(self, kernel: LayerKernel, wave: int) -> _Member:
        """Put a layer on the cores that can start it first, of equal ones the lowest."""
        layer = kernel.choice.first
        table = self._table
        read = table.edge_tensor[table.edge_start[layer] : table.edge_start[layer + 1]]
        ready = max((self._end.get(int(made), 0) for made in table.producer[read]), default=0)
        given = self._ranges.place(kernel.cores, ready, kernel.cycles)
        self._end[layer] = given.end
        return _Member(kernel, given.first_core, wave, given.end)


def _programs(problem: Problem) -> tuple[tuple[Choice, ...], Packing]:
    """The policy: kernels of all layers, and the programs that hold them."""
    _check(problem)
    table, cores = problem.evaluator.table, problem.evaluator.machine.cores
    kernels, simulator = LayerKernels(problem), StepSimulator(problem.evaluator)
    programs: list[list[_Member]] = []
    state = _Cores(table, cores)
    wave_number = 0
    for wave in breadth_first_waves(table):
        sets = _kernel_sets(kernels, wave, cores)
        alone = min((_trial(simulator, (), chosen, _Cores(table, cores), 0) for chosen in sets), key=_cycles)
        if programs:
            current = programs[-1]
            tail = _tail(current)
            joined = min(
                (_trial(simulator, tail, chosen, state.copy(), wave_number) for chosen in sets), key=_cycles
            )
            if joined[0] <= _time(simulator, tail) + alone[0]:
                current += joined[1]
                state = joined[2]
                wave_number += 1
                continue
        programs.append(list(alone[1]))
        state = alone[2]
        wave_number = 1
    members = sorted(
        (member for program in programs for member in program), key=lambda m: m.kernel.choice.first
    )
    steps = tuple(_step(program) for program in programs)
    return tuple(member.kernel.choice for member in members), Packing(steps)


_Trial = tuple[int, list[_Member], _Cores]
"""Cycles of some layers and a wave behind them, the wave's members, and the cores after it."""


def _cycles(trial: _Trial) -> int:
    return trial[0]


def _kernel_sets(kernels: LayerKernels, wave: Sequence[int], cores: int) -> list[list[LayerKernel]]:
    """The sets of kernels that are tried for a wave, longest layers first: the fastest, and where these fill the cores
    the most efficient and those that share the cores by work."""
    fastest = [kernels.fastest(layer, cores) for layer in wave]
    sets = [fastest]
    if len(wave) > 1 and sum(kernel.cores for kernel in fastest) >= cores:
        efficient = [kernels.most_efficient(layer) for layer in wave]
        sets.append(efficient)
        work = [kernel.cycles * kernel.cores for kernel in efficient]
        shares = [max(1, cores * each // max(1, sum(work))) for each in work]
        sets.append([kernels.fastest(layer, share) for layer, share in zip(wave, shares, strict=True)])
    return [sorted(chosen, key=lambda kernel: -kernel.cycles) for chosen in sets]


def _tail(program: Sequence[_Member]) -> list[_Member]:
    """The last waves of a program, of at least WINDOW layers where it has as many."""
    if len(program) <= WINDOW:
        return list(program)
    first_wave = program[-WINDOW].wave
    return [member for member in program if member.wave >= first_wave]


def _trial(
    simulator: StepSimulator,
    before: Sequence[_Member],
    wave: Sequence[LayerKernel],
    state: _Cores,
    number: int,
) -> _Trial:
    members = [state.place(kernel, number) for kernel in wave]
    return _time(simulator, [*before, *members]), members, state


def _time(simulator: StepSimulator, members: Sequence[_Member]) -> int:
    return simulator.cycles([_step(members)], [member.kernel.choice for member in members])


def _step(members: Sequence[_Member]) -> Step:
    return Step(tuple(placement for member in members for placement in member.placements))


def _check(problem: Problem) -> None:
    machine = problem.evaluator.machine
    if not machine.concurrent_kernels:
        raise UnsupportedDecision(
            f"rammer packs kernels side by side, and {machine.name} runs one kernel at a time"
        )
