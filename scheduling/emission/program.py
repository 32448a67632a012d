"""A schedule's decisions become a Program: kernels, the launches that bind their symbols, buffers and traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from graph.network import Network
from graph.primitives import Contraction, Embedding
from hwmodel.programs.isa import Kernel, Launch, Program, Run, Trace
from scheduling.choice import CACHE_DRAM, COLUMNS, Choice
from scheduling.emission.buffers import DramBuffers
from scheduling.emission.instructions import OVERLAPS, Emitter
from scheduling.emission.places import PARAMETERS, WEIGHTS, Places
from scheduling.emission.step_waits import StepWaits
from scheduling.emission.traces import Traces
from scheduling.evaluator import Evaluator
from scheduling.lowering.geometry import geometry
from scheduling.lowering.shares import part_of
from scheduling.templates import Parts, Template
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.residence import STAYS, Residence
from scheduling.timeline.simulation import Times


@dataclass(frozen=True, slots=True)
class _Kernel:
    kernel: Kernel
    template: Template


def build_program(evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement) -> Program:
    """The program of these sub-graphs in this arrangement; simulating it gives the evaluator's cycles.

    Raises IllegalSchedule where a sub-graph does not fit.
    """
    times, _ = evaluator.simulate(choices, plan)
    return _Builder(evaluator, tuple(choices), plan, times).build()


def program_weights(network: Network) -> dict[str, NDArray[np.float32]]:
    """Weights, tables, parameters and constants by buffer name; constants are (rows, columns, channels).

    What layers share is there once, by the name of the layer that it is stored for.
    """
    weights: dict[str, NDArray[np.float32]] = {}
    for index, values in network.constants.items():
        weights[network.tensors[index].name] = np.ascontiguousarray(values.transpose(1, 2, 0))
    for layer in network.layers:
        if layer.shares is not None:
            continue
        if layer.weight is not None:
            weights[f"{layer.name}.weight"] = layer.weight
        for index, parameter in enumerate(layer.parameters):
            weights[f"{layer.name}.parameter{index}"] = parameter
    return weights


class _Builder:
    def __init__(
        self, evaluator: Evaluator, choices: tuple[Choice, ...], plan: Arrangement, times: Times
    ) -> None:
        self.evaluator = evaluator
        self.network = evaluator.network
        self.item = evaluator.machine.element_bytes
        self.choices = choices
        self.plan = plan
        self.times = times
        self.templates = evaluator.templates.of(choices, plan)
        self.residence = Residence(evaluator.table, choices, plan)
        outside = [tensor for tensor in self._leaving() if not plan.in_llb[tensor]]
        moved = plan.moves.tensor[plan.moves.address < 0].tolist()
        self.buffers = DramBuffers(self.network, self.item, {*outside, *moved})
        for number, choice in enumerate(choices):
            size = evaluator.templates.shared_cache_bytes(choice)
            if choice.halo == CACHE_DRAM and size:
                name = self.network.layers[choice.first].name
                self.buffers.add_overlaps(number, name, choice.split_batch, size)
        self._origins: dict[tuple[Choice, Parts], list[tuple[int, int]]] = {}

    def build(self) -> Program:
        evaluator, choices, plan, times = self.evaluator, self.choices, self.plan, self.times
        kernels: dict[int, _Kernel] = {}
        steps: list[Launch] = []
        traces: list[Trace] = []
        copies = evaluator.system_copies(choices, plan)
        waits = StepWaits(
            evaluator, choices, plan, times, copies, self.templates, self.buffers, self.residence
        )
        seen = Traces(evaluator, choices, plan, times, copies, self.buffers, self.residence)
        for k, template in enumerate(self.templates):
            found = evaluator.templates.seen(choices[plan.subgraph[k]], k, plan, self.residence)
            if id(template) not in kernels:
                kernels[id(template)] = _Kernel(self._kernel(k, template, found, len(kernels)), template)
            kernel = kernels[id(template)].kernel
            names = {event for instruction in kernel.instructions for event in instruction.events}
            events = {name: waits.event(k, name) for name in sorted(names)}
            bindings = {symbol.name: self._binding(k, symbol.name, found) for symbol in kernel.symbols}
            steps.append(Launch(kernel.name, bindings, events, waits.copies(k), *waits.placement(k)))
            traces += seen.of_step(k)
        by_name = {entry.kernel.name: entry.kernel for entry in kernels.values()}
        return Program(
            evaluator.machine.name,
            by_name,
            tuple(steps),
            tuple(self.buffers.buffers),
            tuple(traces),
            _runs(times.order.tolist()),
        )

    def _leaving(self) -> list[int]:
        """Tensors that leave the sub-graph that makes them."""
        return [
            tensor
            for choice in self.choices
            for tensor in self.evaluator.templates.borders(choice.first, choice.stop)[1].tolist()
        ]

    def _place(self, step: int) -> tuple[Choice, int, int]:
        """(choice, batch part, number among the instances of the batch part) of a step."""
        choice = self.choices[self.plan.subgraph[step]]
        return choice, *divmod(int(self.plan.instance[step]), choice.slices)

    def _kernel(self, step: int, template: Template, plan: Arrangement, number: int) -> Kernel:
        choice, batch_part, _ = self._place(step)
        frame = self.evaluator.templates.frames.of(choice, template.parts.channel)
        places = Places(
            frame.network,
            frame.choice,
            template.lowered,
            batch_part,
            self.item,
            plan.in_llb.tolist(),
            plan.source_batch.tolist(),
            plan.source_rows.tolist(),
            plan.staged.tolist(),
            tuple(tensor.channels for tensor in self.network.tensors),
            frame.turned,
            choice.split_channels > 1,
        )
        instructions = Emitter(places).instructions()
        symbols = tuple(symbol for _, symbol in sorted(places.symbols.values(), key=lambda entry: entry[0]))
        return Kernel(f"k{number:03}_layers_{choice.first}_{choice.stop - 1}", symbols, instructions)

    def _image_bytes(self, index: int, rows: int) -> int:
        tensor = self.network.tensors[index]
        return rows * tensor.columns * tensor.channels * self.item

    def _slice_rows(self, index: int, part: int, parts: int) -> int:
        rows = self.network.tensors[index].rows
        return rows * (part + 1) // parts - rows * part // parts

    def _binding(self, step: int, name: str, plan: Arrangement) -> int:
        """The address of a symbol in a step, whose instance finds what it reads as `plan` says."""
        choice, batch_part, _ = self._place(step)
        batch = self.network.batch
        first = batch * batch_part // choice.split_batch
        shift = partial(self._shift, step)
        if name == OVERLAPS:
            return self._overlaps(step)
        if name[0] in (WEIGHTS, PARAMETERS):
            layer = int(name[1:])
            staged, address = plan.staged[layer], self.buffers.weight_address[layer]
            return (int(plan.staged_address[layer]) if staged else address) + self._weight_shift(step, name)
        if name.startswith("out"):
            index = int(name[3:])
            if plan.in_llb[index]:
                address = int(plan.slice_address[plan.slice_start[index] + plan.instance[step]])
                return address + (shift(index) if plan.source_rows[index] == 1 else 0)
            rows = self.network.tensors[index].rows
            return self.buffers.tensor_address[index] + first * self._image_bytes(index, rows) + shift(index)
        index, relative, row_part = (int(part) for part in name[2:].split("_"))
        parts, row_parts = int(plan.source_batch[index]), int(plan.source_rows[index])
        part = part_of(first, batch, parts) + relative
        begin = batch * part // parts
        skip = max(first, begin) - begin
        if index in self.network.constants:
            return self.buffers.tensor_address[index] + shift(index)
        move = self.residence.move_before(int(plan.when[step]), index, part) if plan.in_llb[index] else STAYS
        if move != STAYS:
            address = int(plan.moves.address[move])
        elif plan.in_llb[index]:
            slices = (plan.slice_start[index + 1] - plan.slice_start[index]) // parts
            address = int(plan.slice_address[plan.slice_start[index] + part * slices + row_part])
        else:
            address = self.buffers.tensor_address[index]
        address += shift(index)
        return address + skip * self._image_bytes(index, self._slice_rows(index, row_part, row_parts))

    def _overlaps(self, step: int) -> int:
        """Where the overlaps of a step's slice of the batch are kept."""
        choice, batch_part, _ = self._place(step)
        subgraph = int(self.plan.subgraph[step])
        if choice.halo == CACHE_DRAM:
            size = self.evaluator.templates.shared_cache_bytes(choice)
            return self.buffers.overlap_address[subgraph] + batch_part * size
        number = self.plan.instance_start[subgraph] + self.plan.instance[step]
        return int(self.plan.overlap_address[number])

    def _shift(self, step: int, index: int) -> int:
        """Bytes in shared memory from where the step's template has its part of a tensor to where the step has it."""
        choice, _, part = self._place(step)
        template = self.templates[step]
        mine, its = self.evaluator.templates.frames.parts(choice, part), template.parts
        channels = self._first_channel(choice, mine, index) * self.item
        if mine[:2] == its[:2]:
            return channels
        local = template.lowered.geometry.tensor.tolist().index(index)
        here = self._origin(choice, mine._replace(channel=its.channel))[local]
        there = self._origin(choice, its)[local]
        rows, columns = here[0] - there[0], here[1] - there[1]
        tensor = self.network.tensors[index]
        if choice.axis == COLUMNS:
            rows, columns = columns, rows
        return channels + int((rows * tensor.columns + columns) * tensor.channels * self.item)

    def _weight_shift(self, step: int, name: str) -> int:
        """Bytes from where a layer's weights begin to those of a step's slice of the channels, or to its parameters."""
        choice, _, part = self._place(step)
        if choice.split_channels == 1:
            return 0
        layer = self.network.layers[int(name[1:])]
        tensor, anchor = self.network.tensors[layer.output], layer.anchor
        first = self._first_channel(choice, self.evaluator.templates.frames.parts(choice, part), layer.output)
        per_channel = (
            anchor.in_channels // anchor.groups * anchor.taps if isinstance(anchor, Contraction) else 0
        )
        if name[0] == PARAMETERS:
            return (tensor.channels * per_channel + first) * self.item
        return first * (1 if isinstance(anchor, Embedding) else per_channel) * self.item

    def _first_channel(self, choice: Choice, parts: Parts, tensor: int) -> int:
        """Where a slice begins in the channels of a tensor."""
        if choice.split_channels == 1:
            return 0
        units = self.evaluator.templates.frames.channel_units(choice)
        return units.first_channel(tensor, parts.channel, choice.split_channels)

    def _origin(self, choice: Choice, parts: Parts) -> list[tuple[int, int]]:
        """First row and column of every local tensor in the instances of a slice, in the frame."""
        known = self._origins.get((choice, parts))
        if known is None:
            frame = self.evaluator.templates.frames.of(choice, parts.channel)
            geo = geometry(frame.table, frame.choice, parts.row, parts.column)
            known = list(zip(geo.start[0].tolist(), geo.held_start.tolist(), strict=True))
            self._origins[choice, parts] = known
        return known


def _runs(order: Sequence[int]) -> tuple[Run, ...]:
    """An order of instances, one entry an instruction or copy, run by run."""
    return tuple(Run(number, len(list(group))) for number, group in groupby(order))
