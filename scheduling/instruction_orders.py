"""Instruction orders as decisions: which instances run their instructions in an order of their own.

Without one, an instance runs its instructions in the order that lowering makes by the rule (order_a). An order is a
permutation of the numbers of these instructions. It is legal where it keeps all hazards (scheduling.lowering.hazards).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from graph.network import Network
from hwmodel.machines.machine import Machine
from hwmodel.machines.machine_table import MachineTable
from hwmodel.programs.isa import Op
from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.lowering.hazards import Hazards, hazards
from scheduling.lowering.reordering import out_of_order, reordered
from scheduling.lowering.rows import C_OP
from scheduling.lowering.tables import Ints
from scheduling.templates import Template, Templates
from scheduling.timeline.arrangement import Arrangement

Order = tuple[int, ...]
"""Numbers of instructions, as lowering orders them, in the order in which they run."""


_Number = Annotated[int, Field(ge=0, le=1 << 40)]


class InstructionOrder(BaseModel):
    """The order of the instructions of some instances of a sub-graph, which are lowered alike; as schedule files have
    it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    subgraph: _Number
    instances: tuple[_Number, ...]
    order: tuple[_Number, ...]


class OrderedTemplates(Templates):
    """Templates of one schedule, whose instances run their instructions in given orders."""

    def __init__(self, network: Network, machine: Machine, orders: Sequence[InstructionOrder]) -> None:
        """Raises IllegalSchedule where an instance has two orders."""
        super().__init__(network, machine)
        self._orders: dict[tuple[int, int], Order] = {}
        for given in orders:
            for instance in given.instances:
                if (given.subgraph, instance) in self._orders:
                    raise IllegalSchedule(
                        f"instance {instance} of sub-graph {given.subgraph} has two orders of instructions"
                    )
                self._orders[given.subgraph, instance] = given.order
        self._ordered: dict[tuple[int, Order], Template] = {}

    def of(self, choices: Sequence[Choice], plan: Arrangement) -> list[Template]:
        """The template of every instance, its instructions in their order. Raises IllegalSchedule where the orders are
        not legal for these sub-graphs."""
        found = super().of(choices, plan)
        left = dict(self._orders)
        for k, place in enumerate(zip(plan.subgraph.tolist(), plan.instance.tolist(), strict=True)):
            order = left.pop(place, None)
            if order is not None:
                where = f"instance {place[1]} of sub-graph {place[0]}"
                found[k] = self._in_order(found[k], choices[place[0]], order, where)
        for s, i in left:
            raise IllegalSchedule(
                f"an order of instructions is of instance {i} of sub-graph {s}, which there is not"
            )
        return found

    def indices(self, choices: Sequence[Choice], plan: Arrangement) -> Ints:
        """(N,) the template of every instance, by its place in the store: instances that look alike may have different
        orders."""
        return np.array([template.index for template in self.of(choices, plan)], np.int64)

    def _in_order(self, template: Template, choice: Choice, order: Order, where: str) -> Template:
        key = (template.index, order)
        known = self._ordered.get(key)
        if known is None:
            rows = template.lowered.rows
            if sorted(order) != list(range(len(rows))):
                raise IllegalSchedule(
                    f"{where}: an order of {len(order)} instructions, expected each of {len(rows)} once"
                )
            must = template_hazards(self, choice, template)
            array = np.array(order, np.int64)
            first, second = out_of_order(must, array)
            if first >= 0:
                names = [f"{Op(int(rows[i, C_OP])).name} {i}" for i in (second, first)]
                raise IllegalSchedule(f"{where}: {names[0]} runs before {names[1]}, which it must follow")
            lowered = template.lowered._replace(rows=reordered(rows, must, array))
            known = self.store.add(lowered, template.parts)
            self._ordered[key] = known
        return known


def template_hazards(templates: Templates, choice: Choice, template: Template) -> Hazards:
    """The hazards of a template of a sub-graph."""
    frame, lowered = templates.frames.of(choice, template.parts.channel), template.lowered
    return hazards(
        frame.table,
        frame.choice,
        lowered.geometry,
        lowered.plan,
        lowered.tiles,
        lowered.rows,
        templates.machine.element_bytes,
    )


def ordered(evaluator: Evaluator, orders: Sequence[InstructionOrder]) -> Evaluator:
    """The evaluator itself, or one with these orders of instructions where there are any, which counts with
    it. Raises IllegalSchedule where an instance has two."""
    if not orders:
        return evaluator
    templates = OrderedTemplates(evaluator.network, evaluator.machine, orders)
    return Evaluator(evaluator.network, evaluator.machine, beside=evaluator, templates=templates)


def link_slots(machine: MachineTable) -> Ints:
    """(4,) places of the links behind those of the engines, for scheduling.lowering.reordering."""
    return np.array([3, 3 if machine.dram_shared else 4, 5, 5 if machine.llb_shared else 6], np.int64)


def alike_instances(
    evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement
) -> Mapping[tuple[int, int], tuple[Template, tuple[int, ...]]]:
    """(sub-graph, template number) -> the template and the instances of the sub-graph that are lowered to it."""
    found: dict[tuple[int, int], tuple[Template, list[int]]] = {}
    templates = evaluator.templates.of(choices, plan)
    for template, s, i in zip(templates, plan.subgraph.tolist(), plan.instance.tolist(), strict=True):
        found.setdefault((s, template.index), (template, []))[1].append(i)
    return {key: (template, tuple(sorted(users))) for key, (template, users) in found.items()}
