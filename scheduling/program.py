"""A schedule's decisions become a Program: kernels, the launches that bind their symbols, buffers and traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graph.network import Network
from graph.primitives import Contraction, Embedding
from hwmodel.isa import Buffer, Kernel, Launch, Op, Program, Ref, SystemCopy, Trace
from scheduling.arrangement import Arrangement, touching
from scheduling.choice import Choice
from scheduling.emission import EVENT_COMPUTE, EVENT_DMA, Emitter
from scheduling.evaluator import Evaluator, Template
from scheduling.places import Places
from scheduling.rows import C_OP, C_TENSOR
from scheduling.shares import part_of
from scheduling.simulation import COPY_CHUNK_BYTES, Times

_COMPUTE = ((Op.CONV, Op.MATMUL), (Op.VECTOR,))
_DMA = (Op.LOAD, Op.LOADW, Op.STORE, Op.BROADCAST, Op.GATHER)


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
    """Weights, tables, parameters and constants by buffer name; constants are (rows, columns, channels)."""
    weights: dict[str, NDArray[np.float32]] = {}
    for index, values in network.constants.items():
        weights[network.tensors[index].name] = np.ascontiguousarray(values.transpose(1, 2, 0))
    for layer in network.layers:
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
        self.home = [s for s, choice in enumerate(choices) for _ in range(choice.first, choice.stop)]
        self.buffers: list[Buffer] = []
        self.tensor_address: dict[int, int] = {}
        self.weight_address: dict[int, int] = {}
        self._used = 0

    def build(self) -> Program:
        templates = self.evaluator.templates(self.choices, self.plan)
        self._place_buffers()
        kernels: dict[int, _Kernel] = {}
        steps: list[Launch] = []
        traces: list[Trace] = []
        refs = _Refs(self, templates)
        for k, template in enumerate(templates):
            if id(template) not in kernels:
                kernels[id(template)] = _Kernel(self._kernel(k, template, len(kernels)), template)
            kernel = kernels[id(template)].kernel
            names = {event for instruction in kernel.instructions for event in instruction.events}
            events = {name: refs.event(k, name) for name in sorted(names)}
            bindings = {symbol.name: self._binding(k, symbol.name) for symbol in kernel.symbols}
            steps.append(Launch(kernel.name, bindings, events, refs.copies(k)))
            traces += self._traces(k)
        by_name = {entry.kernel.name: entry.kernel for entry in kernels.values()}
        machine = self.evaluator.machine.name
        return Program(machine, by_name, tuple(steps), tuple(self.buffers), tuple(traces))

    def _add(self, name: str, role: str, shape: tuple[int, ...]) -> int:
        address = self._used
        self.buffers.append(Buffer(name, role, address, shape))
        self._used += int(np.prod(shape)) * self.item
        return address

    def _place_buffers(self) -> None:
        network = self.network
        for index, tensor in enumerate(network.tensors):
            made_by = int(self.evaluator.table.producer[index])
            shape = (network.batch, tensor.rows, tensor.columns, tensor.channels)
            if index in network.constants:
                self.tensor_address[index] = self._add(tensor.name, "constant", shape[1:])
            elif made_by < 0:
                self.tensor_address[index] = self._add(tensor.name, "input", shape)
            elif index in network.outputs:
                self.tensor_address[index] = self._add(tensor.name, "output", shape)
            elif self._leaves(index) and not self.plan.in_llb[index]:
                self.tensor_address[index] = self._add(tensor.name, "boundary", shape)
        for number, layer in enumerate(network.layers):
            self.weight_address[number] = self._used
            anchor = layer.anchor
            channels = network.tensors[layer.output].channels
            if isinstance(anchor, Contraction):
                reduction = anchor.in_channels // anchor.groups
                self._add(
                    f"{layer.name}.weight", "weight", (channels, reduction, anchor.kernel_h, anchor.kernel_w)
                )
            elif isinstance(anchor, Embedding):
                self._add(f"{layer.name}.weight", "table", (anchor.entries, anchor.channels))
            for index in range(len(layer.parameters)):
                self._add(f"{layer.name}.parameter{index}", "parameter", (channels,))

    def _leaves(self, index: int) -> bool:
        made_by = int(self.evaluator.table.producer[index])
        return bool(self.evaluator.table.last_use[index] >= self.choices[self.home[made_by]].stop)

    def _place(self, step: int) -> tuple[Choice, int, int]:
        """(choice, batch part, row part) of a step."""
        choice = self.choices[self.plan.subgraph[step]]
        return choice, *divmod(int(self.plan.instance[step]), choice.split_rows)

    def _kernel(self, step: int, template: Template, number: int) -> Kernel:
        choice, batch_part, _ = self._place(step)
        plan = self.plan
        places = Places(
            self.network,
            choice,
            template.lowered,
            batch_part,
            self.item,
            plan.in_llb.tolist(),
            plan.source_batch.tolist(),
            plan.source_rows.tolist(),
            plan.staged.tolist(),
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

    def _binding(self, step: int, name: str) -> int:
        choice, batch_part, _ = self._place(step)
        batch, plan = self.network.batch, self.plan
        first = batch * batch_part // choice.split_batch
        if name.startswith("w"):
            layer = int(name[1:])
            return int(plan.staged_address[layer]) if plan.staged[layer] else self.weight_address[layer]
        if name.startswith("out"):
            index = int(name[3:])
            if plan.in_llb[index]:
                return int(plan.slice_address[plan.slice_start[index] + plan.instance[step]])
            rows = self.network.tensors[index].rows
            return self.tensor_address[index] + first * self._image_bytes(index, rows)
        index, relative, row_part = (int(part) for part in name[2:].split("_"))
        parts, row_parts = int(plan.source_batch[index]), int(plan.source_rows[index])
        part = part_of(first, batch, parts) + relative
        begin = batch * part // parts
        skip = max(first, begin) - begin
        if index in self.network.constants:
            return self.tensor_address[index]
        if plan.in_llb[index]:
            address = int(plan.slice_address[plan.slice_start[index] + part * row_parts + row_part])
        else:
            address = self.tensor_address[index]
        return address + skip * self._image_bytes(index, self._slice_rows(index, row_part, row_parts))

    def _traces(self, step: int) -> list[Trace]:
        """The slices of tensors that leave the sub-graph, as the step's instance wrote them."""
        choice, batch_part, row_part = self._place(step)
        batch, plan = self.network.batch, self.plan
        images = (
            batch * batch_part // choice.split_batch,
            batch * (batch_part + 1) // choice.split_batch,
        )
        traces = []
        for index in self.evaluator.borders(choice.first, choice.stop)[1].tolist():
            tensor = self.network.tensors[index]
            rows = (
                tensor.rows * row_part // choice.split_rows,
                tensor.rows * (row_part + 1) // choice.split_rows,
            )
            address = self._binding(step, f"out{index}")
            if not plan.in_llb[index]:
                if choice.split_rows > 1 and choice.split_batch < batch:
                    continue  # not one dense window; outputs are compared at the end
                address += self._image_bytes(index, rows[0])
            memory = "llb" if plan.in_llb[index] else "dram"
            traces.append(
                Trace(tensor.name, step, memory, address, images, rows, tensor.columns, tensor.channels)
            )
        return traces


