"""Writes what a schedule became, and checks it as it lies on the disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from graph.layering.layout import without_batch
from graph.layering.values import Value
from graph.model import Model
from hwmodel.errors import KernelError
from hwmodel.machines.machine import Machine
from hwmodel.programs.host import HostLayout
from hwmodel.programs.isa import Program
from hwmodel.programs.kernels import Weights, load_kernels, save_kernels
from hwmodel.timing.flatten import Timing, time_program
from report.output import KERNELS, OutputError
from scheduling.emission.program import program_weights
from scheduling.evaluator import Evaluation, Evaluator
from scheduling.schedule_file import Schedule
from scheduling.stored.replay import schedule_to_program
from scripts.errors import VerificationError


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """Kernels read back from their folder, and their timing."""

    program: Program
    machine: Machine
    weights: Weights
    timing: Timing


def host_layouts(model: Model) -> dict[str, HostLayout]:
    """How the model's own arrays of its inputs and outputs, by their names in the file, map to what the machine
    stores.
    """
    inputs = [model.network.tensors[index].name for index in model.network.inputs]
    values = {**{name: model.layouts[name] for name in inputs}, **model.outputs}
    return {name: _host_layout(name, value) for name, value in values.items()}


def _host_layout(name: str, value: Value) -> HostLayout:
    digits = without_batch(value.digits)
    pair = 2 if value.indices else 1
    return HostLayout(
        value.image_shape,
        tuple(digit.size for digit in digits),
        tuple(digit.stride // pair for digit in digits),
        value.indices,
        buffer=None if value.source == name else value.source,
    )


def export_kernels(
    folder: Path, model: Model, evaluator: Evaluator, schedule: Schedule, expected: Evaluation
) -> Exported:
    """Write the kernels of a schedule below `folder` and read them back.

    Raises VerificationError where the kernels' own timing and counts are not the expected ones, OutputError where they
    cannot be written.
    """
    program = schedule_to_program(evaluator, schedule)
    try:
        save_kernels(
            folder / KERNELS,
            program,
            evaluator.machine,
            program_weights(model.network),
            model.network.model_hash,
            host_layouts(model),
        )
    except KernelError as error:
        if isinstance(error.__cause__, OSError):  # a full disk says nothing about the kernels
            raise OutputError(str(error)) from error
        raise
    program, machine, weights, _ = load_kernels(folder / KERNELS)
    timing = time_program(program, machine)
    if timing.makespan_cycles != expected.cycles:
        raise VerificationError(
            f"the kernels take {timing.makespan_cycles} cycles and the schedule {expected.cycles}"
        )
    if timing.counts != expected.counts:
        raise VerificationError(f"the kernels count {timing.counts} and the schedule {expected.counts}")
    if timing.inner != expected.inner:
        raise VerificationError(f"the kernels count {timing.inner} and the schedule {expected.inner}")
    return Exported(program, machine, weights, timing)
