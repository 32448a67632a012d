"""Emission: lowered rows become instructions with addresses, for every core its own.

Nothing is decided here; a row says which layer, piece, tile and channels, the plan says where every tensor is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from math import prod

from graph.primitives import (
    Contraction,
    Embedding,
    MatMul,
)
from hwmodel.programs.isa import Instruction, Op
from scheduling.choice import CACHE_LLB
from scheduling.emission.places import PARAMETERS, WEIGHTS, Fields, Places, pad_before
from scheduling.emission.vector import vector_fields
from scheduling.lowering.redistribution import box_of, common_box, group_ways
from scheduling.lowering.rows import (
    C_A,
    C_ACC,
    C_B,
    C_EXTERNAL0,
    C_EXTERNAL1,
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
from scheduling.lowering.shares import overlap, part_of, piece_rows

OVERLAPS = "overlaps"
"""Symbol of the cache of a sub-graph's overlaps in shared memory."""

EVENT_COMPUTE, EVENT_DMA = "compute", "dma"
"""Events of the step before: its last compute instructions, its last transfer."""


@dataclass(frozen=True, slots=True)
class Emitter:
    """Emits the instructions of one template. Symbols are made in `places` as they are needed."""

    places: Places

    def instructions(self) -> tuple[Instruction, ...]:
        """All instructions in program order."""
        cores = tuple(range(self.places.choice.cores))
        return tuple(self._instruction(row, cores) for row in self.places.lowered.rows.tolist())

    def _instruction(self, row: list[int], cores: tuple[int, ...]) -> Instruction:
        op = Op(row[C_OP])
        waits = tuple(wait for wait in row[C_WAIT0 : C_WAIT0 + 3] if wait >= 0)
        events = tuple(self._event(slot) for slot in (row[C_EXTERNAL0], row[C_EXTERNAL1]) if slot >= 0)
        if op is Op.LAUNCH:
            return Instruction(op, cores, {}, waits, events)
        fields: dict[Op, Callable[[list[int], int], Fields]] = {
            Op.LOAD: self._load,
            Op.LOADW: self._load_weights,
            Op.STORE: self._store,
            Op.BROADCAST: self._broadcast,
            Op.CONV: self._conv,
            Op.MATMUL: self._matmul,
            Op.GATHER: self._gather,
            Op.VECTOR: partial(vector_fields, self.places),
        }
        emit = fields[op]
        return Instruction(op, cores, _merge(emit(row, core) for core in cores), tuple(sorted(waits)), events)

    def _event(self, slot: int) -> str:
        if slot == SLOT_COMPUTE:
            return EVENT_COMPUTE
        if slot == SLOT_DMA:
            return EVENT_DMA
        local = slot - SLOT_ENTRIES
        entries = self.places.lowered.geometry.entries
        if local < entries:
            return f"in{self.places.lowered.geometry.tensor[local]}"
        return f"w{self.places.choice.first + local - entries}"

    def _load(self, row: list[int], core: int) -> Fields:
        if row[C_R0]:
            return self._overlaps(row, core, restores=True)
        local, geo = row[C_TENSOR], self.places.lowered.geometry
        index = int(geo.tensor[local])
        tensor, batch = self.places.network.tensors[index], self.places.network.batch
        batch_parts, row_parts = self.places.source_batch[index], self.places.source_rows[index]
        mine = self.places.images(local, core)
        a, b = overlap(*mine, batch, batch_parts, row[C_A])
        low, high = piece_rows(geo.start, geo.ends, self.places.ways(local, core)[1], local, row[C_PIECE])
        c, d = overlap(low, high, tensor.rows, row_parts, row[C_B])
        first = batch * self.places.batch_part // self.places.choice.split_batch
        if b <= a or d <= c:
            a = b = first
            c = d = low
        part = part_of(a, batch, batch_parts)
        row_part = min(part_of(c, tensor.rows, row_parts), row_parts - 1)
        name = f"in{index}_{part - part_of(first, batch, batch_parts)}_{row_part}"
        symbol = self.places.symbol(name, bool(self.places.in_llb[index]))
        from_image = max(first, batch * part // batch_parts)
        from_row = tensor.rows * row_part // row_parts
        rows_held = tensor.rows * (row_part + 1) // row_parts - from_row
        channel, stop = (0, tensor.channels) if geo.full[local] else self.places.share(local, core)
        column, columns = self.places.columns(local)
        if index in self.places.network.constants:  # one image, which every core with work holds
            a, b, from_image = mine[0], mine[0] + min(1, b - a), mine[0]
        return {
            **{"images": b - a, "rows": d - c, "columns": columns, "channels": stop - channel},
            **self.places.view("dst", local, core, a - mine[0], c, column, channel),
            **self.places.window(
                "src", symbol, local, a - from_image, c - from_row, column, channel, rows_held
            ),
        }

    def _store(self, row: list[int], core: int) -> Fields:
        if row[C_R0]:
            return self._overlaps(row, core, restores=False)
        local, geo = row[C_TENSOR], self.places.lowered.geometry
        index = int(geo.tensor[local])
        tensor = self.places.network.tensors[index]
        way = self.places.ways(local, core)[1]
        low, high = piece_rows(geo.start, geo.ends, way, local, row[C_PIECE])
        low, high = max(low, int(geo.own_start[way, local])), min(high, int(geo.own_stop[way, local]))
        mine = self.places.images(local, core)
        first = self.places.network.batch * self.places.batch_part // self.places.choice.split_batch
        symbol = self.places.symbol(f"out{index}", bool(self.places.in_llb[index]))
        from_row, rows_held = 0, tensor.rows
        if self.places.source_rows[index] > 1:
            from_row = int(geo.own_start[0, local])
            rows_held = int(geo.own_stop[geo.row_ways[local] - 1, local]) - from_row
        channel, stop = self.places.share(local, core)
        if row[C_K1]:  # a part of them
            begin, end = channel + row[C_K0], min(stop, channel + row[C_K1])
            channel, stop = (begin, end) if end > begin else (channel, channel)
        rows = max(0, high - low)
        low = low if rows else int(geo.start[way, local])
        column = int(geo.own_columns_start[local])
        columns = int(geo.own_columns_stop[local]) - column
        return {
            **{"images": mine[1] - mine[0], "rows": rows, "columns": columns, "channels": stop - channel},
            **self.places.view("src", local, core, 0, low, column, channel),
            **self.places.window(
                "dst", symbol, local, mine[0] - first, low - from_row, column, channel, rows_held
            ),
        }

    def _overlaps(self, row: list[int], core: int, restores: bool) -> Fields:
        """Between a tensor's ring and its cache in shared memory, all that the core has of a piece; of what all cores
        of a channel group hold, each stores its share."""
        local, places, geo = row[C_TENSOR], self.places, self.places.lowered.geometry
        index = int(geo.tensor[local])
        low, high = piece_rows(geo.start, geo.ends, places.ways(local, core)[1], local, row[C_PIECE])
        first, last = places.images(local, core)
        images = min(1, last - first) if index in places.network.constants else last - first
        column = int(geo.held_start[local] if restores else geo.keep_start[local])
        stop = int(geo.new_start[local] if restores else geo.held_stop[local])
        channel, until = places.share(local, core)
        if restores and geo.full[local]:
            channel, until = 0, places.network.tensors[index].channels
        ring, cache = ("dst", "src") if restores else ("src", "dst")
        symbol = places.symbol(OVERLAPS, places.choice.halo == CACHE_LLB)
        return {
            **{"images": images, "rows": high - low, "columns": stop - column, "channels": until - channel},
            **places.view(ring, local, core, 0, low, column, channel),
            **places.overlap_window(cache, symbol, local, core, low, channel),
        }

    def _broadcast(self, row: list[int], core: int) -> Fields:
        if row[C_A]:
            return self._redistribute(row, core)
        local, geo = row[C_TENSOR], self.places.lowered.geometry
        column, columns = self.places.columns(local)
        low, high = piece_rows(geo.start, geo.ends, self.places.ways(local, core)[1], local, row[C_PIECE])
        mine = self.places.images(local, core)
        channel, stop = self.places.share(local, core)
        ways = int(geo.channel_ways[local])
        group = core // ways * ways
        targets = sum(1 << other for other in range(group, group + ways) if other != core)
        return {
            **{"images": mine[1] - mine[0], "rows": high - low, "columns": columns},
            **{"channels": stop - channel, "targets": targets},
            **self.places.view("src", local, core, 0, low, column, channel),
        }

    def _redistribute(self, row: list[int], core: int) -> Fields:
        """What a core sends a group of cores of a piece of a copy, as `scheduling.lowering.redistribution` says."""
        copy, places, geo = row[C_TENSOR], self.places, self.places.lowered.geometry
        source, number = int(geo.copied_from[copy]), int(geo.tensor[copy])
        source_ways, ways = places.bound(source), group_ways(*places.bound(copy), int(geo.full[copy]))
        groups = prod(ways)
        group, members = (core + row[C_A] - 1) % groups, prod(places.bound(copy)) // groups
        target = group * members
        batch, split = places.network.batch, places.choice.split_batch
        first = batch * places.batch_part // split
        images = batch * (places.batch_part + 1) // split - first
        p, channels = row[C_PIECE], places.network.tensors[number].channels
        begin = geo.start[:, copy] if p == 0 else geo.ends[:, copy, p - 1]
        made = box_of(core, source_ways, geo.own_start[:, copy], geo.own_stop[:, copy], images, channels)
        needed = box_of(group, ways, begin, geo.ends[:, copy, p], images, channels)
        (a, b), (low, high), (channel, stop) = common_box(made, needed)
        box = (b - a, high - low, stop - channel)
        targets = ((1 << members) - 1) << target
        if 0 in box:  # nothing
            a, low = (
                places.images(copy, target)[0] - first,
                int(geo.start[places.ways(copy, target)[1], copy]),
            )
            channel = places.share(copy, target)[0]
        column, columns = places.columns(copy)
        here, there = a + first - places.images(source, core)[0], a + first - places.images(copy, target)[0]
        return {
            **{"images": box[0], "rows": box[1], "columns": columns, "channels": box[2], "targets": targets},
            **places.view("src", source, core, here, low, column, channel),
            **places.view("dst", copy, target, there, low, column, channel),
        }

    def _load_weights(self, row: list[int], core: int) -> Fields:
        number, layer = self.places.layer(row)
        start, stop = self.places.share(row[C_TENSOR], core)
        if not self.places.works_on(row[C_TENSOR], core):
            stop = start
        item = self.places.element_bytes
        parameters = self.places.sliced and row[C_A]
        name = f"{PARAMETERS if parameters else WEIGHTS}{number}"
        symbol = self.places.symbol(name, bool(self.places.staged[number]))
        channels = self.places.stored_channels[layer.output]
        anchor = layer.anchor
        per_channel = (
            anchor.in_channels // anchor.groups * anchor.taps if isinstance(anchor, Contraction) else 0
        )
        if row[C_A]:  # parameters, behind the weights
            fields = (len(layer.parameters), (stop - start) * item, channels * item)
            offset = (start if parameters else channels * per_channel + start) * item
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

    def _conv(self, row: list[int], core: int) -> Fields:
        number, layer = self.places.layer(row)
        anchor = layer.anchor
        if not isinstance(anchor, Contraction):
            raise TypeError(f"layer {layer.name} has a CONV but no contraction")
        image, images, first, rows = self.places.tile(row, core)
        start, stop = self.places.share(row[C_TENSOR], core)
        k0, k1 = min(row[C_K0], stop - start), min(row[C_K1], stop - start)
        low, high = self.places.input_rows(layer, 0, first, rows)
        column, columns = self.places.columns(row[C_TENSOR])
        left, right = self.places.input_columns(layer, 0, column, columns)
        if right <= left:  # the windows lie in padding only
            high, left, right = low, 0, self.places.network.tensors[layer.inputs[0]].columns
        source = self.places.source(number, 0)
        in_groups = anchor.in_channels // anchor.groups
        local, ways = row[C_TENSOR], int(self.places.lowered.geometry.channel_ways[row[C_TENSOR]])
        group = row[C_B] + self.places.ways(local, core)[2] * (anchor.groups // ways)
        channel = row[C_R0] + (group * in_groups if anchor.groups > 1 else 0)
        fields = {} if not self.places.turned or anchor.taps == 1 else {"kernel_turned": 1}
        return {
            **{"images": images, "rows": rows, "columns": columns},
            **{"out_channels": k1 - k0, "acc_addr": row[C_ACC], "accumulate": row[C_A]},
            **{"weight_addr": row[C_WEIGHT], "in_rows": high - low, "in_columns": right - left},
            **{
                "in_channels": row[C_R1] - row[C_R0],
                "kernel_h": anchor.kernel_h,
                "kernel_w": anchor.kernel_w,
            },
            **{"stride_h": anchor.stride_h, "stride_w": anchor.stride_w},
            **{"dilation_h": anchor.dilation_h, "dilation_w": anchor.dilation_w},
            "pad_top": pad_before(layer.maps[0].rows, low, first * anchor.stride_h - anchor.pad_top),
            "pad_left": pad_before(layer.maps[0].columns, left, column * anchor.stride_w - anchor.pad_left),
            **fields,
            **self.places.view("in", source, core, image, low, left, channel),
        }

    def _matmul(self, row: list[int], core: int) -> Fields:
        number, layer = self.places.layer(row)
        anchor = layer.anchor
        if not isinstance(anchor, MatMul):
            raise TypeError(f"layer {layer.name} has a MATMUL but no product")
        image, images, first, rows = self.places.tile(row, core)
        start, stop = self.places.share(row[C_TENSOR], core)
        k0, k1 = start + min(row[C_K0], stop - start), start + min(row[C_K1], stop - start)
        group, within = divmod(k0, anchor.out_channels // anchor.groups)
        channel = group * anchor.reduction + row[C_R0]
        first_row, second_channel = (within, channel) if anchor.transposed else (row[C_R0], k0)
        one, two = self.places.source(number, 0), self.places.source(number, 1)
        if k1 <= k0:  # nothing to do on this core
            first_row = channel = second_channel = 0
        return {
            **{"images": images, "rows": rows, "columns": self.places.network.tensors[layer.output].columns},
            **{"out_channels": k1 - k0, "in_channels": row[C_R1] - row[C_R0]},
            **{"acc_addr": row[C_ACC], "accumulate": row[C_A], "transposed": int(anchor.transposed)},
            **self.places.view("in", one, core, image, first, 0, channel),
            **self.places.view("w", two, core, image, first_row, 0, second_channel),
        }

    def _gather(self, row: list[int], core: int) -> Fields:
        number, layer = self.places.layer(row)
        anchor = layer.anchor
        if not isinstance(anchor, Embedding):
            raise TypeError(f"layer {layer.name} has a GATHER but no table")
        local = row[C_TENSOR]
        low, high = piece_rows(
            self.places.lowered.geometry.start,
            self.places.lowered.geometry.ends,
            self.places.ways(local, core)[1],
            local,
            row[C_PIECE],
        )
        mine = self.places.images(local, core)
        start, stop = self.places.share(local, core)
        return {
            **{"images": mine[1] - mine[0], "rows": high - low, "channels": stop - start},
            **{"columns": self.places.network.tensors[layer.output].columns, "entries": anchor.entries},
            **{
                "src_symbol": self.places.symbol(f"{WEIGHTS}{number}", False),
                "src_offset": start * self.places.element_bytes,
            },
            "src_row_stride": anchor.channels * self.places.element_bytes,
            **self.places.view("dst", local, core, 0, low, 0, start),
            **self.places.view("idx", self.places.source(number, 0), core, 0, low, 0, 0),
        }


def _merge(cores: Iterable[Fields]) -> dict[str, tuple[int, ...]]:
    """One value where all cores agree, else one per core."""
    fields = list(cores)
    merged = {}
    for name in fields[0]:
        values = tuple(int(of_core[name]) for of_core in fields)
        merged[name] = values[:1] if len(set(values)) == 1 else values
    return merged
