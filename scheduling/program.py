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
from hwmodel.isa import Buffer, Kernel, Launch, Op, Program, Ref, Run, SystemCopy, Trace
from scheduling.arrangement import Arrangement, touching
from scheduling.choice import CACHE, COLUMNS, Choice
from scheduling.emission import EVENT_COMPUTE, EVENT_DMA, Emitter
from scheduling.evaluator import Evaluator, Template, core_counts
from scheduling.geometry import geometry
from scheduling.places import Places
from scheduling.reuse import overwritten
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
        self.home = [s for s, choice in enumerate(choices) for _ in range(choice.first, choice.stop)]
        self.buffers: list[Buffer] = []
        self.tensor_address: dict[int, int] = {}
        self.weight_address: dict[int, int] = {}
        self.templates = evaluator.templates(choices, plan)
        # When an instance has ended in the program order.
        order = times.order.tolist() or range(len(plan.subgraph))
        self._ended = {number: position for position, number in enumerate(order)}
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
            steps.append(Launch(kernel.name, bindings, events, refs.copies(k), *refs.placement(k)))
            traces += self._traces(k)
        by_name = {entry.kernel.name: entry.kernel for entry in kernels.values()}
        machine = self.evaluator.machine.name
        return Program(
            machine,
            by_name,
            tuple(steps),
            tuple(self.buffers),
            tuple(traces),
            _runs(self.times.order.tolist()),
        )

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
            if layer.shares is not None:
                continue
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
        for number, layer in enumerate(network.layers):
            if layer.shares is not None:
                self.weight_address[number] = self.weight_address[layer.shares]

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
        last = step == max(plan.place_of[own : own + choice.slices].tolist(), key=self._ended.__getitem__)
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


def _runs(order: Sequence[int]) -> tuple[Run, ...]:
    """An order of instances, one entry an instruction or copy, run by run."""
    return tuple(Run(number, len(list(group))) for number, group in groupby(order))


