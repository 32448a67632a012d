"""From decisions to a schedule, and its exact replay.

What solvers and rules found (order, scopes, places in the LLB, copies of weights) is stored, so a replay depends on
no rule but two that are named in the file: the order of operations inside a kernel (layer + a x piece) and the L1
layout (larger rings first, lowest free place).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from graph.network import Network
from hwmodel.machines.machine import Machine
from hwmodel.programs.isa import Program
from scheduling.candidates.configurations import PIECES as OFFERED_PIECES
from scheduling.choice import CACHE, CACHE_LLB, CHANNEL_RING, COLUMNS, RECOMPUTE, Choice
from scheduling.emission.program import build_program
from scheduling.errors import IllegalSchedule, ScheduleError, UnsupportedDecision
from scheduling.evaluator import Evaluation, Evaluator
from scheduling.instruction_orders import OrderedTemplates, ordered
from scheduling.layer_order import in_order
from scheduling.legality.arrangements import check_arrangement
from scheduling.legality.packings import check_steps
from scheduling.lowering.tables import Ints
from scheduling.rules import Rules
from scheduling.schedule_file import (
    VERSION,
    Binding,
    Cache,
    LaunchedStep,
    Schedule,
    Split,
    StepInstance,
    Subgraph,
    TensorMove,
    TensorPlace,
    WeightPlace,
)
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.packing import (
    AS_BARRIERS,
    BARRIERS,
    EARLIEST,
    WAITS,
    Packing,
    Placement,
    Step,
    nothing_packed,
    packed_order,
)
from scheduling.timeline.tensor_moves import TensorMoves

L1_RULE = "larger rings first, lowest free place"
ORDER_RULE = "layer + a x piece"
_AXES = ("rows", "channels", "columns", "channel_ring")
_HALOS = ("recompute", "cache_columns", "cache")
_CACHES = ("l1", "llb", "dram")
_SYNC = {"waits": WAITS, "barriers": BARRIERS}
_MERGE = {"earliest start": EARLIEST, "as with barriers": AS_BARRIERS}


def make_schedule(
    evaluator: Evaluator,
    choices: Sequence[Choice],
    rules: Rules,
    model_hash: str,
    strategy: str,
    reordered: bool = False,
) -> Schedule:
    """The schedule of decisions, what rules leave open resolved; `reordered` says that the evaluator's network has its
    layers in another order than the file, which is stored then. Raises IllegalSchedule."""
    network = evaluator.network
    plan = evaluator.arrange(choices, rules)
    check_arrangement(evaluator, choices, plan)
    evaluator.templates.of(choices, plan)
    tensors = {}
    for choice in choices:
        for tensor in evaluator.templates.borders(choice.first, choice.stop)[1].tolist():
            slices = plan.slice_address[plan.slice_start[tensor] : plan.slice_start[tensor + 1]].tolist()
            in_llb = bool(plan.in_llb[tensor])
            place = TensorPlace(scope="llb" if in_llb else "dram", addresses=tuple(slices) if in_llb else ())
            tensors[network.tensors[tensor].name] = place
    weights = {
        network.layers[layer].name: WeightPlace(
            address=int(plan.staged_address[layer]),
            copied_in_waves=tuple(sorted(plan.copy_when[plan.copy_layer == layer].tolist())),
            copied_for=network.layers[by].name if by != layer else "",
        )
        for layer, by in enumerate(plan.staged_by.tolist())
        if by >= 0
    }
    return Schedule(
        version=VERSION,
        model=network.name,
        model_hash=model_hash,
        machine=evaluator.machine.name,
        batch=network.batch,
        strategy=strategy,
        l1_rule=L1_RULE,
        order_rule=ORDER_RULE,
        subgraphs=tuple(
            _subgraph(evaluator, choice, _caches(plan, s, choice)) for s, choice in enumerate(choices)
        ),
        steps=_steps(plan),
        merge=_name(_MERGE, plan.packed.as_barriers),
        tensors=tensors,
        weights=weights,
        layer_order=tuple(layer.name for layer in network.layers) if reordered else (),
        moves=_stored_moves(network, plan.moves),
    )


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
    choices = tuple(_choice(evaluator, numbers, subgraph) for subgraph in schedule.subgraphs)
    home = _homes(network, choices)
    instances = [choice.instances for choice in choices]
    packing = _packing(schedule)
    order = [placed for step in packing.steps for placed in step.instances]
    for s, i, *_ in order:
        if not (0 <= s < len(choices) and 0 <= i < instances[s]):
            raise IllegalSchedule(f"the steps name instance {i} of sub-graph {s}, which there is not")
    check_steps(packing.steps, choices, evaluator.machine)
    if len(order) != sum(instances):
        raise IllegalSchedule(f"the order has {len(order)} instances, expected each of {sum(instances)} once")
    starts = np.concatenate(([0], np.cumsum(instances)))
    place_of = np.zeros(len(order), np.int64)
    for k, placed in enumerate(order):
        place_of[starts[placed.subgraph] + placed.instance] = k
    packed = packed_order(packing.steps, packing.merge)
    plan = Arrangement(
        subgraph=np.array([placed.subgraph for placed in order], np.int64),
        instance=np.array([placed.instance for placed in order], np.int64),
        **_tensors(evaluator, schedule, choices, home)._asdict(),
        **_weights(evaluator.machine, schedule, numbers, int(packed.when[-1]))._asdict(),
        place_of=place_of,
        instance_start=starts.astype(np.int64),
        when=packed.when,
        packed=packed if packing.concurrent else nothing_packed(),
        moves=_moves(network, evaluator.machine, schedule.moves),
        overlap_address=_cached_at(schedule.subgraphs, choices),
    )
    check_arrangement(evaluator, choices, plan)
    return choices, plan


class _Tensors(NamedTuple):
    """Where tensors are made: the fields of an Arrangement by these names."""

    in_llb: Ints
    source_batch: Ints
    source_rows: Ints
    slice_start: Ints
    slice_address: Ints


class _Weights(NamedTuple):
    """Weights in the LLB: the fields of an Arrangement by these names."""

    staged: Ints
    staged_address: Ints
    staged_by: Ints
    copy_when: Ints
    copy_layer: Ints


def _homes(network: Network, choices: Sequence[Choice]) -> list[int]:
    """(L,) the sub-graph of each layer; raises IllegalSchedule unless each is in one, and they are in order."""
    names = [layer.name for layer in network.layers]
    home: list[int] = []
    for s, choice in enumerate(choices):
        if choice.first != len(home):
            expected = repr(names[len(home)]) if len(home) < len(names) else "no more layers"
            raise IllegalSchedule(
                f"sub-graph {s} begins with layer {names[choice.first]!r}, expected {expected}"
            )
        home += [s] * (choice.stop - choice.first)
    if len(home) != len(names):
        raise IllegalSchedule(f"the sub-graphs hold {len(home)} layers, the network has {len(names)}")
    return home


def _tensors(
    evaluator: Evaluator, schedule: Schedule, choices: Sequence[Choice], home: Sequence[int]
) -> _Tensors:
    """The places of a schedule's tensors; raises ScheduleError for others than those that leave a sub-graph."""
    network, producer = evaluator.network, evaluator.table.producer.tolist()
    count = len(network.tensors)
    slices = [choices[home[made]].instances if made >= 0 else 1 for made in producer]
    start = np.concatenate(([0], np.cumsum(slices))).astype(np.int64)
    found = _Tensors(
        in_llb=np.zeros(count, np.int64),
        source_batch=np.ones(count, np.int64),
        source_rows=np.ones(count, np.int64),
        slice_start=start,
        slice_address=np.full(int(start[-1]), -1, np.int64),
    )
    by_name = {
        network.tensors[tensor].name: tensor
        for choice in choices
        for tensor in evaluator.templates.borders(choice.first, choice.stop)[1].tolist()
    }
    if by_name.keys() != schedule.tensors.keys():
        odd = sorted(by_name.keys() ^ schedule.tensors.keys())
        raise IllegalSchedule(
            f"tensor {odd[0]!r}: the schedule must place just the tensors that leave a sub-graph"
        )
    apart = _apart(evaluator, choices, home)
    for name, place in schedule.tensors.items():
        tensor = by_name[name]
        if place.scope not in ("llb", "dram"):
            raise UnsupportedDecision(
                f"tensor {name}: scope {place.scope!r} is not supported, expected llb or dram"
            )
        expected = slices[tensor] if place.scope == "llb" else 0
        if len(place.addresses) != expected:
            raise IllegalSchedule(f"tensor {name}: {len(place.addresses)} addresses, expected {expected}")
        for address in place.addresses:
            _check_aligned(evaluator.machine, f"tensor {name}", address)
        if place.scope == "llb":
            source = choices[home[producer[tensor]]]
            found.in_llb[tensor] = 1
            found.source_batch[tensor] = source.split_batch
            in_one_piece = len(set(place.addresses[: source.slices])) == 1
            found.source_rows[tensor] = 1 if in_one_piece or not apart[tensor] else source.split_rows
            found.slice_address[start[tensor] : start[tensor + 1]] = place.addresses
    return found


