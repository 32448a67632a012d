"""Emitter: collects the layers in the making, and moves values to the storage that a layer needs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from graph.errors import MOST_ITEMS, ModelError
from graph.folded.constants import Array, fill
from graph.layering.effects import Affine, Effect, Operand
from graph.layering.layout import Digit, Digits, common_cut, extent, is_block, merged, without_batch
from graph.layering.rearranging import Axes, rearrange_map, row_runs
from graph.layering.values import Value, default_axes, stored_value
from graph.network import AxisMap, RegionMap
from graph.primitives import Anchor, Concat, Rearrange, StepOp


@dataclass(frozen=True, slots=True, eq=False)
class Anchored:
    """A layer's anchor with its inputs, their region maps, its output (not yet named) and what follows inside
    the same node.

    `weight` is (K, C/groups, kernel_h, kernel_w) float32 for a Contraction, (entries, C) for an Embedding. Layers of
    one node that have the same weight and effects say so by a `weight_name`.
    """

    anchor: Anchor
    inputs: tuple[Value, ...]
    maps: tuple[RegionMap, ...]
    output: Value
    weight: Array | None = None
    effects: tuple[Effect, ...] = ()
    weight_name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Pointwise:
    """`values` joined by `combine` (None where there is one), then `effects`.

    The axes of every value are 1 or the output's; those of value `main` are the output's. The chain of steps
    may begin at any value of the output's size, or with `fixed` only at `main`.
    """

    values: tuple[Value, ...]
    output: Value
    effects: tuple[Effect, ...] = ()
    combine: StepOp | None = None
    main: int = 0
    fixed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A layer or step in the making: its name, the ONNX nodes that it came from, and the tensor it writes.

    Items with the same `identity` have the same weight and the same constants in their effects.
    """

    name: str
    nodes: tuple[str, ...]
    output: str
    result: Anchored | Pointwise
    identity: tuple[object, ...] = ()


