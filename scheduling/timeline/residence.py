"""Where each instance finds what it reads, in an arrangement that moves tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule
from scheduling.lowering.tables import NetworkTable
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.slices import touching

STAYS = -1
"""In place of a move: none has moved a slice yet."""


class Place(NamedTuple):
    """Where an instance reads a tensor, and in which slices of the batch and the rows it lies there."""

    in_llb: int
    source_batch: int
    source_rows: int


class Residence:
    """What the moves of an arrangement mean for those that read the moved tensors."""

    def __init__(self, net: NetworkTable, choices: Sequence[Choice], plan: Arrangement) -> None:
        self._net = net
        self._choices = choices
        self._plan = plan
        self._home = {
            layer: s for s, choice in enumerate(choices) for layer in range(choice.first, choice.stop)
        }
        self._moves: dict[int, dict[int, list[tuple[int, int]]]] = {}
        moves = plan.moves
        for i, (when, tensor, part) in enumerate(
            zip(moves.when.tolist(), moves.tensor.tolist(), moves.part.tolist(), strict=True)
        ):
            self._moves.setdefault(tensor, {}).setdefault(part, []).append((when, i))

    @property
    def moved(self) -> frozenset[int]:
        """Tensors that move."""
        return frozenset(self._moves)

    def parts(self, tensor: int) -> int:
        """Slices of the batch in which a tensor is made, and moves."""
        return self._source(tensor).split_batch if self._net.producer[tensor] >= 0 else 1

    def touched(self, instance: int, tensor: int) -> range:
        """Slices of the batch of a tensor that an instance (by its place in the order) reads."""
        choice = self._choices[self._plan.subgraph[instance]]
        part = int(self._plan.instance[instance]) // choice.slices
        return range(*touching(part, choice.split_batch, self.parts(tensor), self._net.batch))

    def move_before(self, when: int, tensor: int, part: int) -> int:
        """The last move of a slice that stands at a wave or before it, or STAYS."""
        found = STAYS
        for at, move in self._moves.get(tensor, {}).get(part, []):
            if at <= when:
                found = move
        return found

    def first_move(self, tensor: int, part: int) -> int | None:
        """When a slice first moves, None where it never does."""
        found = self._moves.get(tensor, {}).get(part)
        return found[0][0] if found else None

    def place(self, instance: int, tensor: int) -> Place:
        """Where an instance reads a tensor. Raises IllegalSchedule where its slices lie in several ways."""
        when = int(self._plan.when[instance])
        found = {
            self._place_after(tensor, self.move_before(when, tensor, part)): part
            for part in self.touched(instance, tensor)
        }
        if len(found) > 1:
            (one, a), (other, b) = list(found.items())[:2]
            raise IllegalSchedule(
                f"instance {instance} of the order reads slice {a} of the batch of tensor {tensor} from "
                f"{_name(one)} and slice {b} from {_name(other)}, expected one memory and one way of lying there"
            )
        return next(iter(found))

    def _place_after(self, tensor: int, move: int) -> Place:
        plan = self._plan
        if move == STAYS:
            made_in = int(plan.in_llb[tensor])
            return Place(made_in, int(plan.source_batch[tensor]), int(plan.source_rows[tensor]))
        if plan.moves.address[move] < 0:
            return Place(0, 1, 1)
        return Place(1, self.parts(tensor), 1)

    def _source(self, tensor: int) -> Choice:
        return self._choices[self._home[int(self._net.producer[tensor])]]


def _name(place: Place) -> str:
    if not place.in_llb:
        return "DRAM"
    return "the LLB" if place.source_rows == 1 else f"the LLB, in {place.source_rows} slices of rows"