def _weights(machine: Machine, schedule: Schedule, numbers: Mapping[str, int], last_wave: int) -> _Weights:
    """The weights that a schedule has in the LLB; raises IllegalSchedule for layers and waves that there are not."""
    count = len(numbers)
    staged = np.zeros(count, np.int64)
    address, staged_by = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    copies: list[tuple[int, int]] = []
    for name, weights in schedule.weights.items():
        by = weights.copied_for or name
        for layer in (name, by):
            if layer not in numbers:
                raise IllegalSchedule(f"weights of layer {layer!r}, which the network has not")
        _check_aligned(machine, f"weights of layer {name!r}", weights.address)
        staged_by[numbers[name]] = numbers[by]
        staged[numbers[name]], address[numbers[name]] = 1, weights.address
        copies += [(wave, numbers[name]) for wave in weights.copied_in_waves]
        if any(wave > last_wave for wave in weights.copied_in_waves):
            raise IllegalSchedule(f"weights of layer {name!r} are copied in a wave that there is not")
    when, layers = np.array(sorted(copies), np.int64).reshape(-1, 2).T
    return _Weights(staged, address, staged_by, np.ascontiguousarray(when), np.ascontiguousarray(layers))


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


def _steps(plan: Arrangement) -> tuple[LaunchedStep, ...]:
    instances = list(zip(plan.subgraph.tolist(), plan.instance.tolist(), strict=True))
    if not len(plan.packed.step):
        return tuple(LaunchedStep(instances=(StepInstance(subgraph=s, instance=i),)) for s, i in instances)
    when, first_core = plan.when.tolist(), plan.packed.first_core.tolist()
    steps = []
    for number in range(int(plan.packed.step[-1]) + 1):
        places = np.flatnonzero(plan.packed.step == number).tolist()
        members = tuple(
            StepInstance(
                subgraph=instances[k][0],
                instance=instances[k][1],
                first_core=first_core[k],
                wave=when[k] - when[places[0]],
            )
            for k in places
        )
        sync = _name(_SYNC, int(plan.packed.barrier[places[0]]))
        steps.append(LaunchedStep(instances=members, sync=sync))
    return tuple(steps)


