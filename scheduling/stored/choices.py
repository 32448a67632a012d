"""Sub-graphs of a schedule file as choices."""

from __future__ import annotations

from graph.network import Network
from hwmodel.machines.machine import Machine
from scheduling.candidates.configurations import PIECES as OFFERED_PIECES
from scheduling.choice import CACHE, CHANNEL_RING, RECOMPUTE, Choice, OwnRun
from scheduling.errors import IllegalSchedule, ScheduleError, UnsupportedDecision
from scheduling.evaluator import Evaluator
from scheduling.schedule_file import Binding, OwnBinding, Subgraph
from scheduling.stored.names import AXES, CACHES, HALOS, halo_name
from scheduling.stored.places import check_aligned


def stored_choice(
    evaluator: Evaluator, numbers: dict[str, int], subgraph: Subgraph, by_rules: bool
) -> Choice:
    """The choice of a sub-graph; `numbers` are those of layers by name, and `by_rules` says that places follow from
    rules.

    Raises ScheduleError for layers that the network has not, and UnsupportedDecision for what cannot be lowered.
    """
    own = subgraph.own_bindings
    named = [name for run in own for name in (run.first_layer, run.last_layer)]
    for name in (subgraph.first_layer, subgraph.last_layer, *named):
        if name not in numbers:
            raise ScheduleError(_no_layer(evaluator.network, name))
    if numbers[subgraph.last_layer] < numbers[subgraph.first_layer]:
        raise IllegalSchedule(
            f"sub-graph {subgraph.first_layer!r}: its last layer, {subgraph.last_layer!r}, comes before its first"
        )
    if subgraph.halo not in HALOS:
        raise UnsupportedDecision(
            f"sub-graph {subgraph.first_layer!r}: halo {subgraph.halo!r} is not supported, expected one of {HALOS}"
        )
    if subgraph.piece_axis not in AXES:
        raise UnsupportedDecision(
            f"sub-graph {subgraph.first_layer!r}: piece_axis {subgraph.piece_axis!r} is not supported, "
            f"expected one of {AXES}"
        )
    _check_cache(evaluator.machine, subgraph, by_rules)
    binding = subgraph.binding
    _check_binding(evaluator.machine, subgraph, binding)
    _check_own_bindings(evaluator.machine, numbers, subgraph)
    choice = Choice(
        numbers[subgraph.first_layer],
        numbers[subgraph.last_layer] + 1,
        subgraph.split.batch,
        subgraph.split.rows,
        binding.batch,
        binding.rows * binding.columns,
        binding.channels,
        subgraph.pieces,
        AXES.index(subgraph.piece_axis),
        subgraph.order_a,
        int(subgraph.overlap),
        subgraph.split.columns,
        CACHE + CACHES.index(subgraph.cache.memory) if subgraph.halo == "cache" else RECOMPUTE,
        int(subgraph.keep_weights),
        subgraph.split.channels,
    )
    try:
        choice = choice.with_own_runs([_own_run(numbers, run) for run in own])
    except UnsupportedDecision as error:
        raise UnsupportedDecision(f"sub-graph {subgraph.first_layer!r}: own_bindings: {error}") from None
    if halo_name(choice) != subgraph.halo:
        raise UnsupportedDecision(
            f"sub-graph {subgraph.first_layer!r}: halo is {subgraph.halo!r} with pieces along {subgraph.piece_axis}, "
            f"expected {halo_name(choice)!r} or 'cache'"
        )
    _check_pieces(evaluator.network, choice, subgraph)
    return choice


def _no_layer(network: Network, name: str) -> str:
    """That there is no layer of a name, and which one has the node of this name."""
    fused = next((layer.name for layer in network.layers if name in layer.nodes), None)
    part = "" if fused is None else f"; the node of this name is part of layer {fused!r}"
    return f"layer {name!r}: network {network.name} has no such layer{part}"


def _check_binding(machine: Machine, subgraph: Subgraph, binding: Binding) -> None:
    """Refuse ways over the axis that is not streamed, and more ways than there are cores."""
    where = f"sub-graph {subgraph.first_layer!r}"
    streamed, cross = ("columns", "rows") if subgraph.piece_axis == "columns" else ("rows", "columns")
    if getattr(binding, cross) > 1:
        raise UnsupportedDecision(
            f"{where}: {getattr(binding, cross)} ways over {cross} with pieces along "
            f"{subgraph.piece_axis} are not supported, expected 1 (cores share {streamed})"
        )
    ways = binding.batch * binding.rows * binding.channels * binding.columns
    if ways > machine.cores:
        raise IllegalSchedule(f"{where}: a binding of {ways} cores, {machine.name} has {machine.cores}")


def _check_own_bindings(machine: Machine, numbers: dict[str, int], subgraph: Subgraph) -> None:
    """Refuse bindings of layers that are no runs of the sub-graph's, one behind the other, or over cores that it cannot
    be."""
    where = f"sub-graph {subgraph.first_layer!r}: own_bindings"
    before = ""
    for own in subgraph.own_bindings:
        _check_binding(machine, subgraph, own.binding)
        if numbers[own.last_layer] < numbers[own.first_layer]:
            raise IllegalSchedule(
                f"{where}: last layer {own.last_layer!r} comes before its first, {own.first_layer!r}"
            )
        for name in (own.first_layer, own.last_layer):
            if not numbers[subgraph.first_layer] <= numbers[name] <= numbers[subgraph.last_layer]:
                raise IllegalSchedule(f"{where}: layer {name!r} is not in the sub-graph")
        if before and numbers[own.first_layer] <= numbers[before]:
            raise IllegalSchedule(
                f"{where}: layer {own.first_layer!r} is not behind {before!r}, the last one before"
            )
        before = own.last_layer


def _own_run(numbers: dict[str, int], own: OwnBinding) -> OwnRun:
    ways = own.binding
    return OwnRun(
        numbers[own.first_layer],
        numbers[own.last_layer] + 1,
        ways.batch,
        ways.rows * ways.columns,
        ways.channels,
    )


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


def _check_cache(machine: Machine, subgraph: Subgraph, by_rules: bool) -> None:
    """Refuse a cache of overlaps that cannot be, or in an unknown memory."""
    cache, where = subgraph.cache, f"sub-graph {subgraph.first_layer!r}: cache"
    if cache.memory not in CACHES:
        raise UnsupportedDecision(
            f"{where}: memory {cache.memory!r} is not supported, expected one of {CACHES}"
        )
    if cache.memory != "l1" and subgraph.halo != "cache":
        raise UnsupportedDecision(
            f"{where}: memory is {cache.memory!r} with halo {subgraph.halo!r}, expected 'cache'"
        )
    expected = subgraph.split.batch if cache.memory == "llb" and not by_rules else 0
    if len(cache.addresses) != expected:
        why = ", since rules find them" if by_rules else ""
        raise IllegalSchedule(f"{where}: {len(cache.addresses)} addresses, expected {expected}{why}")
    for address in cache.addresses:
        check_aligned(machine, where, address)
