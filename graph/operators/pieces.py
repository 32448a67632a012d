"""Parts of a dimension and parts put together: what Slice, Split, Gather, Concat, Pad and Tile share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graph.layering.layout import (
    Digit,
    Digits,
    common_cut,
    is_block,
    merged,
    progression,
    sliced,
    without_batch,
)
from graph.layering.operation import Anchored, Operation
from graph.layering.values import Value, default_axes
from graph.network import AxisMap, RegionMap
from graph.primitives import Concat


def part(operation: Operation, value: Value, axis: int, start: int, step: int, size: int) -> Value:
    """Positions start, start + step, ... (`size` of them) of dimension `axis`."""
    found = sliced(value.dims[axis], start, step, size)
    if found is None:
        if value.has_batch(axis):
            raise operation.error(f"takes a part of the batch of {operation.file_batch}; expected all images")
        value = operation.by_default(value)
        found = sliced(value.dims[axis], start, step, size)
    if found is None:
        raise operation.error(f"positions {start} by {step} of {operation.text(value)} are not supported")
    dims = [*value.dims]
    dims[axis] = found[0]
    return replace(value, dims=tuple(dims), offset=value.offset + found[1])


def taken(operation: Operation, value: Value, axis: int, places: Sequence[int]) -> Value:
    """Those positions of dimension `axis`: a view where they follow a pattern, else pieces put together."""
    if list(places) == list(range(value.shape[axis])):
        return value
    pattern = progression(places)
    if pattern is not None:
        if value.has_batch(axis):
            raise operation.error("takes images of the batch; expected all of them")
        if len(merged(value.dims[axis])) > 1:
            value = operation.by_default(value)
        digits, offset = pattern
        unit = next((digit.stride for digit in merged(value.dims[axis])), 0)
        dims = [*value.dims]
        dims[axis] = merged(Digit(digit.size, digit.stride * unit) for digit in digits)
        return replace(value, dims=tuple(dims), offset=value.offset + offset * unit)
    runs: list[list[int]] = []
    for place in places:
        run = runs[-1] if runs else []
        if len(run) == 1 or (len(run) > 1 and place - run[-1] == run[1] - run[0]):
            run.append(place)
        else:
            runs.append([place])
    return concatenated(operation, [taken(operation, value, axis, run) for run in runs], axis)


def concatenated(operation: Operation, values: Sequence[Value], axis: int) -> Value:
    """Values side by side along dimension `axis`."""
    if len(values) == 1:
        return values[0]
    first = values[0]
    for value in values:
        rest = [size for place, size in enumerate(value.shape) if place != axis]
        batches = [place for place in range(value.rank) if value.has_batch(place)]
        if rest != [size for place, size in enumerate(first.shape) if place != axis] or axis in batches:
            raise operation.error(
                f"inputs have shapes {operation.text(first)} and {operation.text(value)}; "
                f"expected the same but for dimension {axis}, which is not the batch"
            )
    for value in sorted(values, key=lambda value: -value.image_size(axis)):
        for place in _places(value, axis):
            parts = [_like(operation, value, other, axis, place) for other in values]
            found = [item for item in parts if item is not None]
            if len(found) == len(values):
                return operation.emit(_concat(found, axis, place))
    rows, columns, channels = default_axes(first.rank, 1 if first.image_size(0) == 1 else 0)
    if axis not in channels and axis not in rows:
        rest = [place for place in (*rows, *columns) if place != axis]
        rows, columns = [axis], rest
    stored = [operation.arranged(v, rows=rows, columns=columns, channels=channels) for v in values]
    return operation.emit(_concat(stored, axis, "rows" if axis in rows else "channels"))


def _axis_sizes(value: Value, place: str) -> tuple[int, int]:
    """Stride and size of a stored axis."""
    if place == "channels":
        return 1, value.channels
    return value.channels * value.columns, value.rows


def _places(value: Value, axis: int) -> list[str]:
    """Stored axes of which dimension `axis` is the slowest part, or which it can be put in front of."""
    if not value.plain or value.axis_digits() is None:
        return []
    count = value.image_size(axis)
    if count == 1:
        return [place for place in ("rows", "channels") if _axis_sizes(value, place)[1] == 1] or ["channels"]
    found = []
    for place in ("channels", "rows"):
        unit, size = _axis_sizes(value, place)
        if size % count == 0 and is_block(without_batch(value.dims[axis]), count, unit * (size // count)):
            found.append(place)
    return found


def _like(operation: Operation, model: Value, value: Value, axis: int, place: str) -> Value | None:
    """`value` stored as `model` is but for the size of dimension `axis`; None where that cannot be said."""
    cut = model.axis_digits()
    if cut is None:
        return None
    axes: list[list[tuple[int, int, Digit]]] = [[], [], []]
    target = 0 if place == "rows" else 2
    found: list[Digits] = []
    for position, (own, given) in enumerate(zip(cut, value.dims, strict=True)):
        if position == axis:
            digits = without_batch(merged(given))
            axes[target] += [(model.elements + 1, -i, digit) for i, digit in enumerate(digits)]
            found.append(digits)
            continue
        both = common_cut(own, given)
        if both is None:
            return None
        for mine, its in zip(*both, strict=True):
            if mine.batch != its.batch:
                if not (mine.batch and its.stride == 0):
                    return None
            elif not mine.batch:
                axes[model.axis_of(mine)].append((mine.stride, 0, its))
    ordered = [
        tuple(digit for *_, digit in sorted(items, key=lambda item: (-item[0], -item[1]))) for items in axes
    ]
    placed = operation.emitter.placed(value, *ordered)
    before = _axis_sizes(model, place)[1] // model.image_size(axis)
    after = before * value.image_size(axis)
    return replace(placed, dims=_rescaled(model, axis, place, after, value.shape[axis]))


def _rescaled(model: Value, axis: int, place: str, size: int, count: int) -> tuple[Digits, ...]:
    """Dimensions of `model` when its stored axis has `size` positions, `count` of them for dimension `axis`."""
    unit, old = _axis_sizes(model, place)
    dims: list[Digits] = []
    for position, dim in enumerate(model.axis_digits() or ()):
        if position == axis:
            dims.append(merged([Digit(count, unit * (size // count))]))
        elif place == "rows":
            dims.append(merged(dim))
        else:
            dims.append(
                merged(
                    digit
                    if digit.batch or digit.stride < old
                    else Digit(digit.size, digit.stride // old * size)
                    for digit in dim
                )
            )
    return tuple(dims)


def _concat(parts: Sequence[Value], axis: int, place: str) -> Anchored:
    maps: list[RegionMap] = []
    offset = 0
    for value in parts:
        shift = AxisMap(offset=-offset)
        maps.append(
            RegionMap(shift, AxisMap(), AxisMap())
            if place == "rows"
            else RegionMap(AxisMap(), AxisMap(), shift)
        )
        offset += value.rows if place == "rows" else value.channels
    first = parts[0]
    count = sum(value.shape[axis] for value in parts)
    output = replace(
        first,
        source="",
        rows=offset if place == "rows" else first.rows,
        channels=offset if place == "channels" else first.channels,
        dims=_rescaled(first, axis, place, offset, count),
    )
    return Anchored(Concat(place), tuple(parts), tuple(maps), output)
