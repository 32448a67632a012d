"""Legality of an arrangement: order, scopes and places in the LLB, checked the plain way, with reasons.

Shares nothing with the rules that make arrangements, so that it can judge them and schedules that were read from
files alike. What a sub-graph needs inside a core is judged when it is lowered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from scheduling.arrangement import Arrangement, weight_bytes
from scheduling.choice import CACHE, COLUMNS, Choice
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.tables import NEVER


@dataclass(frozen=True, slots=True)
class _Item:
    name: str
    begin: int
    end: int
    address: int
    size_bytes: int


def check_arrangement(evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement) -> None:
    """Raise IllegalSchedule unless the order is a topological one of all instances, and everything in the LLB has a
    place of its own while it is needed: from the step on, or the wave of a step of several instances, in which it is
    made to the last one in which it is read."""
    _check_cover(evaluator, choices)
    place_of = _check_order(evaluator, choices, plan)
    when = plan.when.tolist()
    if sorted(when) != when:
        raise IllegalSchedule("the waves of the order do not ascend")
    when_of = {instance: when[place] for instance, place in place_of.items()}
    items = [*_tensors(evaluator, choices, plan, when_of), *_weights(evaluator, choices, plan, when_of)]
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


def _touched(part: int, parts: int, others: int, batch: int) -> list[int]:
    """Which of `others` slices of the batch share an image with slice `part` of `parts`."""
    mine = range(batch * part // parts, batch * (part + 1) // parts)
    return [
        i
        for i in range(others)
        if any(batch * i // others <= image < batch * (i + 1) // others for image in mine)
    ]


def _producers(evaluator: Evaluator, choices: Sequence[Choice], subgraph: int) -> Iterator[tuple[int, int]]:
    """(tensor, sub-graph that makes it) of the entries of a sub-graph, graph inputs left out."""
    choice = choices[subgraph]
    for tensor in evaluator.borders(choice.first, choice.stop)[0].tolist():
        made_by = int(evaluator.table.producer[tensor])
        if made_by >= 0:
            yield tensor, next(q for q, c in enumerate(choices) if c.first <= made_by < c.stop)


def _check_order(
    evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement
) -> dict[tuple[int, int], int]:
    steps = list(zip(plan.subgraph.tolist(), plan.instance.tolist(), strict=True))
    wanted = {(s, i) for s, choice in enumerate(choices) for i in range(choice.instances)}
    if set(steps) != wanted or len(steps) != len(wanted):
        raise IllegalSchedule(f"the order has {len(steps)} instances, expected each of {len(wanted)} once")
    place_of = {step: k for k, step in enumerate(steps)}
    batch = evaluator.network.batch
    for s, choice in enumerate(choices):
        for _, q in _producers(evaluator, choices, s):
            for part in range(choice.split_batch):
                for source in _touched(part, choice.split_batch, choices[q].split_batch, batch):
                    for row in range(choice.slices):
                        for other in range(choices[q].slices):
                            mine = place_of[s, part * choice.slices + row]
                            before = place_of[q, source * choices[q].slices + other]
                            if before > mine:
                                raise IllegalSchedule(
                                    f"instance {mine} of the order (sub-graph {s}) is before {before} (sub-graph {q}), "
                                    "whose result it reads"
                                )
        if choice.consecutive:
            _check_consecutive(s, choice, place_of)
    return place_of


def _check_consecutive(s: int, choice: Choice, place_of: dict[tuple[int, int], int]) -> None:
    for instance in range(choice.instances):
        if instance % choice.slices and place_of[s, instance] != place_of[s, instance - 1] + 1:
            raise IllegalSchedule(
                f"instances {instance - 1} and {instance} of sub-graph {s} are at {place_of[s, instance - 1]} and "
                f"{place_of[s, instance]} of the order, expected one right after the other, since what the first "
                "leaves in the core is used by the second"
            )


def _tensors(
    evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement, when_of: dict[tuple[int, int], int]
) -> Iterator[_Item]:
    batch = evaluator.network.batch
    for q, source in enumerate(choices):
        for tensor in evaluator.borders(source.first, source.stop)[1].tolist():
            if not plan.in_llb[tensor]:
                continue
            shape = evaluator.network.tensors[tensor]
            if evaluator.table.last_use[tensor] == NEVER:
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
                for s in readers:
                    choice = choices[s]
                    for mine in _touched(part, source.split_batch, choice.split_batch, batch):
                        for other in range(choice.slices):
                            end = max(end, when_of[s, mine * choice.slices + other])
                images = batch * (part + 1) // source.split_batch - batch * part // source.split_batch
                rows = shape.rows * (row + 1) // apart - shape.rows * row // apart
                size = images * rows * shape.columns * shape.channels * evaluator.machine.element_bytes
                address = int(plan.slice_address[plan.slice_start[tensor] + instance])
                yield _Item(f"slice {instance} of tensor {shape.name}", begin, end, address, size)


def _in_rows(source: Choice, readers: Sequence[Choice]) -> bool:
    """Whether a tensor between these can lie in slices of whole rows."""
    by_rows = source.split_columns == 1 and source.axis != COLUMNS and source.halo != CACHE
    return by_rows and all(reader.axis != COLUMNS for reader in readers)


def _weights(
    evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement, when_of: dict[tuple[int, int], int]
) -> Iterator[_Item]:
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
            yield _Item(name, begin, max(served, default=begin), int(plan.staged_address[layer]), size)


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
