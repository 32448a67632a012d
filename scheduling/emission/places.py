"""Places: where the tensors, symbols and shares of a template are, core by core.

Nothing is decided here: the plan says where every tensor is, the choice which part of it a core has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from graph.network import AxisMap, Layer, Network
from hwmodel.programs.isa import Symbol
from scheduling.choice import Choice
from scheduling.lowering import Lowered
from scheduling.lowering.redistribution import way_of
from scheduling.lowering.rows import C_H0, C_H1, C_I0, C_I1, C_K1, C_OP, C_PIECE, C_TENSOR, OP_STORE
from scheduling.lowering.shares import piece_rows

Fields = dict[str, int]

WEIGHTS, PARAMETERS = "w", "p"
"""What the names of symbols for a layer's weights, and for the parameters of a slice of its channels, begin with."""

_VIEW = ("addr", "image_stride", "row_stride", "col_stride", "row", "ring")
_WINDOW = ("symbol", "offset", "image_stride", "row_stride", "col_stride")


def pad_before(axis: AxisMap, low: int, first: int) -> int:
    """Positions of padding before the first input position `low` of a window that would begin at `first`."""
    return 0 if axis.whole else max(0, low - first)


@dataclass(slots=True)
class Places:
    """Of one template; cores are numbered batch, then rows, then output channels, by the binding of the layer.

    `network`, `choice` and `lowered` are those of a frame (scheduling.lowering.frames); where it is `turned`, its rows
    are the columns of what lies in shared memory. `in_llb`, `source_batch`, `source_rows` and `staged` are those that
    it was lowered with. `stored_channels` are the channels of tensors in shared memory, and `sliced` says that an
    instance has a slice of them. Symbols are made as they are needed; `scheduling.emission.program` binds them by their
    names: in{t}_{batch part}_{row part} (the part counted from the first that the instance touches; rows absolute),
    out{t}, w{layer}, p{layer} (a slice's parameters: elsewhere they are found behind the weights), overlaps.
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
    stored_channels: tuple[int, ...]
    turned: bool = False
    sliced: bool = False
    symbols: dict[str, tuple[int, Symbol]] = field(default_factory=dict)
    in_channel_ring: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        """Find the local tensors that are stored by parts of their channels (scheduling.lowering.channel_rings)."""
        rows = self.lowered.rows
        by_parts = (rows[:, C_OP] == OP_STORE) & (rows[:, C_K1] > 0)
        self.in_channel_ring = frozenset(rows[by_parts, C_TENSOR].tolist())

    def bound(self, local: int) -> tuple[int, int, int]:
        """Ways over the batch, rows and channels by which a tensor is bound."""
        geo = self.lowered.geometry
        return int(geo.batch_ways[local]), int(geo.row_ways[local]), int(geo.channel_ways[local])

    def ways(self, local: int, core: int) -> tuple[int, int, int]:
        """(batch way, row way, channel way) of a core, as a tensor is bound."""
        _, row_ways, channel_ways = self.bound(local)
        return way_of(core, row_ways, channel_ways)

    def works_on(self, local: int, core: int) -> bool:
        """Whether a core has a part of a tensor: one that is bound to fewer cores than the kernel's is on the first."""
        return core < prod(self.bound(local))

    def images(self, local: int, core: int) -> tuple[int, int]:
        """Images that a core has of a tensor, absolute; none of one that is bound to fewer cores."""
        batch, split = self.network.batch, self.choice.split_batch
        first = batch * self.batch_part // split
        count = batch * (self.batch_part + 1) // split - first
        ways = self.bound(local)[0]
        way = min(ways, self.ways(local, core)[0])
        return first + count * way // ways, first + count * min(ways, way + 1) // ways

    def share(self, local: int, core: int) -> tuple[int, int]:
        """Channels of a tensor that a core computes."""
        channels = self.network.tensors[self.lowered.geometry.tensor[local]].channels
        way, ways = self.ways(local, core)[2], int(self.lowered.geometry.channel_ways[local])
        return channels * way // ways, channels * (way + 1) // ways

    def tile(self, row: list[int], core: int) -> tuple[int, int, int, int]:
        """(first image from the core's first, images, first row, rows) of a compute row."""
        first, stop = self.images(row[C_TENSOR], core)
        i0, i1 = min(row[C_I0], stop - first), min(row[C_I1], stop - first)
        low, high = piece_rows(
            self.lowered.geometry.start,
            self.lowered.geometry.ends,
            self.ways(row[C_TENSOR], core)[1],
            row[C_TENSOR],
            row[C_PIECE],
        )
        h0, h1 = low + min(row[C_H0], high - low), low + min(row[C_H1], high - low)
        return i0, max(0, i1 - i0), h0, max(0, h1 - h0)

    def columns(self, local: int) -> tuple[int, int]:
        """Columns of a tensor that the instance makes or loads: (first, how many)."""
        geo = self.lowered.geometry
        first = int(geo.new_start[local])
        return first, int(geo.held_stop[local]) - first

    def view(
        self, name: str, local: int, core: int, image: int, first_row: int, first_column: int, channel: int
    ) -> Fields:
        """View of an L1 tensor from an image (of the core's), a row, a column and a channel (all absolute) on; every
        image of a constant is its only one."""
        geo, plan = self.lowered.geometry, self.lowered.plan
        held, from_channel = self._held_channels(local, core)
        ring = max(1, int(plan.ring_rows[local]))
        col_stride = held * self.element_bytes
        row_stride = int(geo.held_stop[local] - geo.held_start[local]) * col_stride
        start = int(geo.start[self.ways(local, core)[1], local])
        image_stride = 0 if geo.tensor[local] in self.network.constants else ring * row_stride
        place = channel - from_channel
        if local in self.in_channel_ring:
            place %= held
        column = max(0, first_column - int(geo.held_start[local]))
        values = (
            int(plan.address[local])
            + image * image_stride
            + column * col_stride
            + place * self.element_bytes,
            image_stride,
            row_stride,
            col_stride,
            (first_row - start) % ring,
            ring,
        )
        return {f"{name}_{part}": value for part, value in zip(_VIEW, values, strict=True)}

    def cache_view(self, name: str, local: int, core: int, first_row: int) -> Fields:
        """View of what a tensor's cache holds, from a row (absolute) on, all images and channels that the core has."""
        geo, plan = self.lowered.geometry, self.lowered.plan
        held, _ = self._held_channels(local, core)
        rows = max(1, int(geo.cache_rows[local]))
        col_stride = held * self.element_bytes
        row_stride = int(geo.cache_columns[local]) * col_stride
        image_stride = 0 if geo.tensor[local] in self.network.constants else rows * row_stride
        row = first_row - int(geo.start[self.ways(local, core)[1], local])
        values = (int(plan.cache_address[local]), image_stride, row_stride, col_stride, row % rows, rows)
        return {f"{name}_{part}": value for part, value in zip(_VIEW, values, strict=True)}

    def overlap_window(self, name: str, symbol: int, local: int, core: int, row: int, channel: int) -> Fields:
        """Window of a tensor's cache in shared memory, from a row (absolute) and a channel of a core's images on."""
        geo, choice = self.lowered.geometry, self.choice
        way, row_way, _ = self.ways(local, core)
        pixel = self.network.tensors[geo.tensor[local]].channels * self.element_bytes
        row_stride = int(geo.cache_columns[local]) * pixel
        rows = int(geo.cache_rows[local])
        image_stride = choice.ways_rows * rows * row_stride
        image = self.images(local, core)[0] - self.network.batch * self.batch_part // choice.split_batch
        if geo.tensor[local] in self.network.constants:
            image = way
        row += row_way * rows - int(geo.start[row_way, local])
        offset = int(self.lowered.plan.cache_address[local]) + image * image_stride + row * row_stride
        values = (symbol, offset + channel * self.element_bytes, image_stride, row_stride, pixel)
        return {f"{name}_{part}": value for part, value in zip(_WINDOW, values, strict=True)}

    def _held_channels(self, local: int, core: int) -> tuple[int, int]:
        """Channels of a tensor that a core has room for, and the first of them."""
        geo = self.lowered.geometry
        channels, ways = self.network.tensors[geo.tensor[local]].channels, int(geo.channel_ways[local])
        if local in self.in_channel_ring:
            share = -(-channels // ways)
            return min(share, 2 * int(self.lowered.tiles[local - geo.entries, 0])), self.share(local, core)[0]
        if geo.full[local]:
            return channels, 0
        return -(-channels // ways), self.share(local, core)[0]

    def window(
        self,
        name: str,
        symbol: int,
        local: int,
        image: int,
        row: int,
        column: int,
        channel: int,
        rows_held: int,
    ) -> Fields:
        """Window of a tensor in shared memory, of which `rows_held` rows lie there; the place of its first element."""
        index = self.lowered.geometry.tensor[local]
        tensor, pixel = self.network.tensors[index], self.stored_channels[index] * self.element_bytes
        image_stride = rows_held * tensor.columns * pixel
        row_stride, col_stride = tensor.columns * pixel, pixel
        if self.turned:  # shared memory has its rows where this frame has its columns
            row_stride, col_stride = pixel, rows_held * pixel
        offset = image * image_stride + row * row_stride + column * col_stride + channel * self.element_bytes
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

    def input_columns(self, layer: Layer, position: int, first: int, count: int) -> tuple[int, int]:
        """Columns of an input that `count` output columns from `first` on read: [low, high)."""
        size = self.network.tensors[layer.inputs[position]].columns
        if self.choice.split_columns == 1:
            return 0, size
        return layer.maps[position].columns.needed(first, first + count, size) if count else (0, 0)
