"""Places: where the tensors, symbols and shares of a template are, core by core.

Nothing is decided here: the plan says where every tensor is, the choice which part of it a core has.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from graph.network import Layer, Network
from hwmodel.isa import Symbol
from scheduling.choice import Choice
from scheduling.lowering import Lowered
from scheduling.rows import C_H0, C_H1, C_I0, C_I1, C_PIECE, C_TENSOR
from scheduling.shares import piece_rows

Fields = dict[str, int]

_VIEW = ("addr", "image_stride", "row_stride", "col_stride", "row", "ring")
_WINDOW = ("symbol", "offset", "image_stride", "row_stride", "col_stride")


@dataclass(slots=True)
class Places:
    """Of one template; cores are numbered batch, then rows, then output channels.

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

    def ways(self, core: int) -> tuple[int, int, int]:
        rest, channel = divmod(core, self.choice.ways_channels)
        batch, row = divmod(rest, self.choice.ways_rows)
        return batch, row, channel

    def images(self, core: int) -> tuple[int, int]:
        """Images of a core, absolute."""
        batch, split = self.network.batch, self.choice.split_batch
        first = batch * self.batch_part // split
        count = batch * (self.batch_part + 1) // split - first
        way, ways = self.ways(core)[0], self.choice.ways_batch
        return first + count * way // ways, first + count * (way + 1) // ways

    def share(self, local: int, core: int) -> tuple[int, int]:
        """Channels of a tensor that a core computes."""
        channels = self.network.tensors[self.lowered.geometry.tensor[local]].channels
        way, ways = self.ways(core)[2], self.choice.ways_channels
        return channels * way // ways, channels * (way + 1) // ways

    def tile(self, row: list[int], core: int) -> tuple[int, int, int, int]:
        """(first image from the core's first, images, first row, rows) of a compute row."""
        first, stop = self.images(core)
        i0, i1 = min(row[C_I0], stop - first), min(row[C_I1], stop - first)
        low, high = piece_rows(
            self.lowered.geometry.start,
            self.lowered.geometry.ends,
            self.ways(core)[1],
            row[C_TENSOR],
            row[C_PIECE],
        )
        h0, h1 = low + min(row[C_H0], high - low), low + min(row[C_H1], high - low)
        return i0, max(0, i1 - i0), h0, max(0, h1 - h0)

    def view(self, name: str, local: int, core: int, image: int, first_row: int, channel: int) -> Fields:
        """View of an L1 tensor from an image (of the core's), a row and a channel (both absolute) on; every image of
        a constant is its only one."""
        geo, plan = self.lowered.geometry, self.lowered.plan
        tensor = self.network.tensors[geo.tensor[local]]
        held, from_channel = tensor.channels, 0
        if not geo.full[local]:
            held = -(-tensor.channels // self.choice.ways_channels)
            from_channel = self.share(local, core)[0]
        ring = max(1, int(plan.ring_rows[local]))
        col_stride = held * self.element_bytes
        row_stride = tensor.columns * col_stride
        start = int(geo.start[self.ways(core)[1], local])
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

    def window(
        self, name: str, symbol: int, local: int, image: int, row: int, channel: int, rows_held: int
    ) -> Fields:
        tensor = self.network.tensors[self.lowered.geometry.tensor[local]]
        col_stride = tensor.channels * self.element_bytes
        row_stride = tensor.columns * col_stride
        image_stride = rows_held * row_stride
        offset = image * image_stride + row * row_stride + channel * self.element_bytes
        values = (symbol, offset, image_stride, row_stride, col_stride)
        return {f"{name}_{part}": value for part, value in zip(_WINDOW, values, strict=True)}

    def symbol(self, name: str, in_llb: bool) -> int:
        if name not in self.symbols:
            self.symbols[name] = (len(self.symbols), Symbol(name, "llb" if in_llb else "dram"))
        return self.symbols[name][0]

    def layer(self, row: list[int]) -> tuple[int, Layer]:
        number = self.choice.first + row[C_TENSOR] - self.lowered.geometry.entries
        return number, self.network.layers[number]

    def source(self, layer_number: int, position: int) -> int:
        """Local tensor of a layer's input."""
        edges = sum(len(layer.inputs) for layer in self.network.layers[self.choice.first : layer_number])
        return int(self.lowered.geometry.edge_local[edges + position])

    def input_rows(self, layer: Layer, position: int, first: int, count: int) -> tuple[int, int]:
        rows = layer.maps[position].rows
        size = self.network.tensors[layer.inputs[position]].rows
        return rows.needed(first, first + count, size) if count else (0, 0)
