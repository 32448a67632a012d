"""Who overwrites whose bytes in the LLB, where instances run at one time and no queue of a core orders them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scheduling.arrangement import Arrangement, touching
from scheduling.choice import Choice
from scheduling.tables import Ints, NetworkTable


class _Item(NamedTuple):
    """A slice of a tensor, or weights, in the LLB; `makers` write it (none: a system copy), `users` touch it last."""

    begin: int
    makers: tuple[int, ...]
    address: int
    stop: int
    users: tuple[int, ...]


def overwritten(
    net: NetworkTable,
    element_bytes: int,
    choices: Sequence[Choice],
    plan: Arrangement,
    cores: Sequence[int],
    weight_bytes: Ints,
) -> list[tuple[int, ...]]:
    """For each instance of an arrangement of all instances, in order, the earlier ones that must have done their last
    transfer before it may write to the LLB; those that share a core with it are left out, since its DMA queue orders
    them."""
    waits: list[set[int]] = [set() for _ in cores]
    segments: list[tuple[int, int, tuple[int, ...]]] = []  # address, stop, last users
    first = plan.packed.first_core.tolist()
    for item in sorted(_items(net, element_bytes, choices, plan, weight_bytes)):
        kept = [(item.address, item.stop, item.users)]
        for address, stop, users in segments:
            if stop <= item.address or item.stop <= address:
                kept.append((address, stop, users))
                continue
            for maker in item.makers:
                waits[maker].update(users)
            if address < item.address:
                kept.append((address, item.address, users))
            if item.stop < stop:
                kept.append((item.stop, stop, users))
        segments = kept

    def apart(one: int, two: int) -> bool:
        return bool(first[one] + cores[one] <= first[two] or first[two] + cores[two] <= first[one])

    return [tuple(sorted(user for user in users if apart(k, user))) for k, users in enumerate(waits)]


def _items(
    net: NetworkTable, element_bytes: int, choices: Sequence[Choice], plan: Arrangement, weight_bytes: Ints
) -> list[_Item]:
    readers: dict[int, set[int]] = {}
    home = {layer: s for s, choice in enumerate(choices) for layer in range(choice.first, choice.stop)}
    when = plan.when.tolist()
    for k, (s, number) in enumerate(zip(plan.subgraph.tolist(), plan.instance.tolist(), strict=True)):
        choice = choices[s]
        for edge in range(net.edge_start[choice.first], net.edge_start[choice.stop]):
            tensor = int(net.edge_tensor[edge])
            made_by = int(net.producer[tensor])
            if made_by < 0 or home[made_by] == s or not plan.in_llb[tensor]:
                continue
            source = choices[home[made_by]]
            a, b = touching(number // choice.slices, choice.split_batch, source.split_batch, net.batch)
            for index in range(a * source.slices, b * source.slices):
                readers.setdefault(int(plan.slice_start[tensor]) + index, set()).add(k)
    items = []
    for tensor in np.flatnonzero(plan.in_llb).tolist():
        s = home[int(net.producer[tensor])]
        source = choices[s]
        apart = source.split_rows if plan.source_rows[tensor] > 1 else 1
        together = source.slices // apart  # instances that write one place
        for index in range(0, source.instances, together):
            part, row = divmod(index // together, apart)
            images = _extent(net.batch, source.split_batch, part)
            rows = _extent(int(net.tensor_rows[tensor]), apart, row)
            size = (
                images * rows * int(net.tensor_columns[tensor] * net.tensor_channels[tensor]) * element_bytes
            )
            place = int(plan.slice_start[tensor]) + index
            address = int(plan.slice_address[place])
            own = int(plan.instance_start[s]) + index
            makers = tuple(sorted(plan.place_of[own : own + together].tolist()))
            last = {user for slice_ in range(place, place + together) for user in readers.get(slice_, ())}
            users = tuple(sorted(last or set(makers)))
            items.append(_Item(min(when[maker] for maker in makers), makers, address, address + size, users))
    for layer in np.unique(plan.copy_layer).tolist():
        places: list[int] = []
        for s in sorted({home[reader] for reader in np.flatnonzero(plan.staged_by == layer).tolist()}):
            places += plan.place_of[plan.instance_start[s] : plan.instance_start[s + 1]].tolist()
        copies = plan.copy_when[plan.copy_layer == layer].tolist()
        for begin, following in zip(copies, [*copies[1:], len(when)], strict=True):
            users = tuple(sorted(k for k in places if begin <= when[k] < following))
            address = int(plan.staged_address[layer])
            items.append(_Item(begin, (), address, address + int(weight_bytes[layer]), users))
    return items


def _extent(size: int, parts: int, index: int) -> int:
    return size * (index + 1) // parts - size * index // parts