@dataclass(slots=True)
class Emitter:
    """What the nodes that were read so far became.

    `names` gives tensors another name than that they were emitted under. `begin` says which node is read.
    """

    file: str
    file_batch: int
    weights: bool
    items: list[Item] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    _held: dict[tuple[str, Value], Value] = field(default_factory=dict)
    _copies: dict[tuple[object, ...], Value] = field(default_factory=dict)
    _node: str = ""
    _nodes: tuple[str, ...] = ()
    _output: str = ""
    _identity: tuple[object, ...] = ()
    _with_constants: int = 0
    _counts: dict[str, int] = field(default_factory=dict)

    def begin(
        self, node: str, nodes: tuple[str, ...], output: str, identity: tuple[object, ...] = ()
    ) -> None:
        """The next layers come from ONNX nodes `nodes`, whose first output is `output`.

        Nodes with the same `identity` give the same layers but for the tensors that these read.
        """
        self._node, self._nodes, self._output = node, nodes, output
        self._identity = identity or (output,)
        self._with_constants = 0

    def owns(self, source: str) -> bool:
        """Whether a tensor was emitted for the present node and has no other name yet."""
        return source.startswith(f"{self._output}//") and source not in self.names

    def emit(self, result: Anchored | Pointwise) -> Value:
        """Add an item under a new name. Raises ModelError where there are too many, as of a loop of many steps, or
        where it has no elements.
        """
        if len(self.items) == MOST_ITEMS:
            raise ModelError(
                f"{self.file}: node {self._node!r}: more than {MOST_ITEMS} layers and steps so far; expected fewer "
                "(recurrent layers are unrolled over time)"
            )
        if min(result.output.sizes) < 1:
            raise ModelError(
                f"{self.file}: node {self._node!r}: gives a tensor without elements; expected some"
            )
        count = self._counts.get(self._output, 0)
        self._counts[self._output] = count + 1
        source = f"{self._output}//{count}"
        name = f"{self._node}//{count}" if count else self._node
        output = replace(result.output, source=source)
        identity = self._identity_of(result)
        self.items.append(Item(name, self._nodes, source, replace(result, output=output), identity))
        return output

    def _identity_of(self, result: Anchored | Pointwise) -> tuple[object, ...]:
        """The node's identity and which of its layers with constants this is; nothing for one without any."""
        weighted = isinstance(result, Anchored) and result.weight is not None
        if not weighted and not any(isinstance(effect, Affine | Operand) for effect in result.effects):
            return ()
        if isinstance(result, Anchored) and result.weight_name:
            return (*self._identity, result.weight_name)
        self._with_constants += 1
        return (*self._identity, self._with_constants)

    def constant(self, name: str, array: Array, like: Value | None = None) -> Value:
        """A constant ONNX tensor as a stored one; where `like` has the batch, its images must be the same."""
        sizes: list[Digits | int] = list(array.shape)
        for axis, dim in enumerate(like.dims if like else ()):
            missing = like.rank - array.ndim if like else 0
            if axis >= missing and dim and dim[0].batch and array.shape[axis - missing] == extent(dim):
                images, inside = dim[0].size, extent(dim[1:])
                array = self._image(name, array, axis - missing, images)
                sizes[axis - missing] = (dim[0], Digit(inside, 1)) if inside > 1 else (dim[0],)
        rows, columns, channels = default_axes(array.ndim, 1 if array.ndim and array.shape[0] == 1 else 0)
        value = stored_value(sizes, rows=rows, columns=columns, channels=channels)
        key = (name, value)
        if key not in self._held:
            source = f"{name}//constant{len(self._held)}"
            order = [*channels, *rows, *columns]
            rest = [axis for axis in range(array.ndim) if axis not in order]
            self.constants[source] = self._constant(array.transpose(rest + order), value.sizes)
            self._held[key] = replace(value, source=source)
        return self._held[key]

    def _image(self, name: str, array: Array, axis: int, images: int) -> Array:
        """What a constant holds for every one of the images that are the slowest part of a dimension."""
        shape = array.shape
        parts = array.reshape(*shape[:axis], images, shape[axis] // images, *shape[axis + 1 :])
        first = parts.take([0], axis=axis)
        if self.weights and not (parts == first).all():
            raise ModelError(
                f"{self.file}: constant {name!r} differs between the {self.file_batch} images that the file is "
                "written for; expected the same for every image"
            )
        return first.reshape(*shape[:axis], shape[axis] // images, *shape[axis + 1 :])

    def _constant(self, array: Array, sizes: tuple[int, int, int]) -> Array:
        if not self.weights and array.size > 1:
            return fill(np.float32(0), sizes)
        return np.asarray(array, dtype=np.float32).reshape(sizes)

    def arranged(
        self, value: Value, rows: Sequence[int], columns: Sequence[int], channels: Sequence[int]
    ) -> Value:
        """See Operation.arranged."""
        digits = [
            tuple(digit for axis in axes for digit in without_batch(value.dims[axis]))
            for axes in (rows, columns, channels)
        ]
        placed = self.placed(value, digits[0], digits[1], digits[2])
        if placed.source == value.source:
            return value
        wanted = stored_value(value.dims, rows=rows, columns=columns, channels=channels)
        return replace(wanted, source=placed.source)

    def by_default(self, value: Value) -> Value:
        """`value` stored as its rank suggests."""
        first = 1 if value.rank and value.image_size(0) == 1 else 0
        return self.arranged(value, *default_axes(value.rank, first))

    def in_order(self, value: Value) -> Value:
        """`value` with all its elements stored in ONNX order."""
        inner = [axis for axis in range(value.rank) if value.image_size(axis) > 1]
        return self.arranged(value, inner[:-1][:1], inner[1:-1], inner[-1:])

    def operand(self, main: Value, other: Value) -> Value | None:
        """`other`, broadcast to `main`, stored as `main` is but for axes of size 1; None where the two cannot
        be brought together.
        """
        cut = main.axis_digits()
        if cut is None:
            return None
        pairs: list[list[tuple[Digit, Digit]]] = [[], [], []]
        for own, given in zip(cut, other.broadcast(main.shape).dims, strict=True):
            both = common_cut(own, given)
            if both is None:
                return None
            for mine, its in zip(*both, strict=True):
                if mine.batch and (its.batch or its.stride == 0):
                    continue
                if mine.batch or its.batch:
                    return None
                pairs[main.axis_of(mine)].append((mine, its))
        axes: list[Digits] = []
        for found in pairs:
            digits = [its for _, its in sorted(found, key=lambda pair: -pair[0].stride)]
            axes.append(tuple(digits) if any(digit.stride for digit in digits) else ())
        return self.placed(other, *axes)

    def placed(self, value: Value, rows: Digits, columns: Digits, channels: Digits) -> Value:
        """A tensor (without ONNX dimensions) whose axes are those digits of the tensor behind `value`."""
        sizes = (extent(channels), extent(rows), extent(columns))
        digits = merged([*rows, *columns, *channels])
        if value.offset == 0 and sizes == value.sizes and is_block(digits, value.elements):
            return replace(value, dims=())
        if value.indices:
            raise ModelError(
                f"{self.file}: the indices {value.source!r} are read in another order than they are stored; "
                "expected a Gather to read them as they are"
            )
        key = (value.source, value.offset, *sizes, digits)
        if key not in self._copies:
            self._copies[key] = self._copy(value, (rows, columns, channels), sizes, digits)
        return self._copies[key]

    def _copy(self, value: Value, axes: Axes, sizes: tuple[int, int, int], digits: Digits) -> Value:
        channels, rows, columns = sizes
        output = Value("", channels, rows, columns, ())
        if value.source in self.constants:
            source = f"{value.source}//{len(self.constants)}"
            array = self.constants[value.source]
            if array.size > 1 and not self.weights:
                self.constants[source] = fill(np.float32(0), sizes)
            else:
                places = np.full(1, value.offset)
                for digit in digits:
                    places = (places[:, None] + np.arange(digit.size) * digit.stride).ravel()
                taken = array.transpose(1, 2, 0).reshape(-1)[places].reshape(rows, columns, channels)
                self.constants[source] = taken.transpose(2, 0, 1)
            return replace(output, source=source)
        given = (value.rows, value.columns, value.channels)
        runs = row_runs(axes, value.offset, given)
        if len(runs) > 1:
            copies = [self.placed(replace(value, offset=first), run, *axes[1:]) for run, first in runs]
            starts = itertools.accumulate((copy.rows for copy in copies[:-1]), initial=0)
            maps = tuple(RegionMap(AxisMap(offset=-start), AxisMap(), AxisMap()) for start in starts)
            return self.emit(Anchored(Concat("rows"), tuple(copies), maps, output))
        counted = digits or (Digit(1, 1),)
        anchor = Rearrange(
            tuple(digit.size for digit in counted), tuple(digit.stride for digit in counted), value.offset
        )
        region = rearrange_map(axes, value.offset, given)
        return self.emit(Anchored(anchor, (replace(value, dims=()),), (region,), output))
