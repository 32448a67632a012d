"""Shortened stays: a tensor that the LLB cannot hold for life is made there, and goes to DRAM before its last readers.

The readers that come soonest after it is made read it in the LLB, as many of them as fit beside what is there; the
others read from DRAM. That saves their reads from DRAM, and the kernel that makes it its writes, which the system DMA
does under other kernels. A network output that others read is kept until the last of them, if possible.
"""

from __future__ import annotations

from collections.abc import Collection

from scheduling.lowering.tables import NEVER, Ints, NetworkTable
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.consumer_scopes import FROM_DRAM, Lives, Stays

Item = tuple[int, int, int, int]
"""What lies in the LLB: first and last wave, address, bytes."""


def shortened_stays(
    net: NetworkTable,
    lives: Lives,
    plan: Arrangement,
    items: Ints,
    outside: Collection[int],
    capacity_bytes: int,
    element_bytes: int,
) -> tuple[Stays, list[int]]:
    """Stays, and their addresses, of tensors that an arrangement has in DRAM, beside the `items` (n, 4) that it has in
    the LLB; those `outside` stay in DRAM."""
    found, addresses = Stays([], []), list[int]()
    taken: list[Item] = [(begin, end, address, size) for begin, end, address, size in items.tolist()]
    waiting = [
        net.input_count + layer
        for layer in range(len(lives.home))
        if not plan.in_llb[net.input_count + layer] and net.input_count + layer not in outside
    ]
    waiting = [tensor for tensor in waiting if lives.readers(tensor)]
    for tensor in sorted(waiting, key=lambda tensor: (lives.made(tensor, 0)[0], tensor)):
        readers = lives.readers(tensor)
        for kept in range(len(readers) - (net.last_use[tensor] != NEVER), 0, -1):
            stays = lives.stays(tensor, dict.fromkeys(readers[kept:], FROM_DRAM), True)
            if not _as_asked(lives, stays, readers[kept:]):
                continue
            places = _placed(lives, stays, taken, capacity_bytes, element_bytes)
            if places is not None:
                taken += places
                addresses += [address for _, _, address, _ in places]
                found.stays.extend(stays.stays)
                found.leaves.extend(stays.leaves)
                break
    return found, addresses


def _as_asked(lives: Lives, stays: Stays, outside: Collection[int]) -> bool:
    """Whether every slice has left the LLB before the first of the sub-graphs `outside` reads it."""
    return all(
        first > stay.end
        for stay in stays.stays
        for first, _, s in lives.uses(stay.tensor, stay.part)
        if s in outside
    )


def _placed(
    lives: Lives, stays: Stays, taken: list[Item], capacity_bytes: int, element_bytes: int
) -> list[Item] | None:
    """The stays at the lowest addresses that are free all the time, None where one has none."""
    places: list[Item] = []
    for stay in stays.stays:
        size = lives.slice_elements(stay.tensor, stay.part) * element_bytes
        address = 0
        beside = (item for item in (*taken, *places) if item[0] <= stay.end and stay.begin <= item[1])
        for _, _, begin, bytes_ in sorted(beside, key=lambda item: item[2]):
            if begin >= address + size:
                break
            address = max(address, begin + bytes_)
        if address + size > capacity_bytes:
            return None
        places.append((stay.begin, stay.end, address, size))
    return places