class _Refs:
    """What each instance waits for of others: its events, its copies, and what it waits for as a whole."""

    def __init__(self, builder: _Builder, templates: list[Template]) -> None:
        self._builder = builder
        self._templates = templates
        self._cores = core_counts(builder.choices, builder.plan)
        self._packed = len(builder.plan.packed.step) > 0
        self._last_rows: dict[tuple[int, tuple[Op, ...]], int] = {}
        self._before = self._latest_before()
        self._when = builder.plan.when.tolist()
        self._first_of_step, self._of_wave = dict[int, int](), dict[int, list[int]]()
        for k, step in reversed(list(enumerate(builder.plan.packed.step.tolist()))):
            self._first_of_step[step] = k
            self._of_wave.setdefault(self._when[k], []).append(k)
        self._reuse: list[tuple[int, ...]] = [() for _ in templates]
        if self._packed:
            evaluator = builder.evaluator
            self._reuse = overwritten(
                evaluator.table,
                builder.item,
                builder.choices,
                builder.plan,
                self._cores,
                evaluator.weight_bytes,
            )
        self._copies = self._make_copies()
        self._copies_of: dict[int, list[Ref]] = {}
        for k in dict.fromkeys(builder.times.copy_of.tolist()):
            for i, (_, layer) in enumerate(self._copies[k]):
                place = Ref(k, len(templates[k].lowered.rows) + i)
                self._copies_of.setdefault(layer, []).append(place)

    def event(self, number: int, name: str) -> tuple[Ref, ...]:
        """Instructions that an event of an instance stands for."""
        if name == EVENT_COMPUTE:
            return self._last(self._before[number], *_COMPUTE)
        if name == EVENT_DMA:
            return self._last(self._before[number], _DMA)
        if name.startswith("w"):
            return self._staged(number, int(name[1:]))
        return self._stores(number, int(name[2:]))

    def copies(self, number: int) -> tuple[SystemCopy, ...]:
        """System copies that stand with an instance, in order."""
        return tuple(copy for copy, _ in self._copies[number])

    def placement(self, number: int) -> tuple[int, tuple[int, ...] | None, bool, tuple[Ref, ...]]:
        """First core, cores that the LAUNCH starts, whether it is a barrier, and what it waits for."""
        packed = self._builder.plan.packed
        if not self._packed:
            return 0, None, False, ()
        first = self._first_of_step[int(packed.step[number])]
        launched: tuple[int, ...] | None = ()
        if number == first:
            step = np.flatnonzero(packed.step == packed.step[number]).tolist()
            used = {core for k in step for core in self._range(k)}
            launched = tuple(sorted(used)) if len(step) > 1 else None
        waited = set(self._reuse[number])
        barrier = bool(packed.barrier[number]) and self._when[number] != self._when[first]
        if barrier:
            waited.update(self._of_wave[self._when[number] - 1])
        return int(packed.first_core[number]), launched, barrier, self._last(sorted(waited), _DMA)

    def _range(self, number: int) -> range:
        first = int(self._builder.plan.packed.first_core[number]) if self._packed else 0
        return range(first, first + self._cores[number])

    def _latest_before(self) -> list[list[int]]:
        """For each instance the latest earlier ones on each of its cores."""
        if not self._packed:  # all share core 0
            return [[number - 1] if number else [] for number in range(len(self._templates))]
        latest: dict[int, int] = {}
        before = []
        for number in range(len(self._templates)):
            before.append(sorted({latest[core] for core in self._range(number) if core in latest}))
            latest.update(dict.fromkeys(self._range(number), number))
        return before

    def _all_before(self, when: int) -> list[int]:
        """The latest instances on each core of all that come before a wave (or a step of one instance)."""
        if not self._packed:
            return [when - 1] if when else []
        latest: dict[int, int] = {}
        for number in range(len(self._templates)):
            if self._when[number] < when:
                latest.update(dict.fromkeys(self._range(number), number))
        return sorted(set(latest.values()))

    def _last(self, numbers: Sequence[int], *engines: tuple[Op, ...]) -> tuple[Ref, ...]:
        """The last instruction of each engine, given the ops of each, of instances."""
        refs = []
        for number in numbers:
            template = self._templates[number]
            for ops in engines:
                key = (template.index, ops)
                if key not in self._last_rows:
                    found = np.flatnonzero(np.isin(template.lowered.rows[:, C_OP], ops))
                    self._last_rows[key] = int(found[-1]) if len(found) else -1
                if self._last_rows[key] >= 0:
                    refs.append(Ref(number, self._last_rows[key]))
        return tuple(refs)

    def _make_copies(self) -> list[list[tuple[SystemCopy, int]]]:
        """The chunks of system copies, and their layers, by the instance with which they stand."""
        builder, times, plan = self._builder, self._builder.times, self._builder.plan
        result: list[list[tuple[SystemCopy, int]]] = [[] for _ in self._templates]
        chunk = 0
        for when, layer in zip(plan.copy_when.tolist(), plan.copy_layer.tolist(), strict=True):
            waits = self._last(self._all_before(when), *_COMPUTE, _DMA)
            total = int(builder.evaluator.weight_bytes[layer])
            for begin in range(0, total, COPY_CHUNK_BYTES):
                copy = SystemCopy(
                    int(times.copy_position[chunk]),
                    builder.weight_address[layer] + begin,
                    int(plan.staged_address[layer]) + begin,
                    min(COPY_CHUNK_BYTES, total - begin),
                    waits,
                )
                result[int(times.copy_of[chunk])].append((copy, layer))
                chunk += 1
        return result

    def _staged(self, number: int, layer: int) -> tuple[Ref, ...]:
        """The last copy of a layer's weights before their use by an instance (copies finish in order)."""
        plan = self._builder.plan
        by = int(plan.staged_by[layer])
        chunks = -(-int(self._builder.evaluator.weight_bytes[by]) // COPY_CHUNK_BYTES)
        copied = int(((plan.copy_layer == by) & (plan.copy_when <= plan.when[number])).sum()) * chunks
        if not copied:
            raise ValueError(f"layer {layer} is staged but never copied before instance {number}")
        return (self._copies_of[by][copied - 1],)

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
            at = int(builder.plan.place_of[builder.plan.instance_start[source_number] + number])
            lowered = self._templates[at].lowered
            local = lowered.geometry.entries + made_by - source.first
            found = np.flatnonzero((lowered.rows[:, C_OP] == Op.STORE) & (lowered.rows[:, C_TENSOR] == local))
            if len(found):  # with cached overlaps, a late instance may have nothing left to store
                refs.append(Ref(at, int(found[-1])))
        return tuple(sorted(refs, key=lambda ref: (ref.step, ref.index)))
