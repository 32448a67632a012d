"""Resize and Upsample: nearest positions as views, linear and cubic interpolation as constant matrices."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from graph.folded.constants import Array
from graph.layering.operation import Operation
from graph.layering.values import Value
from graph.operators.linear import linear
from graph.operators.pieces import taken

_ROUND: dict[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda x: math.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: math.floor(x + 0.5),
    "floor": math.floor,
    "ceil": math.ceil,
}


def resize(operation: Operation) -> Value:
    """Each dimension of another size by itself."""
    value = operation.value()
    for name in ("antialias", "exclude_outside"):
        operation.require(name, 0)
    scales, sizes = _scales(operation, value)
    mode = operation.word("mode", "nearest")
    for axis, (scale, size) in enumerate(zip(scales, sizes, strict=True)):
        if size == value.shape[axis] and scale == 1:
            continue
        if value.has_batch(axis):
            raise operation.error("resizes the batch; expected each image by itself")
        places = _places(operation, value.shape[axis], size, scale)
        if mode == "nearest":
            rounding = _ROUND.get(_nearest(operation))
            if rounding is None:
                raise operation.error(
                    f"attribute nearest_mode is {_nearest(operation)}; expected a known one"
                )
            last = value.shape[axis] - 1
            value = taken(operation, value, axis, [min(max(rounding(p), 0), last) for p in places])
        elif mode in ("linear", "cubic"):
            operation.refuse_integers("between which others are interpolated")
            matrix = _matrix(operation, places, value.shape[axis], mode == "cubic")
            order = [i for i in range(value.rank) if i != axis] + [axis]
            back = [order.index(i) for i in range(value.rank)]
            value = operation.emit(linear(operation, value.transposed(order), matrix)).transposed(back)
        else:
            raise operation.error(f"attribute mode is {mode}; expected nearest, linear or cubic")
    return value


def _scales(operation: Operation, value: Value) -> tuple[list[float], list[int]]:
    """The factor and new size of every dimension."""
    old = operation.opset < 11
    array = operation.optional_constant(1 if old else 2)
    if "scales" in operation.attributes:
        array = np.array(operation.attributes["scales"])
    axes = [operation.axis(value, axis) for axis in operation.attributes.get("axes", range(value.rank))]
    scales, sizes = [1.0] * value.rank, list(value.shape)
    if array is not None and array.size:
        if array.size != len(axes):
            raise operation.error(f"{array.size} scales; expected {len(axes)}")
        for axis, scale in zip(axes, array.ravel().tolist(), strict=True):
            scales[axis], sizes[axis] = float(scale), math.floor(value.shape[axis] * scale)
        return scales, sizes
    wanted = operation.optional_constant(3)
    if wanted is None or wanted.size != len(axes):
        raise operation.error("scales and sizes are absent; expected one of them as a constant")
    if operation.word("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise operation.error("keep_aspect_ratio_policy is set; expected stretch")
    for axis, size in zip(axes, wanted.ravel().tolist(), strict=True):
        scales[axis], sizes[axis] = size / value.shape[axis], int(size)
    return scales, sizes


def _nearest(operation: Operation) -> str:
    return operation.word("nearest_mode", "floor" if operation.opset < 11 else "round_prefer_floor")


def _places(operation: Operation, before: int, after: int, scale: float) -> list[float]:
    """The input position of every output position."""
    default = "asymmetric" if operation.opset < 11 else "half_pixel"
    mode = operation.word("coordinate_transformation_mode", default)
    found = range(after)
    if mode == "asymmetric":
        return [float(np.float32(x) / np.float32(scale)) for x in found]
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and after > 1):
        return [float((np.float32(x) + np.float32(0.5)) / np.float32(scale) - np.float32(0.5)) for x in found]
    if mode == "pytorch_half_pixel":
        return [0.0]
    if mode == "align_corners":
        return [0.0] if after == 1 else [x * (before - 1) / (after - 1) for x in found]
    raise operation.error(
        f"attribute coordinate_transformation_mode is {mode}; expected half_pixel, pytorch_half_pixel, "
        "asymmetric or align_corners"
    )


def _matrix(operation: Operation, places: list[float], size: int, cubic: bool) -> Array:
    """(output positions, input positions) weights of the interpolation."""
    matrix = np.zeros((len(places), size), np.float32)
    coefficient = operation.number("cubic_coeff_a", -0.75)
    for row, place in enumerate(places):
        if not cubic:
            place = min(max(place, 0.0), size - 1.0)
        base = math.floor(place)
        share = place - base
        weights = _cubic(share, coefficient) if cubic else [1 - share, share]
        for step, weight in enumerate(weights):
            position = base + step - (1 if cubic else 0)
            matrix[row, min(max(position, 0), size - 1)] += weight
    return matrix


def _cubic(share: float, a: float) -> list[float]:
    def near(x: float) -> float:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: float) -> float:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(share + 1), near(share), near(1 - share), far(2 - share)]
