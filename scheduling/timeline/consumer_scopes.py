"""Scopes for each consumer: from where each of them is to read a tensor, to the moves and places that do it.

A tensor that does not stay in one memory for life is cut into stays. It is made in the LLB (unless the rules keep it
out of there), leaves for DRAM right behind the last reader of a stay, and comes back right before the first reader of
the next one. Slices of the batch move by themselves; each lies in one piece while it is in the LLB.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule
from scheduling.exact.addresses import Answer, Buffer, address_assignment
from scheduling.lowering.tables import NEVER, Ints, NetworkTable
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.slices import touching
from scheduling.timeline.tensor_moves import TensorMoves

KEPT, FROM_DRAM, COPIED_BACK = 0, 1, 2
"""How a layer gets a tensor: where the reader before did; or the tensor has left the LLB, or leaves it now, and the
layer reads from DRAM, or a copy brings it back."""

DRAM = -1
"""In place of an address: a move to DRAM."""


class TensorRead(NamedTuple):
    """How a layer reads a tensor from outside its sub-graph; readers that none is about find it where the one before
    did."""

    tensor: int
    layer: int
    how: int


class Stay(NamedTuple):
    """A slice of the batch of a tensor in the LLB, from one wave to another, both included."""

    tensor: int
    part: int
    begin: int
    end: int
    made: bool  # where it is made, or brought by a move at `begin`


class _Leave(NamedTuple):
    when: int
    tensor: int
    part: int


class Stays(NamedTuple):
    """All that tensors cut into stays do."""

    stays: list[Stay]
    leaves: list[_Leave]


class Order(NamedTuple):
    """Instances in order: sub-graph, number and wave of each."""

    subgraph: Sequence[int]
    instance: Sequence[int]
    when: Sequence[int]


class Lives:
    """When the sub-graphs of a schedule make and read each tensor."""

    def __init__(self, net: NetworkTable, choices: Sequence[Choice], order: Order) -> None:
        self._net = net
        self._choices = choices
        self.home = [s for s, choice in enumerate(choices) for _ in range(choice.first, choice.stop)]
        self._when: dict[
            tuple[int, int], list[int]
        ] = {}  # of the instances of a slice of a sub-graph's batch
        for s, number, wave in zip(order.subgraph, order.instance, order.when, strict=True):
            self._when.setdefault((s, number // choices[s].slices), []).append(wave)
        self._readers: dict[int, set[int]] = {}
        for layer, s in enumerate(self.home):
            for tensor in net.edge_tensor[net.edge_start[layer] : net.edge_start[layer + 1]].tolist():
                if self._maker(tensor) != s:
                    self._readers.setdefault(tensor, set()).add(s)

    def readers(self, tensor: int) -> list[int]:
        """Sub-graphs that read a tensor from outside, the first to begin first."""
        found = self._readers.get(tensor, set())
        return sorted(found, key=lambda s: (min(self._when[s, 0]), s))

    def made(self, tensor: int, part: int) -> list[int]:
        """When a slice of the batch of a tensor is made, nothing of a graph input."""
        maker = self._maker(tensor)
        return self._when[maker, part] if maker is not None else []

    def parts(self, tensor: int) -> int:
        """Slices of the batch in which a tensor is made, and moves."""
        maker = self._maker(tensor)
        return self._choices[maker].split_batch if maker is not None else 1

    def slice_elements(self, tensor: int, part: int) -> int:
        """Elements of a slice of the batch of a tensor."""
        net, parts = self._net, self.parts(tensor)
        images = net.batch * (part + 1) // parts - net.batch * part // parts
        return int(
            images * net.tensor_rows[tensor] * net.tensor_columns[tensor] * net.tensor_channels[tensor]
        )

    def uses(self, tensor: int, part: int) -> list[tuple[int, int, int]]:
        """First and last wave in which each sub-graph reads a slice of the batch of a tensor, and the sub-graph; the
        first to begin first."""
        found = []
        for s in self.readers(tensor):
            split = self._choices[s].split_batch
            touched = range(*touching(part, self.parts(tensor), split, self._net.batch))
            waves = [wave for other in touched for wave in self._when[s, other]]
            found.append((min(waves), max(waves), s))
        return sorted(found)

    def stays(self, tensor: int, how: Mapping[int, int], made_in_llb: bool) -> Stays:
        """The stays of a tensor that sub-graphs read so (those that are not named, as KEPT)."""
        found = Stays([], [])
        for part in range(self.parts(tensor)):
            uses = [(first, last, how.get(s, KEPT)) for first, last, s in self.uses(tensor, part)]
            made = self.made(tensor, part) if made_in_llb else []
            gone = len(found.leaves)
            _cut(found, tensor, part, made, uses)
            if made and len(found.leaves) == gone and self._net.last_use[tensor] == NEVER:
                found.leaves.append(_Leave(found.stays[-1].end + 1, tensor, part))
        return found

    def _maker(self, tensor: int) -> int | None:
        made_by = int(self._net.producer[tensor])
        return self.home[made_by] if made_by >= 0 else None


def stays_of(lives: Lives, reads: Iterable[TensorRead], outside: Collection[int]) -> Stays:
    """The stays of the tensors that `reads` name; those in `outside` are made in DRAM. A read that would make a tensor
    leave and come back within one wave changes nothing."""
    how: dict[int, dict[int, int]] = {}
    for read in sorted(reads):
        how.setdefault(read.tensor, {}).setdefault(lives.home[read.layer], read.how)
    found = Stays([], [])
    for tensor, of_subgraph in how.items():
        stays, leaves = lives.stays(tensor, of_subgraph, tensor not in outside)
        found.stays.extend(stays)
        found.leaves.extend(leaves)
    return found


def _cut(
    found: Stays, tensor: int, part: int, made: Sequence[int], uses: Sequence[tuple[int, int, int]]
) -> None:
    """Add the stays of a slice, made in the LLB in the waves `made` (none: in DRAM), and read in `uses`: first and last
    wave of each sub-graph, and how."""
    stay = Stay(tensor, part, min(made), max(made), True) if made else None
    for first, last, how in uses:
        if stay is not None and (how == KEPT or first <= stay.end + (how == COPIED_BACK)):
            stay = stay._replace(end=max(stay.end, last))
            continue
        if stay is not None:
            found.stays.append(stay)
            found.leaves.append(_Leave(stay.end + 1, tensor, part))
            stay = None
        if how == COPIED_BACK:
            stay = Stay(tensor, part, first, last, False)
    if stay is not None:
        found.stays.append(stay)


def place_stays(sizes: Sequence[int], stays: Sequence[Stay], capacity_bytes: int) -> list[int]:
    """An address in the LLB for each stay. Raises IllegalSchedule where none are found."""
    buffers = [Buffer(stay.begin, stay.end + 1, size) for stay, size in zip(stays, sizes, strict=True)]
    found = address_assignment(buffers, capacity_bytes)
    if found.answer != Answer.FOUND:
        raise IllegalSchedule(
            f"{len(stays)} stays of tensors have no places in the LLB of {capacity_bytes} bytes: {found.answer.value}"
        )
    return list(found.offsets)


def taken_by(stays: Stays, addresses: Sequence[int], sizes: Sequence[int]) -> Ints:
    """(n, 4) first and last wave, address and bytes of stays."""
    rows = [
        (stay.begin, stay.end, address, size)
        for stay, address, size in zip(stays.stays, addresses, sizes, strict=True)
    ]
    return np.array(rows, np.int64).reshape(-1, 4)


def with_stays(
    choices: Sequence[Choice], plan: Arrangement, net: NetworkTable, stays: Stays, addresses: Sequence[int]
) -> Arrangement:
    """An arrangement with these stays, at these addresses, beside what it has."""
    if not (stays.stays or stays.leaves):
        return plan
    plan = plan._replace(
        in_llb=plan.in_llb.copy(),
        source_batch=plan.source_batch.copy(),
        source_rows=plan.source_rows.copy(),
        slice_address=plan.slice_address.copy(),
    )
    rows = [(leave.when, 0, leave.tensor, leave.part, DRAM) for leave in stays.leaves]
    for stay, address in zip(stays.stays, addresses, strict=True):
        if not stay.made:
            rows.append((stay.begin, 1, stay.tensor, stay.part, address))
            continue
        made_by = int(net.producer[stay.tensor])
        source = next(choice for choice in choices if choice.first <= made_by < choice.stop)
        plan.in_llb[stay.tensor] = 1
        plan.source_batch[stay.tensor] = source.split_batch
        plan.source_rows[stay.tensor] = 1
        begin = int(plan.slice_start[stay.tensor]) + stay.part * source.slices
        plan.slice_address[begin : begin + source.slices] = address
    rows.sort()
    when, _, tensor, part, address_ = np.array(rows, np.int64).reshape(-1, 5).T
    moves = TensorMoves(*(np.ascontiguousarray(values) for values in (when, tensor, part, address_)))
    return plan._replace(moves=moves)
