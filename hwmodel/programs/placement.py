"""Kernels on the cores that a step gives them: a kernel shape counts its cores from 0."""

from __future__ import annotations

from dataclasses import replace

from hwmodel.errors import KernelError
from hwmodel.machines.machine import MOST_CORES
from hwmodel.programs.isa import Instruction, Kernel, Launch, Op, Program, Ref


class PlacedKernels:
    """The kernels of a program as its steps run them, made once for each kernel and first core."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._known: dict[tuple[str, int], Kernel] = {}

    def of(self, step: int) -> Kernel:
        """The kernel of a step, its cores those of the machine; raises KernelError where there is none."""
        launch = self._program.steps[step]
        key = (launch.kernel, launch.first_core)
        if key not in self._known:
            if launch.kernel not in self._program.kernels:
                raise KernelError(
                    f"step {step} launches kernel {launch.kernel!r}, which is not in the program"
                )
            if not 0 <= launch.first_core < MOST_CORES:
                raise KernelError(
                    f"step {step}: first_core is {launch.first_core}, expected 0 to {MOST_CORES - 1}"
                )
            kernel = self._program.kernels[launch.kernel]
            self._known[key] = _shifted(kernel, launch.first_core) if launch.first_core else kernel
        return self._known[key]


def launched_cores(launch: Launch, instruction: Instruction) -> tuple[int, ...]:
    """The cores whose queues the LAUNCH of a step goes through; `instruction` is that of the placed kernel."""
    return launch.launch_cores or instruction.cores


def waits_before_launch(kernel: Kernel) -> int:
    """How many of a kernel's instructions, from the first on, wait for what its step waits for: up to its LAUNCH."""
    for index, instruction in enumerate(kernel.instructions):
        if instruction.op is Op.LAUNCH:
            return index + 1
    return len(kernel.instructions)


def instruction_refs(launch: Launch, step: int, kernel: Kernel, index: int, until: int) -> list[Ref]:
    """What instruction `index` of a step's kernel waits for, in this step and in others; the first `until` of its
    instructions wait for what the step waits for. Raises KernelError where an event is not bound."""
    instruction = kernel.instructions[index]
    refs = [Ref(step, wait) for wait in instruction.waits]
    for event in instruction.events:
        if event not in launch.events:
            raise KernelError(f"step {step}, instruction {index}: event {event!r} is not bound")
        refs.extend(launch.events[event])
    if index < until:
        refs.extend(launch.waits)
    return refs


def _shifted(kernel: Kernel, first_core: int) -> Kernel:
    return replace(kernel, instructions=tuple(_placed(each, first_core) for each in kernel.instructions))


def _placed(instruction: Instruction, first_core: int) -> Instruction:
    fields = instruction.fields
    if "targets" in fields:
        fields = {**fields, "targets": tuple(mask << first_core for mask in fields["targets"])}
    return replace(instruction, cores=tuple(core + first_core for core in instruction.cores), fields=fields)
