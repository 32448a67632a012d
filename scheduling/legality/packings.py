"""Whether the steps of a packing are possible on a machine, said before anything is timed."""

from __future__ import annotations

from collections.abc import Sequence

from hwmodel.machines.machine import Machine
from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule
from scheduling.timeline.packing import Step


def check_steps(steps: Sequence[Step], choices: Sequence[Choice], machine: Machine) -> None:
    """Raise IllegalSchedule where an instance leaves the machine's cores or does not find what the one before it left
    in the core, waves do not ascend, or two instances share a step on a machine that runs one kernel at a time."""
    first_core: dict[tuple[int, int], int] = {}
    for number, step in enumerate(steps):
        wave = 0
        if not step.instances:
            raise IllegalSchedule(f"step {number} has no instance")
        for placed in step.instances:
            name = f"step {number}: instance {placed.instance} of sub-graph {placed.subgraph}"
            if not 0 <= placed.subgraph < len(choices):
                raise IllegalSchedule(f"{name} is of a sub-graph that there is not")
            choice = choices[placed.subgraph]
            stop = placed.first_core + choice.cores
            if placed.first_core < 0 or stop > machine.cores:
                raise IllegalSchedule(
                    f"{name} is on cores {placed.first_core} to {stop - 1}, {machine.name} has {machine.cores}"
                )
            part = (placed.subgraph, placed.instance // choice.slices)
            before = first_core.setdefault(part, placed.first_core)
            if choice.consecutive and placed.first_core != before:
                raise IllegalSchedule(
                    f"{name} begins at core {placed.first_core}, expected {before}, where the instance before it left "
                    "what it uses"
                )
            if placed.wave < wave:
                raise IllegalSchedule(f"{name} is in wave {placed.wave}, behind one of wave {wave}")
            wave = placed.wave
            if not machine.concurrent_kernels and (len(step.instances) > 1 or placed.first_core):
                raise IllegalSchedule(
                    f"{name} is one of {len(step.instances)}, from core {placed.first_core} on; "
                    f"{machine.name} runs one kernel at a time, from core 0 on"
                )
