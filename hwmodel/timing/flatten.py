"""A Program as flat integer arrays in program order, with every wait resolved, and its time and energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodel.errors import KernelError
from hwmodel.machines.machine import Machine
from hwmodel.programs.isa import Instruction, Kernel, Op, Program
from hwmodel.programs.order import Position, positions
from hwmodel.programs.placement import PlacedKernels, instruction_refs, waits_before_launch
from hwmodel.timing.counts import NO_INNER, Counts, InnerCounts, total, total_inner
from hwmodel.timing.energy import energy_pj
from hwmodel.timing.instruction_cost import Cost, copy_cost, instruction_cost, launch_cost
from hwmodel.timing.recurrence import simulate
from hwmodel.timing.resources import resource_count

Ints = NDArray[np.int64]

MOST_CYCLES = 1 << 62
"""More, one after the other, would not fit 64 bits."""


@dataclass(frozen=True, slots=True)
class FlatProgram:
    """I instructions and system copies in program order: the arguments of `hwmodel.timing.recurrence.simulate`.

    `positions[i]` says which instruction of which step i is; `resources` is how many the machine has.
    """

    latency: Ints
    resource_ptr: Ints
    resource_index: Ints
    resource_hold: Ints
    wait_ptr: Ints
    wait_index: Ints
    positions: tuple[Position, ...]
    resources: int
    counts: Counts
    inner: InnerCounts = NO_INNER


@dataclass(frozen=True, slots=True)
class Timing:
    """What a program takes: cycles, start and finish of each instruction of `flat` (I,), counts, energy."""

    makespan_cycles: int
    start: Ints
    finish: Ints
    counts: Counts
    energy_pj: float
    flat: FlatProgram

    @property
    def inner(self) -> InnerCounts:
        """What the inner memories move."""
        return self.flat.inner


def flatten(program: Program, machine: Machine) -> FlatProgram:
    """Flatten a program: the instructions of each step with its copies between them, step after step.

    Raises KernelError, naming step and instruction, where a wait does not point backwards in that order, an
    event is not bound, an instruction is wrong in itself, or all of them take more cycles than 64 bits hold.
    """
    order = positions(program)
    kernels = PlacedKernels(program)
    kernel_costs: dict[tuple[str, int], list[Cost]] = {}
    for number, step in enumerate(program.steps):
        if (step.kernel, step.first_core) not in kernel_costs:
            kernel_costs[step.kernel, step.first_core] = _kernel_costs(kernels.of(number), machine)
    until = [waits_before_launch(kernels.of(number)) for number in range(len(program.steps))]
    place = {(at.step, at.index): i for i, at in enumerate(order)}
    costs: list[Cost] = []
    wait_ptr, wait_index = [0], list[int]()
    for i, at in enumerate(order):
        step = program.steps[at.step]
        kernel = kernels.of(at.step)
        if at.index >= len(kernel.instructions):
            costs.append(_copy_cost(program, at, machine))
            refs = list(step.copies[at.index - len(kernel.instructions)].waits)
        else:
            instruction = kernel.instructions[at.index]
            if instruction.op is Op.LAUNCH:
                costs.append(_launch_cost(program, at, machine, instruction))
            else:
                costs.append(kernel_costs[step.kernel, step.first_core][at.index])
            refs = instruction_refs(step, at.step, kernel, at.index, until[at.step])
        for ref in refs:
            target = place.get((ref.step, ref.index), i)
            if target >= i:
                raise KernelError(
                    f"step {at.step}, instruction {at.index} waits for instruction {ref.index} of step "
                    f"{ref.step}, which is not before it"
                )
            wait_index.append(target)
        wait_ptr.append(len(wait_index))
    if sum(cost.latency_cycles for cost in costs) > MOST_CYCLES:
        raise KernelError(f"the program's instructions take more than {MOST_CYCLES} cycles")
    lengths = np.array([0, *(len(cost.holds) for cost in costs)], np.int64)
    holds = np.array([hold for cost in costs for hold in cost.holds], np.int64).reshape(-1, 2)
    return FlatProgram(
        latency=np.array([cost.latency_cycles for cost in costs], np.int64),
        resource_ptr=np.cumsum(lengths),
        resource_index=np.ascontiguousarray(holds[:, 0]),
        resource_hold=np.ascontiguousarray(holds[:, 1]),
        wait_ptr=np.array(wait_ptr, np.int64),
        wait_index=np.array(wait_index, np.int64),
        positions=tuple(order),
        resources=resource_count(machine.cores),
        counts=total(cost.counts for cost in costs),
        inner=total_inner(cost.inner for cost in costs),
    )


def time_program(program: Program, machine: Machine) -> Timing:
    """Simulate a program's timing from a machine at rest; raises KernelError as `flatten` does."""
    flat = flatten(program, machine)
    start, finish = np.zeros_like(flat.latency), np.zeros_like(flat.latency)
    makespan = simulate(
        flat.latency,
        flat.resource_ptr,
        flat.resource_index,
        flat.resource_hold,
        flat.wait_ptr,
        flat.wait_index,
        np.zeros(flat.resources, np.int64),
        start,
        finish,
    )
    energy = energy_pj(flat.counts, machine, flat.inner)
    return Timing(int(makespan), start, finish, flat.counts, energy, flat)


def _kernel_costs(kernel: Kernel, machine: Machine) -> list[Cost]:
    costs = []
    for index, instruction in enumerate(kernel.instructions):
        try:
            costs.append(instruction_cost(machine, kernel.symbols, instruction))
        except KernelError as error:
            raise KernelError(f"kernel {kernel.name}, instruction {index}: {error}") from error
    return costs


def _copy_cost(program: Program, at: Position, machine: Machine) -> Cost:
    step = program.steps[at.step]
    number = at.index - len(program.kernels[step.kernel].instructions)
    try:
        return copy_cost(machine, step.copies[number])
    except KernelError as error:
        raise KernelError(f"step {at.step}, copy {number}: {error}") from error


def _launch_cost(program: Program, at: Position, machine: Machine, instruction: Instruction) -> Cost:
    try:
        return launch_cost(machine, program.steps[at.step], instruction)
    except KernelError as error:
        raise KernelError(f"step {at.step}: {error}") from error
