"""Legality of the moves of an arrangement, checked the plain way, with reasons."""

from __future__ import annotations

from collections.abc import Sequence

from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.residence import STAYS, Residence


def check_moves(
    evaluator: Evaluator,
    choices: Sequence[Choice],
    plan: Arrangement,
    when_of: dict[tuple[int, int], int],
    readers: dict[int, list[int]],
) -> None:
    """Raise IllegalSchedule unless the machine can do the moves, each takes a slice that is there and is not moved at
    its wave already, those to the LLB are read, and every reader finds its slices in one memory. `when_of`: the wave of
    each (sub-graph, instance); `readers`: of each tensor, the places in the order that read it from outside."""
    moves = plan.moves
    if not len(moves.when):
        return
    network, producer = evaluator.network, evaluator.table.producer
    if evaluator.machine.system_dma is None:
        raise IllegalSchedule(
            f"tensors move between the LLB and DRAM, expected none where the machine ({evaluator.machine.name}) "
            "has no system DMA to copy them"
        )
    order = [
        (when, address >= 0)
        for when, address in zip(moves.when.tolist(), moves.address.tolist(), strict=True)
    ]
    if order != sorted(order):
        raise IllegalSchedule("the moves do not ascend by wave, those to DRAM first")
    waves = int(plan.when[-1]) + 1
    residence = Residence(evaluator.table, choices, plan)
    home = {layer: s for s, choice in enumerate(choices) for layer in range(choice.first, choice.stop)}
    served = {
        residence.move_before(int(plan.when[k]), tensor, part)
        for tensor in residence.moved
        for k in readers.get(tensor, [])
        for part in residence.touched(k, tensor)
    }
    for i, (when, tensor, part, address) in enumerate(
        zip(*(values.tolist() for values in moves), strict=True)
    ):
        name = f"move {i}: slice {part} of the batch of tensor {network.tensors[tensor].name}"
        if tensor in network.constants:
            raise IllegalSchedule(f"{name} is one of a constant, which stays in DRAM")
        if not 0 <= part < residence.parts(tensor):
            raise IllegalSchedule(f"{name}, of which there are {residence.parts(tensor)}")
        if not 0 <= when <= waves:
            raise IllegalSchedule(f"{name} moves at wave {when}, expected 0 to {waves}")
        before = residence.move_before(when - 1, tensor, part)
        if residence.move_before(when, tensor, part) != i:
            raise IllegalSchedule(f"{name} moves twice at wave {when}")
        from_llb = bool(plan.in_llb[tensor] if before == STAYS else moves.address[before] >= 0)
        if from_llb == (address >= 0):
            raise IllegalSchedule(f"{name} moves to {'the LLB' if from_llb else 'DRAM'}, where it is")
        if producer[tensor] >= 0:
            s = home[int(producer[tensor])]
            own = range(part * choices[s].slices, (part + 1) * choices[s].slices)
            made = max(when_of[s, number] for number in own)
            if made >= when:
                raise IllegalSchedule(f"{name} moves at wave {when}, and is made in wave {made}")
        if address >= 0 and i not in served:
            raise IllegalSchedule(f"{name} moves to the LLB at wave {when}, where nothing reads it")
    for tensor in sorted(residence.moved):
        for k in readers.get(tensor, []):
            residence.place(k, tensor)