def _stored_moves(network: Network, moves: TensorMoves) -> tuple[TensorMove, ...]:
    return tuple(
        TensorMove(tensor=network.tensors[tensor].name, slice=part, wave=when, to="llb", address=address)
        if address >= 0
        else TensorMove(tensor=network.tensors[tensor].name, slice=part, wave=when, to="dram")
        for when, tensor, part, address in zip(*(values.tolist() for values in moves), strict=True)
    )


def _check_aligned(machine: Machine, name: str, address: int) -> None:
    if address % machine.element_bytes:
        raise IllegalSchedule(
            f"{name}: byte {address} of the LLB, expected a multiple of the {machine.element_bytes} bytes of an element"
        )


def _moves(network: Network, machine: Machine, stored: Sequence[TensorMove]) -> TensorMoves:
    """The moves of a schedule; raises ScheduleError for a tensor, a memory or an address that cannot be."""
    numbers = {tensor.name: number for number, tensor in enumerate(network.tensors)}
    rows = []
    for number, move in enumerate(stored):
        if move.tensor not in numbers:
            raise ScheduleError(f"moves.{number}: network {network.name} has no tensor {move.tensor!r}")
        if move.to not in ("llb", "dram"):
            raise UnsupportedDecision(
                f"moves.{number}: to {move.to!r} is not supported, expected llb or dram"
            )
        if (move.address is None) != (move.to == "dram"):
            wanted = "none in dram" if move.to == "dram" else "one in the llb"
            raise ScheduleError(f"moves.{number}: address is {move.address}, expected {wanted}")
        address = -1 if move.address is None else move.address
        if move.address is not None:
            _check_aligned(machine, f"moves.{number}: tensor {move.tensor}", move.address)
        rows.append((move.wave, numbers[move.tensor], move.slice, address))
    when, tensor, part, address_ = np.array(rows, np.int64).reshape(-1, 4).T
    return TensorMoves(*(np.ascontiguousarray(values) for values in (when, tensor, part, address_)))


