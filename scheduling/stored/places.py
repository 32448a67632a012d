"""Places of tensors, weights, moves and cached overlaps as a schedule file has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from graph.network import Network
from hwmodel.machines.machine import Machine
from scheduling.choice import COLUMNS, Choice, in_whole_rows
from scheduling.errors import IllegalSchedule, ScheduleError, UnsupportedDecision
from scheduling.evaluator import Evaluator
from scheduling.lowering.tables import Ints
from scheduling.schedule_file import Schedule, Subgraph, TensorMove
from scheduling.stored.names import subgraph_name
from scheduling.timeline.tensor_moves import TensorMoves


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


def homes(network: Network, choices: Sequence[Choice]) -> list[int]:
    """(L,) the sub-graph of each layer; raises IllegalSchedule unless each is in one, and they are in order."""
    names = [layer.name for layer in network.layers]
    home: list[int] = []
    for s, choice in enumerate(choices):
        if choice.first != len(home):
            expected = f"{names[len(home)]!r}" if len(home) < len(names) else "no more layers"
            behind = f", which sub-graph {s - 1} leaves" if s and len(home) < len(names) else ""
            raise IllegalSchedule(
                f"sub-graph {s} begins with layer {names[choice.first]!r}, expected {expected}{behind}"
            )
        home += [s] * (choice.stop - choice.first)
    if len(home) != len(names):
        end = (
            f"sub-graph {len(choices) - 1} ends with layer {names[len(home) - 1]!r}"
            if home
            else "there is none"
        )
        raise IllegalSchedule(f"subgraphs: {end}, expected the last one to end with {names[-1]!r}")
    return home


def stored_tensors(
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
        raise IllegalSchedule(_odd_tensor(schedule, {name: home[producer[t]] for name, t in by_name.items()}))
    apart = _apart(evaluator, choices, home)
    for name, place in schedule.tensors.items():
        tensor = by_name[name]
        if place.scope not in ("llb", "dram"):
            raise UnsupportedDecision(
                f"tensor {name}: scope {place.scope!r} is not supported, expected llb or dram"
            )
        _check_addresses(schedule, name, home[producer[tensor]], slices[tensor])
        for address in place.addresses:
            check_aligned(evaluator.machine, f"tensor {name}", address)
        if place.scope == "llb":
            source = choices[home[producer[tensor]]]
            found.in_llb[tensor] = 1
            found.source_batch[tensor] = source.split_batch
            in_one_piece = len(set(place.addresses[: source.slices])) == 1
            found.source_rows[tensor] = 1 if in_one_piece or not apart[tensor] else source.split_rows
            found.slice_address[start[tensor] : start[tensor + 1]] = place.addresses
    return found


def _odd_tensor(schedule: Schedule, made_by: Mapping[str, int]) -> str:
    """A tensor that a schedule places but must not, or the other way round; `made_by` has the sub-graph of each that
    leaves one."""
    for name in sorted(made_by.keys() - schedule.tensors.keys()):
        where = subgraph_name(made_by[name], schedule.subgraphs[made_by[name]])
        return f"tensor {name!r} has no place, expected one, since it leaves {where}"
    extra = sorted(schedule.tensors.keys() - made_by.keys())
    return f"tensor {extra[0]!r} has a place, expected places only for the tensors that leave a sub-graph"


def _check_addresses(schedule: Schedule, name: str, maker: int, instances: int) -> None:
    """Raise IllegalSchedule unless a tensor has an address for each of the `instances` of the sub-graph that makes it;
    none in DRAM."""
    place = schedule.tensors[name]
    found = f"tensor {name}: {len(place.addresses)} addresses"
    if place.scope != "llb" and place.addresses:
        raise IllegalSchedule(f"{found}, expected none in {place.scope}")
    if place.scope == "llb" and len(place.addresses) != instances:
        raise IllegalSchedule(
            f"{found}, expected {instances}, one for each instance of {subgraph_name(maker, schedule.subgraphs[maker])}"
        )


def stored_weights(
    machine: Machine, schedule: Schedule, numbers: Mapping[str, int], last_wave: int
) -> _Weights:
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
        check_aligned(machine, f"weights of layer {name!r}", weights.address)
        staged_by[numbers[name]] = numbers[by]
        staged[numbers[name]], address[numbers[name]] = 1, weights.address
        copies += [(wave, numbers[name]) for wave in weights.copied_in_waves]
        if any(wave > last_wave for wave in weights.copied_in_waves):
            raise IllegalSchedule(f"weights of layer {name!r} are copied in a wave that there is not")
    when, layers = np.array(sorted(copies), np.int64).reshape(-1, 2).T
    return _Weights(staged, address, staged_by, np.ascontiguousarray(when), np.ascontiguousarray(layers))


def stored_moves(network: Network, machine: Machine, stored: Sequence[TensorMove]) -> TensorMoves:
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
            check_aligned(machine, f"moves.{number}: tensor {move.tensor}", move.address)
        rows.append((move.wave, numbers[move.tensor], move.slice, address))
    when, tensor, part, address_ = np.array(rows, np.int64).reshape(-1, 4).T
    return TensorMoves(*(np.ascontiguousarray(values) for values in (when, tensor, part, address_)))


def cached_at(subgraphs: Sequence[Subgraph], choices: Sequence[Choice]) -> Ints:
    """(N,) by sub-graph, then instance, the address in the LLB of what its slice of the batch caches there, else -1."""
    addresses: list[int] = []
    for subgraph, choice in zip(subgraphs, choices, strict=True):
        found = subgraph.cache.addresses or (-1,) * choice.split_batch
        addresses += [address for address in found for _ in range(choice.slices)]
    return np.array(addresses, np.int64)


def _apart(evaluator: Evaluator, choices: Sequence[Choice], home: Sequence[int]) -> list[bool]:
    """For every tensor whether its slices are runs of whole rows, each in a place of its own."""
    apart = []
    for made in evaluator.table.producer.tolist():
        source = choices[home[made]] if made >= 0 else None
        apart.append(source is not None and in_whole_rows(source))
    for number, layer in enumerate(evaluator.network.layers):
        if choices[home[number]].axis == COLUMNS:
            for tensor in layer.inputs:
                apart[tensor] = False
    return apart


def check_aligned(machine: Machine, name: str, address: int) -> None:
    """Raise IllegalSchedule where an address in the LLB cuts an element of what `name` says."""
    if address % machine.element_bytes:
        raise IllegalSchedule(
            f"{name}: byte {address} of the LLB, expected a multiple of the {machine.element_bytes} bytes of an element"
        )
