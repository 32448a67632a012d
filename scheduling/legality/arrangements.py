"""Legality of an arrangement: order, scopes and places in the LLB, checked the plain way, with reasons.

Shares nothing with the rules that make arrangements, so that it can judge them and schedules that were read from
files alike. What a sub-graph needs inside a core is judged when it is lowered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from scheduling.choice import CACHE_LLB, COLUMNS, Choice, in_whole_rows
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.legality.moves import check_moves
from scheduling.legality.orders import check_order, touched
from scheduling.lowering.tables import NEVER
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.residence import STAYS, Residence
from scheduling.timeline.weight_places import weight_bytes


@dataclass(frozen=True, slots=True)
class Item:
    """A slice of a tensor, or weights, in the LLB, from the first wave to the last one that needs its bytes."""

    name: str
    begin: int
    end: int
    address: int
    size_bytes: int


def check_arrangement(evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement) -> None:
    """Raise IllegalSchedule unless the order is a topological one of all instances, moves take what is there to where
    it is read, and everything in the LLB has a place of its own while it is needed: from the step on, or the wave of a
    step of several instances, in which it is made or copied there to the last one in which it is read, or to the one
    before it moves to DRAM."""
    _check_cover(evaluator, choices)
    order = list(zip(plan.subgraph.tolist(), plan.instance.tolist(), strict=True))
    check_order(evaluator.table, choices, order)
    place_of = {instance: k for k, instance in enumerate(order)}
    when = plan.when.tolist()
    if sorted(when) != when:
        raise IllegalSchedule("the waves of the order do not ascend")
    when_of = {instance: when[place] for instance, place in place_of.items()}
    check_moves(evaluator, choices, plan, when_of, _readers(evaluator, choices, place_of))
    items = llb_items(evaluator, choices, plan)
    capacity = evaluator.machine_table.llb_bytes
    for item in items:
        short = item.address + item.size_bytes - capacity
        if item.address < 0 or short > 0:
            raise IllegalSchedule(
                f"{item.name} at byte {item.address} of the LLB ({capacity} bytes) is short by {max(short, 0)} bytes"
            )
    items.sort(key=lambda item: item.address)
    for i, one in enumerate(items):
        for other in items[i + 1 :]:
            if other.address >= one.address + one.size_bytes:
                break
            if one.begin <= other.end and other.begin <= one.end:
                place = when.index(max(one.begin, other.begin))
                step = int(plan.packed.step[place]) if len(plan.packed.step) else place
                raise IllegalSchedule(f"{one.name} and {other.name} share bytes of the LLB in step {step}")


def llb_items(evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement) -> list[Item]:
    """All that lies in the LLB. Raises IllegalSchedule for what cannot lie there so."""
    when = plan.when.tolist()
    places = zip(plan.subgraph.tolist(), plan.instance.tolist(), strict=True)
    when_of = {instance: when[k] for k, instance in enumerate(places)}
    return [
        *_tensors(evaluator, choices, plan, when_of),
        *_moved_tensors(evaluator, choices, plan, when_of),
        *_weights(evaluator, choices, plan, when_of),
        *_overlaps(evaluator, choices, plan, when_of),
    ]


def _check_cover(evaluator: Evaluator, choices: Sequence[Choice]) -> None:
    frontier = 0
    for number, choice in enumerate(choices):
        if choice.first != frontier or choice.stop <= choice.first:
            raise IllegalSchedule(
                f"sub-graph {number} has layers {choice.first} to {choice.stop - 1}, expected to begin at {frontier}"
            )
        frontier = choice.stop
    layers = len(evaluator.network.layers)
    if frontier != layers:
        raise IllegalSchedule(f"the sub-graphs end at layer {frontier}, the network has {layers}")


def _producers(evaluator: Evaluator, choices: Sequence[Choice], subgraph: int) -> Iterator[tuple[int, int]]:
    """(tensor, sub-graph that makes it) of the entries of a sub-graph, graph inputs left out."""
    choice = choices[subgraph]
    for tensor in evaluator.templates.borders(choice.first, choice.stop)[0].tolist():
        made_by = int(evaluator.table.producer[tensor])
        if made_by >= 0:
            yield tensor, next(q for q, c in enumerate(choices) if c.first <= made_by < c.stop)


def _tensors(
    evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement, when_of: dict[tuple[int, int], int]
) -> Iterator[Item]:
    batch = evaluator.network.batch
    residence = Residence(evaluator.table, choices, plan)
    for q, source in enumerate(choices):
        for tensor in evaluator.templates.borders(source.first, source.stop)[1].tolist():
            if not plan.in_llb[tensor]:
                continue
            shape = evaluator.network.tensors[tensor]
            leaves = [residence.first_move(tensor, part) for part in range(source.split_batch)]
            if evaluator.table.last_use[tensor] == NEVER and None in leaves:
                raise IllegalSchedule(f"tensor {shape.name} is a network output and must be in DRAM")
            readers = [s for s in range(len(choices)) if (tensor, q) in _producers(evaluator, choices, s)]
            apart = source.split_rows if plan.source_rows[tensor] > 1 else 1
            if plan.source_rows[tensor] not in (1, source.split_rows) or (
                apart > 1 and not _in_rows(source, [choices[s] for s in readers])
            ):
                raise IllegalSchedule(
                    f"tensor {shape.name} is in the LLB in slices that are no runs of whole rows"
                )
            together = source.slices // apart
            for instance in range(0, source.instances, together):
                part, row = divmod(instance // together, apart)
                steps = [when_of[q, k] for k in range(instance, instance + together)]
                begin, end = min(steps), max(steps)
                at = int(plan.slice_start[tensor]) + instance
                if len(set(plan.slice_address[at : at + together].tolist())) > 1:
                    raise IllegalSchedule(
                        f"the slices of tensor {shape.name} from slice {instance} on have several addresses, "
                        "expected one"
                    )
                uses = _uses(choices, readers, part, source.split_batch, batch, when_of)
                end = max([end, *(use for use in uses if residence.move_before(use, tensor, part) == STAYS)])
                gone = leaves[part]
                if gone is not None:
                    end = max(end, gone - 1)
                images = batch * (part + 1) // source.split_batch - batch * part // source.split_batch
                rows = shape.rows * (row + 1) // apart - shape.rows * row // apart
                size = images * rows * shape.columns * shape.channels * evaluator.machine.element_bytes
                address = int(plan.slice_address[plan.slice_start[tensor] + instance])
                yield Item(f"slice {instance} of tensor {shape.name}", begin, end, address, size)


def _moved_tensors(
    evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement, when_of: dict[tuple[int, int], int]
) -> Iterator[Item]:
    """The places of slices that moves take to the LLB."""
    batch, moves = evaluator.network.batch, plan.moves
    residence = Residence(evaluator.table, choices, plan)
    for i in np.flatnonzero(moves.address >= 0).tolist():
        tensor, part, begin = int(moves.tensor[i]), int(moves.part[i]), int(moves.when[i])
        shape = evaluator.network.tensors[tensor]
        parts = residence.parts(tensor)
        readers = [
            s
            for s, choice in enumerate(choices)
            if tensor in evaluator.templates.borders(choice.first, choice.stop)[0].tolist()
        ]
        uses = _uses(choices, readers, part, parts, batch, when_of)
        end = max(use for use in uses if residence.move_before(use, tensor, part) == i)
        images = batch * (part + 1) // parts - batch * part // parts
        size = images * shape.elements * evaluator.machine.element_bytes
        yield Item(
            f"slice {part} of the batch of tensor {shape.name}", begin, end, int(moves.address[i]), size
        )


def _uses(
    choices: Sequence[Choice],
    readers: Sequence[int],
    part: int,
    parts: int,
    batch: int,
    when_of: dict[tuple[int, int], int],
) -> list[int]:
    """When the sub-graphs `readers` read slice `part` of `parts` of the batch."""
    return [
        when_of[s, mine * choices[s].slices + other]
        for s in readers
        for mine in touched(part, parts, choices[s].split_batch, batch)
        for other in range(choices[s].slices)
    ]


def _readers(
    evaluator: Evaluator, choices: Sequence[Choice], place_of: dict[tuple[int, int], int]
) -> dict[int, list[int]]:
    """Of each tensor the places in the order of the instances that read it from outside their sub-graph."""
    found: dict[int, list[int]] = {}
    for s, choice in enumerate(choices):
        for tensor in evaluator.templates.borders(choice.first, choice.stop)[0].tolist():
            places = (place_of[s, number] for number in range(choice.instances))
            found.setdefault(tensor, []).extend(places)
    return found


def _in_rows(source: Choice, readers: Sequence[Choice]) -> bool:
    """Whether a tensor between these can lie in slices of whole rows."""
    return in_whole_rows(source) and all(reader.axis != COLUMNS for reader in readers)


def _weights(
    evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement, when_of: dict[tuple[int, int], int]
) -> Iterator[Item]:
    for layer in np.unique(plan.copy_layer).tolist():
        if plan.staged_by[layer] != layer:
            name = evaluator.network.layers[layer].name
            raise IllegalSchedule(
                f"weights of layer {name} are copied to the LLB, but the layer reads none there or those of another one"
            )
    uses: dict[int, list[int]] = {}
    for s, choice in enumerate(choices):
        for layer in range(choice.first, choice.stop):
            if plan.staged[layer]:
                by = int(plan.staged_by[layer])
                _check_same_weights(evaluator, plan, layer, by)
                uses.setdefault(by, []).extend(when_of[s, i] for i in range(choice.instances))
    for layer, whens in uses.items():
        name = f"weights of layer {evaluator.network.layers[layer].name}"
        if evaluator.machine.system_dma is None:
            raise IllegalSchedule(
                f"{name} are in the LLB, expected none where the machine has no system DMA to copy them"
            )
        copies = sorted(plan.copy_when[plan.copy_layer == layer].tolist())
        if not copies or copies[0] > min(whens):
            raise IllegalSchedule(
                f"{name} are read from the LLB by the first of {len(whens)} instances before they are copied there"
            )
        size = int(weight_bytes(evaluator.table, layer, evaluator.machine.element_bytes))
        for k, begin in enumerate(copies):
            stop = copies[k + 1] if k + 1 < len(copies) else len(when_of)
            served = [use for use in whens if begin <= use < stop]
            yield Item(name, begin, max(served, default=begin), int(plan.staged_address[layer]), size)


def _overlaps(
    evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement, when_of: dict[tuple[int, int], int]
) -> Iterator[Item]:
    """The caches of overlaps, of each slice of the batch from its first instance to its last."""
    for s, choice in enumerate(choices):
        if choice.halo != CACHE_LLB:
            continue
        size = evaluator.templates.shared_cache_bytes(choice)
        first_layer = evaluator.network.layers[choice.first].name
        for part in range(choice.split_batch):
            instances = range(part * choice.slices, (part + 1) * choice.slices)
            steps = [when_of[s, instance] for instance in instances]
            addresses = {
                int(plan.overlap_address[plan.instance_start[s] + instance]) for instance in instances
            }
            name = f"the cache of slice {part} of the batch of the sub-graph from layer {first_layer} on"
            if len(addresses) > 1:
                raise IllegalSchedule(f"{name} has several addresses, expected one")
            if size:
                yield Item(name, min(steps), max(steps), addresses.pop(), size)


def _check_same_weights(evaluator: Evaluator, plan: Arrangement, layer: int, by: int) -> None:
    """What a layer reads must be a copy of its own weights."""
    if layer == by:
        return
    layers, holder = evaluator.network.layers, evaluator.table.holder
    if (
        not plan.staged[by]
        or plan.staged_by[by] != by
        or plan.staged_address[by] != plan.staged_address[layer]
    ):
        raise IllegalSchedule(
            f"weights of layer {layers[layer].name} are not where those of {layers[by].name} are copied to"
        )
    if holder[layer] < 0 or holder[layer] != holder[by]:
        raise IllegalSchedule(f"layers {layers[layer].name} and {layers[by].name} do not share their weights")
