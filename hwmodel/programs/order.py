"""Orders in which a program may run: what its waits and the queues of its engines allow.

Every instruction and every system copy has a position, counted through all steps in program order. An order
is a list of positions. Links arbitrate in time only, so they order nothing here.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hwmodel.errors import KernelError
from hwmodel.programs.isa import Instruction, Op, Program
from hwmodel.programs.placement import PlacedKernels, instruction_refs, launched_cores, waits_before_launch

# An engine: its name and its core; the system DMA is of no core.
Engine = tuple[str, int]

SYSTEM_DMA: Engine = ("system", -1)

_ENGINES = {
    Op.LAUNCH: ("matrix", "vector"),
    Op.LOAD: ("dma",),
    Op.LOADW: ("dma",),
    Op.STORE: ("dma",),
    Op.BROADCAST: ("dma",),
    Op.CONV: ("matrix",),
    Op.VECTOR: ("vector",),
    Op.MATMUL: ("matrix",),
    Op.GATHER: ("dma",),
}


@dataclass(frozen=True, slots=True)
class Position:
    """An instruction of a step's kernel or, from len(instructions) on, one of the step's system copies."""

    step: int
    index: int


def engines(instruction: Instruction) -> list[Engine]:
    """The queues that an instruction goes through, one per engine of each of its cores."""
    return [(engine, core) for engine in _ENGINES[instruction.op] for core in instruction.cores]


def positions(program: Program) -> list[Position]:
    """All instructions and system copies in program order.

    Raises KernelError where a kernel is missing, a copy is not placed inside its step, or the runs of the program's
    order do not cover its steps.
    """
    steps = [_of_step(program, step) for step in range(len(program.steps))]
    if not program.order:
        return [at for found in steps for at in found]
    result: list[Position] = []
    placed = [0] * len(steps)
    for number, run in enumerate(program.order):
        if not 0 <= run.step < len(steps):
            raise KernelError(f"run {number} of the order is of step {run.step}, which there is not")
        begin = placed[run.step]
        placed[run.step] += run.count
        if run.count < 1 or placed[run.step] > len(steps[run.step]):
            raise KernelError(
                f"run {number} of the order takes {run.count} instructions of step {run.step}, "
                f"expected 1 to {len(steps[run.step]) - begin}"
            )
        result += steps[run.step][begin : placed[run.step]]
    for step, count in enumerate(placed):
        if count != len(steps[step]):
            raise KernelError(f"the order has {count} of the {len(steps[step])} instructions of step {step}")
    return result


def _of_step(program: Program, step: int) -> list[Position]:
    """The instructions of one step with its copies between them."""
    launch = program.steps[step]
    if launch.kernel not in program.kernels:
        raise KernelError(f"step {step} launches kernel {launch.kernel!r}, which is not in the program")
    found = []
    count = len(program.kernels[launch.kernel].instructions)
    copies = sorted(range(len(launch.copies)), key=lambda i: launch.copies[i].position)
    placed = 0
    for copy in copies:
        at = launch.copies[copy].position
        if not 0 <= at <= count:
            raise KernelError(f"step {step}: copy {copy} is placed after {at} of {count} instructions")
        found += [Position(step, index) for index in range(placed, at)]
        found.append(Position(step, count + copy))
        placed = at
    return found + [Position(step, index) for index in range(placed, count)]


def predecessors(program: Program, sequence: Sequence[Position] | None = None) -> list[list[int]]:
    """For every position, the earlier ones that it waits for or that are before it in a queue of its engines.

    Raises KernelError where a wait does not point backwards or an event is not bound.
    """
    sequence = positions(program) if sequence is None else sequence
    place = {(at.step, at.index): number for number, at in enumerate(sequence)}
    last: dict[Engine, int] = {}
    result: list[list[int]] = []
    kernels = PlacedKernels(program)
    until = [waits_before_launch(kernels.of(step)) for step in range(len(program.steps))]
    for number, at in enumerate(sequence):
        launch = program.steps[at.step]
        kernel = kernels.of(at.step)
        instructions = kernel.instructions
        if at.index < len(instructions):
            instruction = instructions[at.index]
            refs = instruction_refs(launch, at.step, kernel, at.index, until[at.step])
            queues = engines(instruction)
            if instruction.op is Op.LAUNCH:
                cores = launched_cores(launch, instruction)
                queues = [(engine, core) for engine in _ENGINES[Op.LAUNCH] for core in cores]
        else:
            refs = list(launch.copies[at.index - len(instructions)].waits)
            queues = [SYSTEM_DMA]
        before = {last[queue] for queue in queues if queue in last}
        for ref in refs:
            target = place.get((ref.step, ref.index), number)
            if target >= number:
                raise KernelError(
                    f"step {at.step}, instruction {at.index} waits for instruction {ref.index} "
                    f"of step {ref.step}, which is not before it"
                )
            before.add(target)
        last.update(dict.fromkeys(queues, number))
        result.append(sorted(before))
    return result


def program_order(program: Program) -> list[int]:
    """The order in which the program lists its instructions."""
    return list(range(len(positions(program))))


def latest_first(program: Program) -> list[int]:
    """The order that always runs the allowed instruction that the program lists last."""
    return _topological(predecessors(program), lambda position: -position)


def random_order(program: Program, rng: np.random.Generator) -> list[int]:
    """An order in which each instruction has a random rank, and the lowest that is allowed runs."""
    before = predecessors(program)
    rank = rng.permutation(len(before)).tolist()
    return _topological(before, lambda position: int(rank[position]))


def _topological(before: list[list[int]], key: Callable[[int], int]) -> list[int]:
    after: list[list[int]] = [[] for _ in before]
    missing = [len(earlier) for earlier in before]
    for position, earlier in enumerate(before):
        for other in earlier:
            after[other].append(position)
    ready = [(key(position), position) for position, count in enumerate(missing) if count == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        _, position = heapq.heappop(ready)
        order.append(position)
        for other in after[position]:
            missing[other] -= 1
            if missing[other] == 0:
                heapq.heappush(ready, (key(other), other))
    return order
