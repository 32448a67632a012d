"""Rules: what the choices of the sub-graphs leave open, and the arrangement that follows from both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from hwmodel.machines.machine import Machine
from hwmodel.machines.machine_table import MachineTable
from scheduling.choice import CHOICE_FIELDS, Choice
from scheduling.errors import IllegalSchedule
from scheduling.legality.orders import check_order
from scheduling.legality.packings import check_steps
from scheduling.lowering.tables import Ints, NetworkTable
from scheduling.timeline.arrangement import (
    SCOPE_DEFAULT,
    SCOPE_SHORTENED,
    WEIGHTS_RESIDENT,
    Arrangement,
    arrange,
)
from scheduling.timeline.cache_places import place_caches
from scheduling.timeline.consumer_scopes import (
    Lives,
    Order,
    Stays,
    TensorRead,
    place_stays,
    stays_of,
    taken_by,
    with_stays,
)
from scheduling.timeline.instance_order import DEPTH_FIRST, order_instances
from scheduling.timeline.packing import Packing, nothing_packed, packed_order
from scheduling.timeline.shortened import shortened_stays


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules that decide what the choices of the sub-graphs leave open, and the tensors (by number) that go to DRAM
    though the LLB may have room for them. `reads` are those of layers that find a tensor elsewhere than the reader
    before: such tensors move, and get their places first. A `packing` names all steps, and then stands in place of
    `order`; it needs a machine that runs kernels concurrently."""

    order: int = DEPTH_FIRST
    scopes: int = SCOPE_DEFAULT
    weights: int = WEIGHTS_RESIDENT
    prefetch: int = 1
    spilled: tuple[int, ...] = ()
    packing: Packing | None = None
    reads: tuple[TensorRead, ...] = ()


DEFAULT_RULES = Rules()


def arrange_by(
    rules: Rules,
    choices: Sequence[Choice],
    table: NetworkTable,
    machine: Machine,
    m: MachineTable,
    overlap_bytes: Sequence[int],
) -> Arrangement:
    """Order, scopes and resident weights of these sub-graphs by `rules`; `m` is the table of `machine`. Sub-graphs
    cache `overlap_bytes` (S,) in the LLB, for each slice of the batch: these have their places before tensors and
    weights.

    Raises IllegalSchedule where a packing does not name every instance once, producers first, on the machine's
    cores, and where the LLB has no place for what is cached there.
    """
    array = choice_rows(choices)
    subgraph, instance, start = order_instances(table, array, rules.order)
    packed = nothing_packed()
    if rules.packing is not None:
        subgraph, instance = _named_order(rules.packing, choices, table, machine)
        if rules.packing.concurrent:
            packed = packed_order(rules.packing.steps, rules.packing.merge)
    spilled = np.zeros(len(table.producer), np.int64)
    if rules.spilled:
        spilled[list(rules.spilled)] = 1
    taken = np.empty((0, 4), np.int64)
    stays, addresses = Stays([], []), list[int]()
    lives = None
    if rules.reads or rules.scopes == SCOPE_SHORTENED:
        if machine.system_dma is None:
            raise IllegalSchedule(
                f"the rules ask for copies of tensors between DRAM and the LLB, expected none where the machine "
                f"({machine.name}) has no system DMA"
            )
        when = packed.when.tolist() if len(packed.when) else range(len(subgraph))
        lives = Lives(table, choices, Order(subgraph.tolist(), instance.tolist(), when))
    if lives is not None and rules.reads:
        spilled[[read.tensor for read in rules.reads]] = 1
        stays = stays_of(lives, rules.reads, rules.spilled)
        sizes = [lives.slice_elements(*stay[:2]) * machine.element_bytes for stay in stays.stays]
        addresses = place_stays(sizes, stays.stays, m.llb_bytes)
        taken = taken_by(stays, addresses, sizes)
    caches = None
    if any(overlap_bytes):
        when_of = np.empty(len(subgraph), np.int64)  # by sub-graph, then instance
        when_of[start[subgraph] + instance] = packed.when if len(packed.when) else np.arange(len(subgraph))
        caches, taken = place_caches(choices, overlap_bytes, start, when_of, taken, m.llb_bytes)
    plan, items = arrange(
        table,
        m,
        array,
        subgraph,
        instance,
        start,
        rules.scopes,
        rules.weights,
        rules.prefetch,
        packed,
        spilled,
        taken,
    )
    if caches is not None:
        plan = plan._replace(overlap_address=caches)
    if lives is not None and rules.scopes == SCOPE_SHORTENED:
        more, places = shortened_stays(
            table,
            lives,
            plan,
            items,
            np.flatnonzero(spilled).tolist(),
            m.llb_bytes,
            machine.element_bytes,
        )
        stays, addresses = Stays(stays.stays + more.stays, stays.leaves + more.leaves), addresses + places
    return with_stays(choices, plan, table, stays, addresses)


def _named_order(
    packing: Packing, choices: Sequence[Choice], table: NetworkTable, machine: Machine
) -> tuple[Ints, Ints]:
    """Sub-graphs and instances in the order of the steps that name them. Raises IllegalSchedule."""
    named = [placed for step in packing.steps for placed in step.instances]
    check_order(table, choices, [(placed.subgraph, placed.instance) for placed in named])
    check_steps(packing.steps, choices, machine)
    return (
        np.array([placed.subgraph for placed in named], np.int64),
        np.array([placed.instance for placed in named], np.int64),
    )


def choice_rows(choices: Sequence[Choice]) -> Ints:
    """(S, CHOICE_FIELDS)"""
    fields = np.fromiter(chain.from_iterable(choices), np.int64, len(choices) * CHOICE_FIELDS)
    return fields.reshape(-1, CHOICE_FIELDS)
