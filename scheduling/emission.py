"""Emission: lowered rows become instructions with addresses, for every core its own.

Nothing is decided here; a row says which layer, piece, tile and channels, the plan says where every tensor is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from graph.network import Layer, Network
from graph.primitives import (
    ChannelNorm,
    ChannelReduce,
    Concat,
    Contraction,
    Embedding,
    MatMul,
    Normalize,
    Rearrange,
    Softmax,
    Step,
    Window,
)
from hwmodel.costs import REDUCTIONS, STEP_CODES, WINDOWS
from hwmodel.isa import Instruction, Op, OperandKind, StepCode, Symbol, VectorKind
from scheduling.choice import Choice
from scheduling.lowering import Lowered
from scheduling.rows import (
    C_A,
    C_ACC,
    C_B,
    C_EXTERNAL0,
    C_EXTERNAL1,
    C_H0,
    C_H1,
    C_I0,
    C_I1,
    C_K0,
    C_K1,
    C_OP,
    C_PIECE,
    C_R0,
    C_R1,
    C_TENSOR,
    C_WAIT0,
    C_WEIGHT,
    SLOT_COMPUTE,
    SLOT_DMA,
    SLOT_ENTRIES,
)
from scheduling.shares import overlap, part_of, piece_rows

Fields = dict[str, int]

_VIEW = ("addr", "image_stride", "row_stride", "col_stride", "row", "ring")
_WINDOW = ("symbol", "offset", "image_stride", "row_stride", "col_stride")

EVENT_COMPUTE, EVENT_DMA = "compute", "dma"
"""Events of the step before: its last compute instructions, its last transfer."""


def float_bits(value: float) -> int:
    """The bits of a float32, as the fields of instructions hold them."""
    return int(struct.unpack("<i", struct.pack("<f", value))[0])


@dataclass(slots=True)
class Emitter:
    """Emits the instructions of one template.

    `in_llb`, `source_batch`, `source_rows` and `staged` are those that it was lowered with. Symbols are made as
    they are needed; `scheduling.program` binds them by their names: in{t}_{batch part}_{row part} (the part counted
    from the first that the instance touches; rows absolute), out{t}, w{layer}.
    """

    network: Network
    choice: Choice
    lowered: Lowered
    batch_part: int
    element_bytes: int
    in_llb: list[int]
    source_batch: list[int]
    source_rows: list[int]
    staged: list[int]
    symbols: dict[str, tuple[int, Symbol]] = field(default_factory=dict)

    def instructions(self) -> tuple[Instruction, ...]:
        """All instructions in program order."""
        cores = tuple(range(self.choice.ways_batch * self.choice.ways_rows * self.choice.ways_channels))
        return tuple(self._instruction(row, cores) for row in self.lowered.rows.tolist())

    def _instruction(self, row: list[int], cores: tuple[int, ...]) -> Instruction:
        op = Op(row[C_OP])
        waits = tuple(wait for wait in row[C_WAIT0 : C_WAIT0 + 3] if wait >= 0)
        events = tuple(self._event(slot) for slot in (row[C_EXTERNAL0], row[C_EXTERNAL1]) if slot >= 0)
        if op is Op.LAUNCH:
            return Instruction(op, cores, {}, waits, events)
        emit = {
            Op.LOAD: self._load,
            Op.LOADW: self._load_weights,
            Op.STORE: self._store,
            Op.BROADCAST: self._broadcast,
            Op.CONV: self._conv,
            Op.MATMUL: self._matmul,
            Op.GATHER: self._gather,
            Op.VECTOR: self._vector,
        }[op]
        return Instruction(op, cores, _merge(emit(row, core) for core in cores), tuple(sorted(waits)), events)

    def _event(self, slot: int) -> str:
        if slot == SLOT_COMPUTE:
            return EVENT_COMPUTE
        if slot == SLOT_DMA:
            return EVENT_DMA
        local = slot - SLOT_ENTRIES
        entries = self.lowered.geometry.entries
        if local < entries:
            return f"in{self.lowered.geometry.tensor[local]}"
        return f"w{self.choice.first + local - entries}"

    # What a core has.

    def _ways(self, core: int) -> tuple[int, int, int]:
        rest, channel = divmod(core, self.choice.ways_channels)
        batch, row = divmod(rest, self.choice.ways_rows)
        return batch, row, channel

    def _images(self, core: int) -> tuple[int, int]:
        """Images of a core, absolute."""
        batch, split = self.network.batch, self.choice.split_batch
        first = batch * self.batch_part // split
        count = batch * (self.batch_part + 1) // split - first
        way, ways = self._ways(core)[0], self.choice.ways_batch
        return first + count * way // ways, first + count * (way + 1) // ways

    def _share(self, local: int, core: int) -> tuple[int, int]:
        """Channels of a tensor that a core computes."""
        channels = self.network.tensors[self.lowered.geometry.tensor[local]].channels
        way, ways = self._ways(core)[2], self.choice.ways_channels
        return channels * way // ways, channels * (way + 1) // ways

    def _tile(self, row: list[int], core: int) -> tuple[int, int, int, int]:
        """(first image from the core's first, images, first row, rows) of a compute row."""
        first, stop = self._images(core)
        i0, i1 = min(row[C_I0], stop - first), min(row[C_I1], stop - first)
        low, high = piece_rows(
            self.lowered.geometry.start,
            self.lowered.geometry.ends,
            self._ways(core)[1],
            row[C_TENSOR],
            row[C_PIECE],
        )
        h0, h1 = low + min(row[C_H0], high - low), low + min(row[C_H1], high - low)
        return i0, max(0, i1 - i0), h0, max(0, h1 - h0)

    def _view(self, name: str, local: int, core: int, image: int, first_row: int, channel: int) -> Fields:
        """View of an L1 tensor from an image (of the core's), a row and a channel (both absolute) on; every image of
        a constant is its only one."""
        geo, plan = self.lowered.geometry, self.lowered.plan
        tensor = self.network.tensors[geo.tensor[local]]
        held, from_channel = tensor.channels, 0
        if not geo.full[local]:
            held = -(-tensor.channels // self.choice.ways_channels)
            from_channel = self._share(local, core)[0]
        ring = max(1, int(plan.ring_rows[local]))
        col_stride = held * self.element_bytes
        row_stride = tensor.columns * col_stride
        start = int(geo.start[self._ways(core)[1], local])
        image_stride = 0 if geo.tensor[local] in self.network.constants else ring * row_stride
        values = (
            int(plan.address[local]) + image * image_stride + (channel - from_channel) * self.element_bytes,
            image_stride,
            row_stride,
            col_stride,
            (first_row - start) % ring,
            ring,
        )
        return {f"{name}_{part}": value for part, value in zip(_VIEW, values, strict=True)}

    def _window(
        self, name: str, symbol: int, local: int, image: int, row: int, channel: int, rows_held: int
    ) -> Fields:
        tensor = self.network.tensors[self.lowered.geometry.tensor[local]]
        col_stride = tensor.channels * self.element_bytes
        row_stride = tensor.columns * col_stride
        image_stride = rows_held * row_stride
        offset = image * image_stride + row * row_stride + channel * self.element_bytes
        values = (symbol, offset, image_stride, row_stride, col_stride)
        return {f"{name}_{part}": value for part, value in zip(_WINDOW, values, strict=True)}

    def _symbol(self, name: str, in_llb: bool) -> int:
        if name not in self.symbols:
            self.symbols[name] = (len(self.symbols), Symbol(name, "llb" if in_llb else "dram"))
        return self.symbols[name][0]

    # The ops.

    def _load(self, row: list[int], core: int) -> Fields:
        local, geo = row[C_TENSOR], self.lowered.geometry
        index = int(geo.tensor[local])
        tensor, batch = self.network.tensors[index], self.network.batch
        batch_parts, row_parts = self.source_batch[index], self.source_rows[index]
        mine = self._images(core)
        a, b = overlap(*mine, batch, batch_parts, row[C_A])
        low, high = piece_rows(geo.start, geo.ends, self._ways(core)[1], local, row[C_PIECE])
        c, d = overlap(low, high, tensor.rows, row_parts, row[C_B])
        first = batch * self.batch_part // self.choice.split_batch
        if b <= a or d <= c:
            a = b = first
            c = d = low
        part = part_of(a, batch, batch_parts)
        row_part = min(part_of(c, tensor.rows, row_parts), row_parts - 1)
        name = f"in{index}_{part - part_of(first, batch, batch_parts)}_{row_part}"
        symbol = self._symbol(name, bool(self.in_llb[index]))
        from_image = max(first, batch * part // batch_parts)
        from_row = tensor.rows * row_part // row_parts
        rows_held = tensor.rows * (row_part + 1) // row_parts - from_row
        channel, stop = (0, tensor.channels) if geo.full[local] else self._share(local, core)
        if index in self.network.constants:  # one image, which every core with work holds
            a, b, from_image = mine[0], mine[0] + min(1, b - a), mine[0]
        return {
            **{"images": b - a, "rows": d - c, "columns": tensor.columns, "channels": stop - channel},
            **self._view("dst", local, core, a - mine[0], c, channel),
            **self._window("src", symbol, local, a - from_image, c - from_row, channel, rows_held),
        }

    def _store(self, row: list[int], core: int) -> Fields:
        local, geo = row[C_TENSOR], self.lowered.geometry
        index = int(geo.tensor[local])
        tensor = self.network.tensors[index]
        way = self._ways(core)[1]
        low, high = piece_rows(geo.start, geo.ends, way, local, row[C_PIECE])
        low, high = max(low, int(geo.own_start[way, local])), min(high, int(geo.own_stop[way, local]))
        mine = self._images(core)
        first = self.network.batch * self.batch_part // self.choice.split_batch
        symbol = self._symbol(f"out{index}", bool(self.in_llb[index]))
        from_row, rows_held = 0, tensor.rows
        if self.in_llb[index]:
            from_row = int(geo.own_start[0, local])
            rows_held = int(geo.own_stop[-1, local]) - from_row
        channel, stop = self._share(local, core)
        rows = max(0, high - low)
        low = low if rows else int(geo.start[way, local])
        return {
            **{
                "images": mine[1] - mine[0],
                "rows": rows,
                "columns": tensor.columns,
                "channels": stop - channel,
            },
            **self._view("src", local, core, 0, low, channel),
            **self._window("dst", symbol, local, mine[0] - first, low - from_row, channel, rows_held),
        }

    def _broadcast(self, row: list[int], core: int) -> Fields:
        local = row[C_TENSOR]
        tensor = self.network.tensors[self.lowered.geometry.tensor[local]]
        low, high = piece_rows(
            self.lowered.geometry.start, self.lowered.geometry.ends, self._ways(core)[1], local, row[C_PIECE]
        )
        mine = self._images(core)
        channel, stop = self._share(local, core)
        ways = self.choice.ways_channels
        group = core // ways * ways
        targets = sum(1 << other for other in range(group, group + ways) if other != core)
        return {
            **{"images": mine[1] - mine[0], "rows": high - low, "columns": tensor.columns},
            **{"channels": stop - channel, "targets": targets},
            **self._view("src", local, core, 0, low, channel),
        }

    def _layer(self, row: list[int]) -> tuple[int, Layer]:
        number = self.choice.first + row[C_TENSOR] - self.lowered.geometry.entries
        return number, self.network.layers[number]

    def _load_weights(self, row: list[int], core: int) -> Fields:
        number, layer = self._layer(row)
        start, stop = self._share(row[C_TENSOR], core)
        item = self.element_bytes
        symbol = self._symbol(f"w{number}", bool(self.staged[number]))
        channels = self.network.tensors[layer.output].channels
        anchor = layer.anchor
        per_channel = (
            anchor.in_channels // anchor.groups * anchor.taps if isinstance(anchor, Contraction) else 0
        )
        if row[C_A]:  # parameters, behind the weights
            fields = (len(layer.parameters), (stop - start) * item, channels * item)
            offset = (channels * per_channel + start) * item
        else:
            taps = (
                per_channel // (anchor.in_channels // anchor.groups) if isinstance(anchor, Contraction) else 1
            )
            k0, k1 = min(row[C_K0], stop - start), min(row[C_K1], stop - start)
            fields = (k1 - k0, (row[C_R1] - row[C_R0]) * taps * item, per_channel * item)
            offset = ((start + k0) * per_channel + row[C_R0] * taps) * item
        return {
            **{"rows": fields[0], "row_bytes": fields[1], "src_row_stride": fields[2]},
            **{"dst_addr": row[C_WEIGHT], "src_symbol": symbol, "src_offset": offset},
        }

    def _source(self, layer_number: int, position: int) -> int:
        """Local tensor of a layer's input."""
        edges = sum(len(layer.inputs) for layer in self.network.layers[self.choice.first : layer_number])
        return int(self.lowered.geometry.edge_local[edges + position])

    def _input_rows(self, layer: Layer, position: int, first: int, count: int) -> tuple[int, int]:
        rows = layer.maps[position].rows
        size = self.network.tensors[layer.inputs[position]].rows
        return rows.needed(first, first + count, size) if count else (0, 0)

    def _conv(self, row: list[int], core: int) -> Fields:
        number, layer = self._layer(row)
        anchor = layer.anchor
        if not isinstance(anchor, Contraction):
            raise TypeError(f"layer {layer.name} has a CONV but no contraction")
        image, images, first, rows = self._tile(row, core)
        start, stop = self._share(row[C_TENSOR], core)
        k0, k1 = min(row[C_K0], stop - start), min(row[C_K1], stop - start)
        low, high = self._input_rows(layer, 0, first, rows)
        source = self._source(number, 0)
        in_groups = anchor.in_channels // anchor.groups
        group = row[C_B] + self._ways(core)[2] * (anchor.groups // self.choice.ways_channels)
        channel = row[C_R0] + (group * in_groups if anchor.groups > 1 else 0)
        tensor = self.network.tensors[layer.inputs[0]]
        whole = layer.maps[0].rows.whole
        return {
            **{"images": images, "rows": rows, "columns": self.network.tensors[layer.output].columns},
            **{"out_channels": k1 - k0, "acc_addr": row[C_ACC], "accumulate": row[C_A]},
            **{"weight_addr": row[C_WEIGHT], "in_rows": high - low, "in_columns": tensor.columns},
            **{
                "in_channels": row[C_R1] - row[C_R0],
                "kernel_h": anchor.kernel_h,
                "kernel_w": anchor.kernel_w,
            },
            **{"stride_h": anchor.stride_h, "stride_w": anchor.stride_w},
            **{"dilation_h": anchor.dilation_h, "dilation_w": anchor.dilation_w},
            "pad_top": 0 if whole else max(0, low - (first * anchor.stride_h - anchor.pad_top)),
            "pad_left": anchor.pad_left,
            **self._view("in", source, core, image, low, channel),
        }

    def _matmul(self, row: list[int], core: int) -> Fields:
        number, layer = self._layer(row)
        anchor = layer.anchor
        if not isinstance(anchor, MatMul):
            raise TypeError(f"layer {layer.name} has a MATMUL but no product")
        image, images, first, rows = self._tile(row, core)
        start, stop = self._share(row[C_TENSOR], core)
        k0, k1 = start + min(row[C_K0], stop - start), start + min(row[C_K1], stop - start)
        group, within = divmod(k0, anchor.out_channels // anchor.groups)
        channel = group * anchor.reduction + row[C_R0]
        first_row, second_channel = (within, channel) if anchor.transposed else (row[C_R0], k0)
        one, two = self._source(number, 0), self._source(number, 1)
        if k1 <= k0:  # nothing to do on this core
            first_row = channel = second_channel = 0
        return {
            **{"images": images, "rows": rows, "columns": self.network.tensors[layer.output].columns},
            **{"out_channels": k1 - k0, "in_channels": row[C_R1] - row[C_R0]},
            **{"acc_addr": row[C_ACC], "accumulate": row[C_A], "transposed": int(anchor.transposed)},
            **self._view("in", one, core, image, first, channel),
            **self._view("w", two, core, image, first_row, second_channel),
        }

    def _gather(self, row: list[int], core: int) -> Fields:
        number, layer = self._layer(row)
        anchor = layer.anchor
        if not isinstance(anchor, Embedding):
            raise TypeError(f"layer {layer.name} has a GATHER but no table")
        local = row[C_TENSOR]
        low, high = piece_rows(
            self.lowered.geometry.start, self.lowered.geometry.ends, self._ways(core)[1], local, row[C_PIECE]
        )
        mine = self._images(core)
        start, stop = self._share(local, core)
        return {
            **{"images": mine[1] - mine[0], "rows": high - low, "channels": stop - start},
            **{"columns": self.network.tensors[layer.output].columns, "entries": anchor.entries},
            **{"src_symbol": self._symbol(f"w{number}", False), "src_offset": start * self.element_bytes},
            "src_row_stride": anchor.channels * self.element_bytes,
            **self._view("dst", local, core, 0, low, start),
            **self._view("idx", self._source(number, 0), core, 0, low, 0),
        }

    def _vector(self, row: list[int], core: int) -> Fields:
        number, layer = self._layer(row)
        local = row[C_TENSOR]
        image, images, first, rows = self._tile(row, core)
        start, stop = self._share(local, core)
        k0, k1 = start + min(row[C_K0], stop - start), start + min(row[C_K1], stop - start)
        anchor = layer.anchor
        fields: Fields = {"images": images, "rows": rows}
        fields["columns"] = self.network.tensors[layer.output].columns
        if isinstance(anchor, Concat) and anchor.axis == "rows":
            below = sum(self.network.tensors[t].rows for t in layer.inputs[: row[C_A]])
            high = self.network.tensors[layer.inputs[row[C_A]]].rows
            last = min(first + rows, below + high)
            first = max(first, below)
            rows = fields["rows"] = max(0, last - first)
            source = self._source(number, row[C_A])
            fields["kind"] = VectorKind.COPY
            from_row = (
                first - below if rows else int(self.lowered.geometry.start[self._ways(core)[1], source])
            )
            fields |= self._view("in", source, core, image, from_row, k0)
            if not rows:
                first = int(self.lowered.geometry.start[self._ways(core)[1], local])
        elif isinstance(anchor, Concat):
            below = sum(self.network.tensors[t].channels for t in layer.inputs[: row[C_A]])
            wide = self.network.tensors[layer.inputs[row[C_A]]].channels
            k0, k1 = max(k0, below), max(max(k0, below), min(k1, below + wide))
            source = self._source(number, row[C_A])
            fields["kind"] = VectorKind.COPY
            fields |= self._view("in", source, core, image, first, k0 - below if k1 > k0 else 0)
        elif isinstance(anchor, Contraction | MatMul):
            fields["kind"] = VectorKind.ACCUMULATOR
            fields["acc_addr"] = row[C_ACC]
        else:
            fields |= self._anchor(number, layer, core, image, first, rows, k0)
        fields["channels"] = k1 - k0
        fields |= self._view("out", local, core, image, first, k0 if k1 > k0 else start)
        fields["step_count"] = len(layer.steps)
        for index, step in enumerate(layer.steps):
            fields |= self._step(f"s{index}", step, number, row, core, image, first, k0, (start, stop))
        return fields

    def _anchor(
        self, number: int, layer: Layer, core: int, image: int, first: int, rows: int, channel: int
    ) -> Fields:
        anchor, source = layer.anchor, self._source(number, 0)
        low, high = self._input_rows(layer, 0, first, rows)
        tensor = self.network.tensors[layer.inputs[0]]
        if isinstance(anchor, Window):
            top = 0 if layer.maps[0].rows.whole else max(0, low - (first * anchor.stride_h - anchor.pad_top))
            return {
                "kind": WINDOWS[anchor.mode],
                **self._view("in", source, core, image, low, channel),
                **{"in_rows": high - low, "in_columns": tensor.columns},
                **{"kernel_h": anchor.kernel_h, "kernel_w": anchor.kernel_w},
                **{"stride_h": anchor.stride_h, "stride_w": anchor.stride_w},
                **{"pad_top": top, "pad_left": anchor.pad_left},
                "count_include_pad": int(anchor.count_include_pad),
            }
        if isinstance(anchor, Rearrange):
            output = self.network.tensors[layer.output]
            fields = {
                "kind": VectorKind.REARRANGE,
                **self._view("in", source, core, image, low, 0),
                **{"in_start": low, "in_rows": high - low, "in_columns": tensor.columns},
                **{"in_channels": tensor.channels, "row_start": first, "channel_start": channel},
                **{"out_columns": output.columns, "out_channels": output.channels},
                **{"offset": anchor.offset, "digits": len(anchor.sizes)},
            }
            for index, (size, stride) in enumerate(zip(anchor.sizes, anchor.strides, strict=True)):
                fields |= {f"d{index}_size": size, f"d{index}_stride": stride}
            return fields
        if isinstance(anchor, ChannelNorm | Softmax | Normalize | ChannelReduce):
            # Where channels are in groups, a core reads those of its own share.
            begin, stop = 0, tensor.channels
            own = 0
            if not isinstance(anchor, ChannelNorm) and tensor.channels > anchor.group:
                begin, stop = self._share(source, core)
                own = self._share(self.lowered.geometry.entries + number - self.choice.first, core)[0]
            view = self._view("in", source, core, image, low, begin)
            fields = {**view, "in_channels": stop - begin, "channel_start": channel - own}
            if isinstance(anchor, Softmax):
                return {"kind": VectorKind.SOFTMAX, **fields, "group": anchor.group, "log": int(anchor.log)}
            if isinstance(anchor, Normalize):
                fields |= {"kind": VectorKind.NORM, "group": anchor.group, "center": int(anchor.center)}
                return {**fields, "epsilon": float_bits(anchor.epsilon)}
            if isinstance(anchor, ChannelReduce):
                return {"kind": REDUCTIONS[anchor.mode], **fields, "group": anchor.group}
            fields |= {
                "kind": VectorKind.CHANNEL_NORM,
                "size": anchor.size,
                "alpha": float_bits(anchor.alpha),
            }
            return fields | {"beta": float_bits(anchor.beta), "bias": float_bits(anchor.bias)}
        return {"kind": VectorKind.COPY, **self._view("in", source, core, image, first, channel)}

    def _step(
        self,
        prefix: str,
        step: Step,
        number: int,
        row: list[int],
        core: int,
        image: int,
        first: int,
        channel: int,
        share: tuple[int, int],
    ) -> Fields:
        layer = self.network.layers[number]
        code = STEP_CODES[step.op]
        fields: Fields = {f"{prefix}_op": code, f"{prefix}_kind": OperandKind.NONE}
        if code is StepCode.CLIP:
            bits = {f"{prefix}_low": float_bits(step.low), f"{prefix}_high": float_bits(step.high)}
            return {**fields, f"{prefix}_kind": OperandKind.SCALAR, **bits}
        if step.parameter is not None:
            width = share[1] - share[0]
            elements = step.parameter * width + channel - share[0]
            fields[f"{prefix}_kind"] = OperandKind.PARAMETER
            fields[f"{prefix}_addr"] = row[C_WEIGHT] + elements * self.element_bytes
        elif step.tensor is not None:
            fields |= self._operand(prefix, layer, step.tensor, number, core, image, first, channel)
        elif step.scalar is not None:
            fields[f"{prefix}_kind"] = OperandKind.SCALAR
            fields[f"{prefix}_low"] = float_bits(step.scalar)
        return fields

    def _operand(
        self,
        prefix: str,
        layer: Layer,
        position: int,
        number: int,
        core: int,
        image: int,
        first: int,
        channel: int,
    ) -> Fields:
        """A tensor operand; where it has one row, column or channel, that one serves all of the output's."""
        output, tensor = self.network.tensors[layer.output], self.network.tensors[layer.inputs[position]]
        source = self._source(number, position)
        one_row = tensor.rows == 1 < output.rows
        one_channel = tensor.channels == 1 < output.channels
        view = self._view(prefix, source, core, image, 0 if one_row else first, 0 if one_channel else channel)
        if one_row:
            view |= {f"{prefix}_row_stride": 0, f"{prefix}_ring": output.rows, f"{prefix}_row": 0}
        if tensor.columns == 1 < output.columns:
            view[f"{prefix}_col_stride"] = 0
        return {f"{prefix}_kind": OperandKind.CHANNEL if one_channel else OperandKind.TENSOR, **view}


def _merge(cores: Iterable[Fields]) -> dict[str, tuple[int, ...]]:
    """One value where all cores agree, else one per core."""
    fields = list(cores)
    merged = {}
    for name in fields[0]:
        values = tuple(int(of_core[name]) for of_core in fields)
        merged[name] = values[:1] if len(set(values)) == 1 else values
    return merged
