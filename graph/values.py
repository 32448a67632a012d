"""Value: an ONNX tensor seen as a layer's tensor, so that reshapes that move no data disappear."""

from __future__ import annotations

from dataclasses import dataclass

from graph.network import AxisMap, RegionMap

IDENTITY = RegionMap(AxisMap(), AxisMap(), AxisMap())


@dataclass(frozen=True, slots=True)
class Value:
    """The tensor that the node output `source` names, (channels, rows, columns) an image, under ONNX shape
    `dims`.

    `dims` leaves the batch out. It is either natural (channels first, only unit sizes dropped or added) or
    flat (all of channels x rows x columns in one dimension).
    """

    source: str
    channels: int
    rows: int
    columns: int
    dims: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Elements of one image: C x H x W."""
        return self.channels * self.rows * self.columns

    @property
    def natural(self) -> bool:
        """Whether dimension 1 of the ONNX tensor is the channels and the rest are the rows and columns."""
        sizes = (self.channels, self.rows, self.columns)
        return bool(self.dims) and self.dims[0] == self.channels and _large(self.dims) == _large(sizes)

    @property
    def is_map(self) -> bool:
        """Whether the ONNX tensor is (B, C, H, W)."""
        return self.dims == (self.channels, self.rows, self.columns)

    @property
    def shape_text(self) -> str:
        """The ONNX shape for a message, such as (B, 64, 56, 56)."""
        return f"({', '.join(['B', *map(str, self.dims)])})"

    def viewed(self, dims: tuple[int, ...]) -> Value | None:
        """The same data under another ONNX shape, or None where that shape is neither natural nor flat."""
        if len(dims) > 3:
            return None
        view = Value(self.source, self.channels, self.rows, self.columns, dims)
        return view if view.natural or dims == (self.elements,) else None


def map_value(source: str, channels: int, rows: int, columns: int) -> Value:
    """Value of a (B, C, H, W) tensor."""
    return Value(source, channels, rows, columns, (channels, rows, columns))


def _large(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in sizes if size != 1)
