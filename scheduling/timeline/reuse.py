"""Who overwrites whose bytes in the LLB, where no queue orders the two: instances that run at one time on different
cores, and kernels after moves to DRAM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from scheduling.choice import Choice
from scheduling.lowering.tables import Ints, NetworkTable
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.residence import STAYS, Residence
from scheduling.timeline.system_copies import SystemCopies


class Overwritten(NamedTuple):
    """For each instance in order, what must be done before it may write to the LLB."""

    instances: list[tuple[int, ...]]  # earlier ones, whose last transfer it waits for
    copies: list[tuple[int, ...]]  # system copies, numbered as in SystemCopies


class _Item(NamedTuple):
    """A slice of a tensor, or weights, in the LLB; `makers` write it (none: a system copy), `users` touch it last, or a
    system copy does, `left_by`."""

    begin: int
    makers: tuple[int, ...]
    address: int
    stop: int
    users: tuple[int, ...]
    left_by: tuple[int, ...] = ()


def overwritten(
    net: NetworkTable,
    element_bytes: int,
    choices: Sequence[Choice],
    plan: Arrangement,
    cores: Sequence[int],
    weight_bytes: Ints,
    overlap_bytes: Sequence[int],
    copies: SystemCopies,
) -> Overwritten:
    """What each instance of an arrangement of all instances must wait for, besides what it reads. Instances that share
    a core are left out, since its DMA queue orders them. `overlap_bytes` (S,) are cached in the LLB for each slice of
    the batch."""
    waits: list[set[int]] = [set() for _ in cores]
    left: list[set[int]] = [set() for _ in cores]
    segments: list[tuple[int, int, _Item]] = []  # address, stop, what was there last
    packed = len(plan.packed.step) > 0
    first = plan.packed.first_core.tolist() if packed else [0] * len(cores)
    found = _Items(net, element_bytes, choices, plan)
    items = [
        *found.moved(),
        *found.made(copies),
        *found.weights(weight_bytes),
        *found.caches(overlap_bytes),
    ]
    for item in sorted(items):
        kept = [(item.address, item.stop, item)]
        for address, stop, before in segments:
            if stop <= item.address or item.stop <= address:
                kept.append((address, stop, before))
                continue
            for maker in item.makers:
                waits[maker].update(before.users)
                left[maker].update(before.left_by)
            if address < item.address:
                kept.append((address, item.address, before))
            if item.stop < stop:
                kept.append((item.stop, stop, before))
        segments = kept

    def apart(one: int, two: int) -> bool:
        return bool(first[one] + cores[one] <= first[two] or first[two] + cores[two] <= first[one])

    return Overwritten(
        [tuple(sorted(user for user in users if apart(k, user))) for k, users in enumerate(waits)],
        [tuple(sorted(jobs)) for jobs in left],
    )


class _Items:
    """What lies in the LLB in an arrangement."""

    def __init__(
        self, net: NetworkTable, element_bytes: int, choices: Sequence[Choice], plan: Arrangement
    ) -> None:
        self._net, self._element_bytes, self._choices, self._plan = net, element_bytes, choices, plan
        self._residence = Residence(net, choices, plan)
        self._home = {
            layer: s for s, choice in enumerate(choices) for layer in range(choice.first, choice.stop)
        }
        self._when = plan.when.tolist()
        self._readers: dict[int, set[int]] = {}  # of a slice where it was made
        self._loaded: dict[int, set[int]] = {}  # of what a move brings to the LLB
        for k, s in enumerate(plan.subgraph.tolist()):
            self._note_reads(k, s)

    def _note_reads(self, k: int, s: int) -> None:
        """Instance `k`, of sub-graph `s`, is a reader of all that it finds in the LLB."""
        net, plan, choices, residence = self._net, self._plan, self._choices, self._residence
        for edge in range(net.edge_start[choices[s].first], net.edge_start[choices[s].stop]):
            tensor = int(net.edge_tensor[edge])
            made_by = int(net.producer[tensor])
            if made_by >= 0 and self._home[made_by] == s:
                continue
            if tensor not in residence.moved and not plan.in_llb[tensor]:
                continue
            own = choices[self._home[made_by]].slices if made_by >= 0 else 1
            for part in residence.touched(k, tensor):
                move = residence.move_before(self._when[k], tensor, part)
                if move != STAYS:
                    self._loaded.setdefault(move, set()).add(k)
                    continue
                for index in range(part * own, (part + 1) * own):
                    self._readers.setdefault(int(plan.slice_start[tensor]) + index, set()).add(k)

    def moved(self) -> Iterator[_Item]:
        """Slices that moves bring to the LLB."""
        net, moves = self._net, self._plan.moves
        for move in np.flatnonzero(moves.address >= 0).tolist():
            tensor, part = int(moves.tensor[move]), int(moves.part[move])
            address = int(moves.address[move])
            images = _extent(net.batch, self._residence.parts(tensor), part)
            elements = net.tensor_rows[tensor] * net.tensor_columns[tensor] * net.tensor_channels[tensor]
            stop = address + images * int(elements) * self._element_bytes
            users = tuple(sorted(self._loaded.get(move, ())))
            yield _Item(int(moves.when[move]), (), address, stop, users)

    def made(self, copies: SystemCopies) -> Iterator[_Item]:
        """Slices of tensors that kernels write there."""
        net, plan = self._net, self._plan
        spills = np.flatnonzero(copies.to_dram)
        left_by = dict(zip(copies.first_slice[spills].tolist(), spills.tolist(), strict=True))
        for tensor in np.flatnonzero(plan.in_llb).tolist():
            s = self._home[int(net.producer[tensor])]
            source = self._choices[s]
            apart = source.split_rows if plan.source_rows[tensor] > 1 else 1
            together = source.slices // apart  # instances that write one place
            row_bytes = int(net.tensor_columns[tensor] * net.tensor_channels[tensor]) * self._element_bytes
            for index in range(0, source.instances, together):
                part, row = divmod(index // together, apart)
                images = _extent(net.batch, source.split_batch, part)
                rows = _extent(int(net.tensor_rows[tensor]), apart, row)
                place = int(plan.slice_start[tensor]) + index
                address = int(plan.slice_address[place])
                own = int(plan.instance_start[s]) + index
                makers = tuple(sorted(plan.place_of[own : own + together].tolist()))
                last = {
                    user
                    for slice_ in range(place, place + together)
                    for user in self._readers.get(slice_, ())
                }
                users = tuple(sorted(last or set(makers)))
                first_slice = int(plan.slice_start[tensor]) + part * source.slices
                gone = (left_by[first_slice],) if first_slice in left_by else ()
                begin = min(self._when[maker] for maker in makers)
                stop = address + images * rows * row_bytes
                yield _Item(begin, makers, address, stop, () if gone else users, gone)

    def weights(self, weight_bytes: Ints) -> Iterator[_Item]:
        """Weights, from each of their copies to the next one."""
        plan, when = self._plan, self._when
        for layer in np.unique(plan.copy_layer).tolist():
            places: list[int] = []
            readers = np.flatnonzero(plan.staged_by == layer).tolist()
            for s in sorted({self._home[reader] for reader in readers}):
                places += plan.place_of[plan.instance_start[s] : plan.instance_start[s + 1]].tolist()
            waves = plan.copy_when[plan.copy_layer == layer].tolist()
            for begin, following in zip(waves, [*waves[1:], len(when)], strict=True):
                users = tuple(sorted(k for k in places if begin <= when[k] < following))
                address = int(plan.staged_address[layer])
                yield _Item(begin, (), address, address + int(weight_bytes[layer]), users)

    def caches(self, overlap_bytes: Sequence[int]) -> Iterator[_Item]:
        """Overlaps of neighbouring slices, for each slice of the batch."""
        plan = self._plan
        for s, choice in enumerate(self._choices):
            for part in range(choice.split_batch if overlap_bytes[s] else 0):
                own = int(plan.instance_start[s]) + part * choice.slices
                makers = tuple(sorted(plan.place_of[own : own + choice.slices].tolist()))
                address = int(plan.overlap_address[own])
                yield _Item(self._when[makers[0]], makers, address, address + overlap_bytes[s], makers)


def _extent(size: int, parts: int, index: int) -> int:
    return size * (index + 1) // parts - size * index // parts
