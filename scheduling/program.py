"""A schedule's decisions become a Program: kernels, the launches that bind their symbols, buffers and traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from graph.network import Network
from graph.primitives import Contraction, Embedding
from hwmodel.isa import Buffer, Kernel, Launch, Op, Program, Ref, SystemCopy, Trace
from scheduling.arrangement import Arrangement, touching
from scheduling.choice import CACHE, COLUMNS, Choice
from scheduling.emission import EVENT_COMPUTE, EVENT_DMA, Emitter
from scheduling.evaluator import Evaluator, Template
from scheduling.geometry import geometry
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
        self.templates = evaluator.templates(choices, plan)
        self._origins: dict[tuple[Choice, tuple[int, int]], list[tuple[int, int]]] = {}
        self._used = 0

    def build(self) -> Program:
        templates = self.templates
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
        """(choice, batch part, number among the instances of the batch part) of a step."""
        choice = self.choices[self.plan.subgraph[step]]
        return choice, *divmod(int(self.plan.instance[step]), choice.slices)

    def _kernel(self, step: int, template: Template, number: int) -> Kernel:
        choice, batch_part, _ = self._place(step)
        plan = self.plan
        frame = self.evaluator.frame(choice)
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
            frame.turned,
        )
        instructions = Emitter(places).instructions()
        symbols = tuple(symbol for _, symbol in sorted(places.symbols.values(), key=lambda entry: entry[0]))
        return Kernel(f"k{number:03}_layers_{choice.first}_{choice.stop - 1}", symbols, instructions)

    def _image_bytes(self, index: int, rows: int) -> int:
        tensor = self.network.tensors[index]
        return rows * tensor.columns * tensor.channels * self.item

    def _row_slice(self, index: int, part: int, parts: int) -> tuple[int, int]:
        rows = self.network.tensors[index].rows
        return rows * part // parts, rows * (part + 1) // parts

    def _slice_rows(self, index: int, part: int, parts: int) -> int:
        first, stop = self._row_slice(index, part, parts)
        return stop - first

    def _binding(self, step: int, name: str) -> int:
        choice, batch_part, _ = self._place(step)
        batch, plan = self.network.batch, self.plan
        first = batch * batch_part // choice.split_batch
        shift = partial(self._shift, step)
        if name.startswith("w"):
            layer = int(name[1:])
            return int(plan.staged_address[layer]) if plan.staged[layer] else self.weight_address[layer]
        if name.startswith("out"):
            index = int(name[3:])
            if plan.in_llb[index]:
                address = int(plan.slice_address[plan.slice_start[index] + plan.instance[step]])
                return address + (shift(index) if plan.source_rows[index] == 1 else 0)
            rows = self.network.tensors[index].rows
            return self.tensor_address[index] + first * self._image_bytes(index, rows) + shift(index)
        index, relative, row_part = (int(part) for part in name[2:].split("_"))
        parts, row_parts = int(plan.source_batch[index]), int(plan.source_rows[index])
        part = part_of(first, batch, parts) + relative
        begin = batch * part // parts
        skip = max(first, begin) - begin
        if index in self.network.constants:
            return self.tensor_address[index] + shift(index)
        if plan.in_llb[index]:
            slices = (plan.slice_start[index + 1] - plan.slice_start[index]) // parts
            address = int(plan.slice_address[plan.slice_start[index] + part * slices + row_part])
        else:
            address = self.tensor_address[index]
        address += shift(index)
        return address + skip * self._image_bytes(index, self._slice_rows(index, row_part, row_parts))

    def _shift(self, step: int, index: int) -> int:
        """Bytes in shared memory from where the step's template has its part of a tensor to where the step has it."""
        choice, _, part = self._place(step)
        template = self.templates[step]
        mine, its = self.evaluator.frame_parts(choice, part), (template.row_part, template.column_part)
        if mine == its:
            return 0
        local = template.lowered.geometry.tensor.tolist().index(index)
        here, there = self._origin(choice, mine)[local], self._origin(choice, its)[local]
        rows, columns = here[0] - there[0], here[1] - there[1]
        tensor = self.network.tensors[index]
        if choice.axis == COLUMNS:
            rows, columns = columns, rows
        return int((rows * tensor.columns + columns) * tensor.channels * self.item)

    def _origin(self, choice: Choice, parts: tuple[int, int]) -> list[tuple[int, int]]:
        """First row and column of every local tensor in the instances of a row and column slice, in the frame."""
        known = self._origins.get((choice, parts))
        if known is None:
            frame = self.evaluator.frame(choice)
            geo = geometry(frame.table, frame.choice, *parts)
            known = list(zip(geo.start[0].tolist(), geo.held_start.tolist(), strict=True))
            self._origins[choice, parts] = known
        return known

    def _traces(self, step: int) -> list[Trace]:
        """The slices of tensors that leave the sub-graph, as the step's instance wrote them; of a tensor that is not
        cut into runs of whole rows, its slice of the batch when the last instance has written it."""
        choice, batch_part, part = self._place(step)
        batch, plan = self.network.batch, self.plan
        images = (
            batch * batch_part // choice.split_batch,
            batch * (batch_part + 1) // choice.split_batch,
        )
        traces = []
        own = self.plan.instance_start[plan.subgraph[step]] + batch_part * choice.slices
        last = step == plan.step_of[own : own + choice.slices].max()
        by_rows = choice.split_columns == 1 and choice.axis != COLUMNS and choice.halo != CACHE
        for index in self.evaluator.borders(choice.first, choice.stop)[1].tolist():
            tensor = self.network.tensors[index]
            in_llb = bool(plan.in_llb[index])
            dense = choice.split_batch == batch and by_rows  # a slice is one dense window in DRAM
            apart = plan.source_rows[index] > 1 if in_llb else dense and choice.split_rows > 1
            if not (apart or last):
                continue
            rows = self._row_slice(index, part, choice.split_rows) if apart else (0, tensor.rows)
            if in_llb:
                address = int(plan.slice_address[plan.slice_start[index] + plan.instance[step]])
            else:
                address = self.tensor_address[index] + images[0] * self._image_bytes(index, tensor.rows)
                address += self._image_bytes(index, rows[0])
            memory = "llb" if in_llb else "dram"
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
        for number in range(a * source.slices, b * source.slices):
            at = int(builder.plan.step_of[builder.plan.instance_start[source_number] + number])
            lowered = self._templates[at].lowered
            local = lowered.geometry.entries + made_by - source.first
            found = np.flatnonzero((lowered.rows[:, C_OP] == Op.STORE) & (lowered.rows[:, C_TENSOR] == local))
            if len(found):  # with cached overlaps, a late instance may have nothing left to store
                refs.append(Ref(at, int(found[-1])))
        return tuple(sorted(refs, key=lambda ref: (ref.step, ref.index)))
