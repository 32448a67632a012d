"""Whether the steps of a packing are possible on a machine, said before anything is timed."""

from __future__ import annotations

from collections.abc import Sequence

from hwmodel.machine import Machine
from scheduling.arrangement import touching
from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule
from scheduling.packing import Packing, Step
from scheduling.tables import NetworkTable


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


def check_order(net: NetworkTable, choices: Sequence[Choice], packing: Packing) -> None:
    """Raise IllegalSchedule where an instance stands before one that makes what it reads, or is apart from the one
    that leaves it something in the core."""
    place = {
        (placed.subgraph, placed.instance): number
        for number, placed in enumerate(placed for step in packing.steps for placed in step.instances)
    }
    for s, choice in enumerate(choices):
        for number in range(choice.instances if choice.consecutive else 0):
            if number % choice.slices and place[s, number] != place[s, number - 1] + 1:
                raise IllegalSchedule(
                    f"instance {number} of sub-graph {s} is not right behind the one before it"
                )
    home = [s for s, choice in enumerate(choices) for _ in range(choice.first, choice.stop)]
    pairs = {
        (home[layer], home[int(made_by)])
        for layer in range(len(home))
        for made_by in net.producer[net.edge_tensor[net.edge_start[layer] : net.edge_start[layer + 1]]]
        if made_by >= 0
    }
    for s, q in sorted(pair for pair in pairs if pair[0] != pair[1]):
        reader, source = choices[s], choices[q]
        for number in range(reader.instances):
            part = number // reader.slices
            a, b = touching(part, reader.split_batch, source.split_batch, net.batch)
            for other in range(a * source.slices, b * source.slices):
                if place[q, other] > place[s, number]:
                    raise IllegalSchedule(
                        f"instance {number} of sub-graph {s} stands before instance {other} of sub-graph {q}, "
                        "whose result it reads"
                    )
