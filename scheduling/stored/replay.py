"""From a schedule to its decisions, its program and its time, exactly.

A replay depends on no rule but those that are named in the file: the order of operations inside a kernel
(layer + a x piece), the L1 layout (larger rings first, lowest free place) and, where the file has `rules` in place of
addresses, these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graph.network import Network
from hwmodel.machines.machine import Machine
from hwmodel.programs.isa import Program
from scheduling.choice import Choice
from scheduling.emission.program import build_program
from scheduling.errors import IllegalSchedule, ScheduleError, UnsupportedDecision
from scheduling.evaluator import Evaluation, Evaluator
from scheduling.instruction_orders import OrderedTemplates, ordered
from scheduling.layer_order import in_order
from scheduling.legality.arrangements import check_arrangement
from scheduling.legality.packings import check_steps
from scheduling.schedule_file import Schedule
from scheduling.stored.choices import stored_choice
from scheduling.stored.names import L1_RULE, MERGE, ORDER_RULE, SYNC, subgraph_name
from scheduling.stored.places import cached_at, homes, stored_moves, stored_tensors, stored_weights
from scheduling.stored.ruled import stored_rules
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.packing import Packing, Placement, Step, nothing_packed, packed_order


def schedule_network(network: Network, schedule: Schedule) -> Network:
    """A file's network with its layers in the schedule's order. Raises ScheduleError where it has other layers."""
    if not schedule.layer_order:
        return network
    numbers = {layer.name: number for number, layer in enumerate(network.layers)}
    for name in schedule.layer_order:
        if name not in numbers:
            raise ScheduleError(f"layer_order: network {network.name} has no layer {name!r}")
    return in_order(network, [numbers[name] for name in schedule.layer_order])


def schedule_decisions(evaluator: Evaluator, schedule: Schedule) -> tuple[tuple[Choice, ...], Arrangement]:
    """Choices and arrangement of a schedule for this network (`schedule_network`) and machine.

    Raises ScheduleError where it is for another network, batch or machine, UnsupportedDecision for what this
    version cannot lower, and IllegalSchedule where it does not fit.
    """
    network = evaluator.network
    _check_header(evaluator, schedule)
    numbers = {layer.name: number for number, layer in enumerate(network.layers)}
    by_rules = schedule.rules is not None
    choices = tuple(stored_choice(evaluator, numbers, subgraph, by_rules) for subgraph in schedule.subgraphs)
    home = homes(network, choices)
    packing = _packing(schedule)
    if schedule.steps or not by_rules:
        _check_packing(evaluator.machine, schedule, choices, packing)
    if schedule.rules is not None:
        for choice in choices:  # a split beyond what there is would be too many instances to arrange
            evaluator.templates.check(choice)
        rules = stored_rules(evaluator, schedule.rules, packing if schedule.steps else None)
        plan = evaluator.arrange(choices, rules)
    else:
        plan = _stored_plan(evaluator, schedule, choices, home, packing)
    check_arrangement(evaluator, choices, plan)
    return choices, plan


def _stored_plan(
    evaluator: Evaluator,
    schedule: Schedule,
    choices: Sequence[Choice],
    home: Sequence[int],
    packing: Packing,
) -> Arrangement:
    """The arrangement with the order and places of a file."""
    network = evaluator.network
    numbers = {layer.name: number for number, layer in enumerate(network.layers)}
    instances = [choice.instances for choice in choices]
    order = [placed for step in packing.steps for placed in step.instances]
    starts = np.concatenate(([0], np.cumsum(instances)))
    place_of = np.zeros(len(order), np.int64)
    for k, placed in enumerate(order):
        place_of[starts[placed.subgraph] + placed.instance] = k
    packed = packed_order(packing.steps, packing.merge)
    return Arrangement(
        subgraph=np.array([placed.subgraph for placed in order], np.int64),
        instance=np.array([placed.instance for placed in order], np.int64),
        **stored_tensors(evaluator, schedule, choices, home)._asdict(),
        **stored_weights(evaluator.machine, schedule, numbers, int(packed.when[-1]))._asdict(),
        place_of=place_of,
        instance_start=starts.astype(np.int64),
        when=packed.when,
        packed=packed if packing.concurrent else nothing_packed(),
        moves=stored_moves(network, evaluator.machine, schedule.moves),
        overlap_address=cached_at(schedule.subgraphs, choices),
    )


def schedule_to_program(evaluator: Evaluator, schedule: Schedule) -> Program:
    """The program of a schedule, byte for byte as when it was made. Raises ScheduleError."""
    return build_program(in_its_order(evaluator, schedule), *schedule_decisions(evaluator, schedule))


def replay(evaluator: Evaluator, schedule: Schedule) -> Evaluation:
    """The simulated cost of a schedule, by its stored order and places, not by rules. Raises ScheduleError."""
    decisions = schedule_decisions(evaluator, schedule)
    return in_its_order(evaluator, schedule).simulate(*decisions)[1]


def schedule_evaluator(network: Network, machine: Machine, schedule: Schedule) -> Evaluator:
    """An evaluator for a schedule of a file's network, with the schedule's orders of layers and instructions. Raises
    ScheduleError where it has other layers."""
    return in_its_order(Evaluator(schedule_network(network, schedule), machine), schedule)


def in_its_order(evaluator: Evaluator, schedule: Schedule) -> Evaluator:
    """The evaluator with the schedule's orders of instructions, where it has any and they are not there yet."""
    if isinstance(evaluator.templates, OrderedTemplates):
        return evaluator
    return ordered(evaluator, schedule.instruction_orders)