class _Refs:
    """What the events and the copies of each step wait for: instructions of earlier steps."""

    def __init__(self, builder: _Builder, templates: list[Template]) -> None:
        self._builder = builder
        self._templates = templates
        self._copies = [self._make_copies(k) for k in range(len(templates))]

    def event(self, step: int, name: str) -> tuple[Ref, ...]:
        """Instructions that an event of a step stands for."""
        if name == EVENT_COMPUTE:
            return self._last(step - 1, *_COMPUTE)
        if name == EVENT_DMA:
            return self._last(step - 1, _DMA)
        if name.startswith("w"):
            return self._staged(step, int(name[1:]))
        return self._stores(step, int(name[2:]))

    def copies(self, step: int) -> tuple[SystemCopy, ...]:
        """System copies of a step, in order."""
        return tuple(copy for copy, _ in self._copies[step])

    def _last(self, step: int, *engines: tuple[Op, ...]) -> tuple[Ref, ...]:
        """The last instruction of each engine, given the ops of each."""
        if step < 0:
            return ()
        rows = self._templates[step].lowered.rows[:, C_OP]
        refs = []
        for ops in engines:
            found = np.flatnonzero(np.isin(rows, ops))
            if len(found):
                refs.append(Ref(step, int(found[-1])))
        return tuple(refs)

    def _make_copies(self, step: int) -> list[tuple[SystemCopy, int]]:
        builder, times = self._builder, self._builder.times
        done: dict[int, int] = {}
        result = []
        waits = self._last(step - 1, *_COMPUTE, _DMA)
        for i in np.flatnonzero(times.copy_step == step).tolist():
            layer = int(times.copy_layer[i])
            total = int(builder.evaluator.weight_bytes[layer])
            begin = done.get(layer, 0)
            size = min(COPY_CHUNK_BYTES, total - begin)
            done[layer] = begin + size
            copy = SystemCopy(
                int(times.copy_position[i]),
                builder.weight_address[layer] + begin,
                int(builder.plan.staged_address[layer]) + begin,
                size,
                waits,
            )
            result.append((copy, layer))
        return result

    def _staged(self, step: int, layer: int) -> tuple[Ref, ...]:
        """The last copy of a layer's weights before their use in a step (copies finish in order)."""
        for k in range(step, -1, -1):
            found = [i for i, (_, of) in enumerate(self._copies[k]) if of == layer]
            if found:
                return (Ref(k, len(self._templates[k].lowered.rows) + found[-1]),)
        raise ValueError(f"layer {layer} is staged but never copied before step {step}")

    def _stores(self, step: int, index: int) -> tuple[Ref, ...]:
        """The last store of every producer instance whose slice of the batch a step touches."""
        builder = self._builder
        made_by = int(builder.evaluator.table.producer[index])
        if made_by < 0:
            return ()
        choice, batch_part, _ = builder._place(step)
        source_number = builder.home[made_by]
        source = builder.choices[source_number]
        a, b = touching(batch_part, choice.split_batch, source.split_batch, builder.network.batch)
        refs = []
        for number in range(a * source.split_rows, b * source.split_rows):
            at = int(builder.plan.step_of[builder.plan.instance_start[source_number] + number])
            lowered = self._templates[at].lowered
            local = lowered.geometry.entries + made_by - source.first
            found = np.flatnonzero((lowered.rows[:, C_OP] == Op.STORE) & (lowered.rows[:, C_TENSOR] == local))
            refs.append(Ref(at, int(found[-1])))
        return tuple(sorted(refs, key=lambda ref: (ref.step, ref.index)))
