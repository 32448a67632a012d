"""Legality of an order of instances, checked the plain way, with reasons."""

from __future__ import annotations

from collections.abc import Sequence

from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule
from scheduling.lowering.tables import NetworkTable


def check_order(net: NetworkTable, choices: Sequence[Choice], order: Sequence[tuple[int, int]]) -> None:
    """Raise IllegalSchedule unless the order, (sub-graph, instance) pairs, has every instance once, behind those that
    make what it reads, and right behind the one that leaves it something in the core."""
    wanted = {(s, i) for s, choice in enumerate(choices) for i in range(choice.instances)}
    if set(order) != wanted or len(order) != len(wanted):
        raise IllegalSchedule(f"the order has {len(order)} instances, expected each of {len(wanted)} once")
    place_of = {instance: k for k, instance in enumerate(order)}
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
            parts = touched(number // reader.slices, reader.split_batch, source.split_batch, net.batch)
            for other in (part * source.slices + row for part in parts for row in range(source.slices)):
                if place_of[q, other] > place_of[s, number]:
                    raise IllegalSchedule(
                        f"instance {number} of sub-graph {s} stands before instance {other} of sub-graph {q}, "
                        "whose result it reads"
                    )
    for s, choice in enumerate(choices):
        for number in range(choice.instances if choice.consecutive else 0):
            if number % choice.slices and place_of[s, number] != place_of[s, number - 1] + 1:
                raise IllegalSchedule(
                    f"instances {number - 1} and {number} of sub-graph {s} are at {place_of[s, number - 1]} and "
                    f"{place_of[s, number]} of the order, expected one right behind the other, since what the first "
                    "leaves in the core is used by the second"
                )


def touched(part: int, parts: int, others: int, batch: int) -> list[int]:
    """Which of `others` slices of the batch share an image with slice `part` of `parts`."""
    mine = range(batch * part // parts, batch * (part + 1) // parts)
    return [
        i
        for i in range(others)
        if any(batch * i // others <= image < batch * (i + 1) // others for image in mine)
    ]