def _packing(schedule: Schedule) -> Packing:
    """The steps of a schedule; raises UnsupportedDecision for a word that is not known."""
    steps = []
    for number, step in enumerate(schedule.steps):
        if step.sync not in _SYNC:
            raise UnsupportedDecision(
                f"step {number}: sync {step.sync!r} is not supported, expected one of {', '.join(_SYNC)}"
            )
        placed = (
            Placement(each.subgraph, each.instance, each.first_core, each.wave) for each in step.instances
        )
        steps.append(Step(tuple(placed), _SYNC[step.sync]))
    if schedule.merge not in _MERGE:
        raise UnsupportedDecision(
            f"merge {schedule.merge!r} is not supported, expected one of {', '.join(_MERGE)}"
        )
    return Packing(tuple(steps), _MERGE[schedule.merge])


def _name(codes: dict[str, int], code: int) -> str:
    return next(name for name, value in codes.items() if value == code)


def _caches(plan: Arrangement, subgraph: int, choice: Choice) -> Cache:
    """Where a sub-graph of an arrangement caches its overlaps."""
    if choice.halo != CACHE_LLB:
        return Cache(memory=_CACHES[max(choice.halo - CACHE, 0)])
    begin = int(plan.instance_start[subgraph])
    places = plan.overlap_address[begin : begin + choice.instances : choice.slices]
    return Cache(memory="llb", addresses=tuple(max(0, place) for place in places.tolist()))


def _cached_at(subgraphs: Sequence[Subgraph], choices: Sequence[Choice]) -> Ints:
    """(N,) by sub-graph, then instance, the address in the LLB of what its slice of the batch caches there, else -1."""
    addresses: list[int] = []
    for subgraph, choice in zip(subgraphs, choices, strict=True):
        found = subgraph.cache.addresses or (-1,) * choice.split_batch
        addresses += [address for address in found for _ in range(choice.slices)]
    return np.array(addresses, np.int64)


def _check_cache(machine: Machine, subgraph: Subgraph) -> None:
    """Refuse a cache of overlaps that cannot be, or in an unknown memory."""
    cache, where = subgraph.cache, f"sub-graph {subgraph.first_layer!r}: cache"
    if cache.memory not in _CACHES:
        raise UnsupportedDecision(
            f"{where}: memory {cache.memory!r} is not supported, expected one of {_CACHES}"
        )
    if cache.memory != "l1" and subgraph.halo != "cache":
        raise UnsupportedDecision(
            f"{where}: memory is {cache.memory!r} with halo {subgraph.halo!r}, expected 'cache'"
        )
    expected = subgraph.split.batch if cache.memory == "llb" else 0
    if len(cache.addresses) != expected:
        raise IllegalSchedule(f"{where}: {len(cache.addresses)} addresses, expected {expected}")
    for address in cache.addresses:
        _check_aligned(machine, where, address)


def _subgraph(evaluator: Evaluator, choice: Choice, cache: Cache) -> Subgraph:
    layers = evaluator.network.layers
    return Subgraph(
        first_layer=layers[choice.first].name,
        last_layer=layers[choice.stop - 1].name,
        split=Split(batch=choice.split_batch, rows=choice.split_rows, columns=choice.split_columns),
        halo=_halo(choice),
        binding=Binding(
            batch=choice.ways_batch,
            rows=1 if choice.axis == COLUMNS else choice.ways_rows,
            channels=choice.ways_channels,
            columns=choice.ways_rows if choice.axis == COLUMNS else 1,
        ),
        pieces=choice.pieces,
        piece_axis=_AXES[choice.axis],
        order_a=choice.rule,
        overlap=bool(choice.overlap),
        keep_weights=bool(choice.keep_weights),
        cache=cache,
    )