def _packing(schedule: Schedule) -> Packing:
    """The steps of a schedule; raises UnsupportedDecision for a word that is not known."""
    steps = []
    for number, step in enumerate(schedule.steps):
        if step.sync not in SYNC:
            raise UnsupportedDecision(
                f"step {number}: sync {step.sync!r} is not supported, expected one of {', '.join(SYNC)}"
            )
        placed = (
            Placement(each.subgraph, each.instance, each.first_core, each.wave) for each in step.instances
        )
        steps.append(Step(tuple(placed), SYNC[step.sync]))
    if schedule.merge not in MERGE:
        raise UnsupportedDecision(
            f"merge {schedule.merge!r} is not supported, expected one of {', '.join(MERGE)}"
        )
    return Packing(tuple(steps), MERGE[schedule.merge])


def _check_packing(machine: Machine, schedule: Schedule, choices: Sequence[Choice], packing: Packing) -> None:
    """Raise IllegalSchedule unless the steps are possible on the machine and name every instance once."""
    instances = [choice.instances for choice in choices]
    order = [(placed.subgraph, placed.instance) for step in packing.steps for placed in step.instances]
    named = _named(schedule, instances, order)
    check_steps(packing.steps, choices, machine)
    _check_all_named(schedule, instances, named)


def _named(
    schedule: Schedule, instances: Sequence[int], order: Sequence[tuple[int, int]]
) -> set[tuple[int, int]]:
    """The (sub-graph, instance) pairs that the steps name; sub-graph s has `instances[s]`. Raises IllegalSchedule for
    one that there is not, or that is named again."""
    named: set[tuple[int, int]] = set()
    for s, i in order:
        if not 0 <= s < len(instances):
            raise IllegalSchedule(
                f"the steps name instance {i} of sub-graph {s}, expected a sub-graph below {len(instances)}"
            )
        if i >= instances[s]:
            where = subgraph_name(s, schedule.subgraphs[s])
            raise IllegalSchedule(
                f"the steps name instance {i} of {where}, expected less than {instances[s]}, the product of its split"
            )
        if (s, i) in named:
            where = subgraph_name(s, schedule.subgraphs[s])
            raise IllegalSchedule(
                f"the steps name instance {i} of {where} again, expected each instance once"
            )
        named.add((s, i))
    return named


def _check_all_named(schedule: Schedule, instances: Sequence[int], named: set[tuple[int, int]]) -> None:
    """Raise IllegalSchedule where an instance is not among the `named` ones."""
    for s, count in enumerate(instances):
        missing = next((i for i in range(count) if (s, i) not in named), None)
        if missing is not None:
            raise IllegalSchedule(
                f"the steps do not name instance {missing} of {subgraph_name(s, schedule.subgraphs[s])}, expected each "
                f"of its {count}, the product of its split, once"
            )


def _check_header(evaluator: Evaluator, schedule: Schedule) -> None:
    if schedule.layer_order and schedule.layer_order != tuple(
        layer.name for layer in evaluator.network.layers
    ):
        raise ScheduleError("layer_order is not that of the network; schedule_network puts it in order")
    expected = {
        "machine": (schedule.machine, evaluator.machine.name),
        "model": (schedule.model, evaluator.network.name),
        "batch": (schedule.batch, evaluator.network.batch),
        "l1_rule": (schedule.l1_rule, L1_RULE),
        "order_rule": (schedule.order_rule, ORDER_RULE),
    }
    if evaluator.network.model_hash:
        expected["model_hash"] = (schedule.model_hash, evaluator.network.model_hash)
    for key, (found, wanted) in expected.items():
        if found != wanted:
            raise ScheduleError(f"{key} is {found!r}, expected {wanted!r}")
