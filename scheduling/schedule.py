"""From decisions to a schedule.

What solvers and rules found (order, scopes, places in the LLB, copies of weights) is stored, so that its replay
(scheduling.stored.replay) depends on no solver.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graph.network import Network
from scheduling.choice import CACHE, CACHE_LLB, COLUMNS, Choice
from scheduling.evaluator import Evaluator
from scheduling.legality.arrangements import check_arrangement
from scheduling.rules import Rules
from scheduling.schedule_file import (
    VERSION,
    Binding,
    Cache,
    LaunchedStep,
    OwnBinding,
    Schedule,
    Split,
    StepInstance,
    Subgraph,
    TensorMove,
    TensorPlace,
    WeightPlace,
)
from scheduling.stored.names import AXES, CACHES, L1_RULE, MERGE, ORDER_RULE, SYNC, halo_name, name_of
from scheduling.stored.replay import schedule_decisions
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.tensor_moves import TensorMoves


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
    plan = evaluator.arrange(choices, rules)
    check_arrangement(evaluator, choices, plan)
    return _schedule(evaluator, choices, plan, model_hash, strategy, reordered)


def resolved(evaluator: Evaluator, schedule: Schedule) -> Schedule:
    """A schedule with all that its rules leave open, for this network (`schedule_network`) and machine; itself where
    it has no rules. Raises ScheduleError as `schedule_decisions` does."""
    if schedule.rules is None:
        return schedule
    choices, plan = schedule_decisions(evaluator, schedule)
    whole = _schedule(
        evaluator, choices, plan, schedule.model_hash, schedule.strategy, bool(schedule.layer_order)
    )
    return whole.model_copy(update={"instruction_orders": schedule.instruction_orders})


def _schedule(
    evaluator: Evaluator,
    choices: Sequence[Choice],
    plan: Arrangement,
    model_hash: str,
    strategy: str,
    reordered: bool,
) -> Schedule:
    network = evaluator.network
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
        merge=name_of(MERGE, plan.packed.as_barriers),
        tensors=tensors,
        weights=weights,
        layer_order=tuple(layer.name for layer in network.layers) if reordered else (),
        moves=_moves_of(network, plan.moves),
    )


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
        sync = name_of(SYNC, int(plan.packed.barrier[places[0]]))
        steps.append(LaunchedStep(instances=members, sync=sync))
    return tuple(steps)


def _moves_of(network: Network, moves: TensorMoves) -> tuple[TensorMove, ...]:
    return tuple(
        TensorMove(tensor=network.tensors[tensor].name, slice=part, wave=when, to="llb", address=address)
        if address >= 0
        else TensorMove(tensor=network.tensors[tensor].name, slice=part, wave=when, to="dram")
        for when, tensor, part, address in zip(*(values.tolist() for values in moves), strict=True)
    )


def _caches(plan: Arrangement, subgraph: int, choice: Choice) -> Cache:
    """Where a sub-graph of an arrangement caches its overlaps."""
    if choice.halo != CACHE_LLB:
        return Cache(memory=CACHES[max(choice.halo - CACHE, 0)])
    begin = int(plan.instance_start[subgraph])
    places = plan.overlap_address[begin : begin + choice.instances : choice.slices]
    return Cache(memory="llb", addresses=tuple(max(0, place) for place in places.tolist()))


def _subgraph(evaluator: Evaluator, choice: Choice, cache: Cache) -> Subgraph:
    layers = evaluator.network.layers
    return Subgraph(
        first_layer=layers[choice.first].name,
        last_layer=layers[choice.stop - 1].name,
        split=Split(
            batch=choice.split_batch,
            rows=choice.split_rows,
            columns=choice.split_columns,
            channels=choice.split_channels,
        ),
        halo=halo_name(choice),
        binding=_binding(choice.axis, choice.ways_batch, choice.ways_rows, choice.ways_channels),
        pieces=choice.pieces,
        piece_axis=AXES[choice.axis],
        order_a=choice.rule,
        overlap=bool(choice.overlap),
        keep_weights=bool(choice.keep_weights),
        cache=cache,
        own_bindings=tuple(
            OwnBinding(
                first_layer=layers[run.first].name,
                last_layer=layers[run.stop - 1].name,
                binding=_binding(choice.axis, run.batch, run.rows, run.channels),
            )
            for run in choice.own_runs
        ),
    )


def _binding(axis: int, batch: int, streamed: int, channels: int) -> Binding:
    """Ways as a file has them; those over the streamed axis are of rows or of columns."""
    columns = axis == COLUMNS
    return Binding(
        batch=batch, rows=1 if columns else streamed, channels=channels, columns=streamed if columns else 1
    )