def _halo(choice: Choice) -> str:
    if choice.halo != RECOMPUTE:
        return "cache"
    return "cache_columns" if choice.axis == COLUMNS else "recompute"


def _apart(evaluator: Evaluator, choices: Sequence[Choice], home: Sequence[int]) -> list[bool]:
    """For every tensor whether its slices are runs of whole rows, each in a place of its own."""
    apart = []
    for made in evaluator.table.producer.tolist():
        source = choices[home[made]] if made >= 0 else None
        by_rows = source is not None and source.split_columns == 1 and source.axis != COLUMNS
        apart.append(by_rows and source is not None and source.halo == RECOMPUTE)
    for number, layer in enumerate(evaluator.network.layers):
        if choices[home[number]].axis == COLUMNS:
            for tensor in layer.inputs:
                apart[tensor] = False
    return apart


def _choice(evaluator: Evaluator, numbers: dict[str, int], subgraph: Subgraph) -> Choice:
    for name in (subgraph.first_layer, subgraph.last_layer):
        if name not in numbers:
            raise ScheduleError(f"layer {name!r}: network {evaluator.network.name} has no such layer")
    if numbers[subgraph.last_layer] < numbers[subgraph.first_layer]:
        raise IllegalSchedule(
            f"sub-graph {subgraph.first_layer!r}: its last layer, {subgraph.last_layer!r}, comes before its first"
        )
    if subgraph.halo not in _HALOS:
        raise UnsupportedDecision(f"halo {subgraph.halo!r} is not supported, expected one of {_HALOS}")
    if subgraph.piece_axis not in _AXES:
        raise UnsupportedDecision(
            f"piece_axis {subgraph.piece_axis!r} is not supported, expected one of {_AXES}"
        )
    _check_cache(evaluator.machine, subgraph)
    binding = subgraph.binding
    streamed, cross = ("columns", "rows") if subgraph.piece_axis == "columns" else ("rows", "columns")
    if getattr(binding, cross) > 1:
        raise UnsupportedDecision(
            f"sub-graph {subgraph.first_layer!r}: {getattr(binding, cross)} ways over {cross} with pieces along "
            f"{subgraph.piece_axis} are not supported, expected 1 (cores share {streamed})"
        )
    ways = binding.batch * binding.rows * binding.channels * binding.columns
    if ways > evaluator.machine.cores:
        raise IllegalSchedule(
            f"a binding of {ways} cores, {evaluator.machine.name} has {evaluator.machine.cores}"
        )
    choice = Choice(
        numbers[subgraph.first_layer],
        numbers[subgraph.last_layer] + 1,
        subgraph.split.batch,
        subgraph.split.rows,
        binding.batch,
        binding.rows * binding.columns,
        binding.channels,
        subgraph.pieces,
        _AXES.index(subgraph.piece_axis),
        subgraph.order_a,
        int(subgraph.overlap),
        subgraph.split.columns,
        CACHE + _CACHES.index(subgraph.cache.memory) if subgraph.halo == "cache" else RECOMPUTE,
        int(subgraph.keep_weights),
    )
    if _halo(choice) != subgraph.halo:
        raise UnsupportedDecision(
            f"sub-graph {subgraph.first_layer!r}: halo is {subgraph.halo!r} with pieces along {subgraph.piece_axis}, "
            f"expected {_halo(choice)!r} or 'cache'"
        )
    _check_pieces(evaluator.network, choice, subgraph)
    return choice


def _check_pieces(network: Network, choice: Choice, subgraph: Subgraph) -> None:
    """Refuse pieces of which one has nothing to do in any layer, but for the small numbers that are offered for every
    sub-graph whatever its extents.
    """
    touched = {
        tensor
        for layer in network.layers[choice.first : choice.stop]
        for tensor in (*layer.inputs, layer.output)
    }
    axis = "channels" if choice.axis == CHANNEL_RING else subgraph.piece_axis
    most = max(getattr(network.tensors[tensor], axis) for tensor in touched)
    most = max(most, *OFFERED_PIECES)
    if choice.pieces > most:
        raise IllegalSchedule(
            f"sub-graph {subgraph.first_layer!r}: {choice.pieces} pieces along {subgraph.piece_axis}, more than any of "
            f"its tensors has; expected at most {most}"
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
