"""A plain numpy evaluator of one layer on one region, from the input regions that its maps name and nothing
else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from graph.network import Layer, Network, Tensor
from graph.primitives import (
    ChannelNorm,
    ChannelReduce,
    Concat,
    Contraction,
    Embedding,
    MatMul,
    Move,
    Normalize,
    Rearrange,
    Softmax,
    Window,
)
from tests.graph.steps import apply_step

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Region:
    """Half-open intervals of batch, channels, rows and columns."""

    batch: tuple[int, int]
    channels: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def index(self) -> tuple[slice, slice, slice, slice]:
        return (
            slice(*self.batch),
            slice(*self.channels),
            slice(*self.rows),
            slice(*self.columns),
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        sizes = [part.stop - part.start for part in self.index]
        return (sizes[0], sizes[1], sizes[2], sizes[3])


def needed_region(network: Network, layer: Layer, position: int, region: Region) -> Region:
    """Region of input `position` that `region` of the layer's output needs."""
    tensor, maps = network.tensors[layer.inputs[position]], layer.maps[position]
    return Region(
        region.batch,
        maps.channels.needed(*region.channels, tensor.channels),
        maps.rows.needed(*region.rows, tensor.rows),
        maps.columns.needed(*region.columns, tensor.columns),
    )


def first_row_elements(network: Network, layer: Layer) -> int:
    """Elements of all inputs that the first row of a layer's output needs."""
    out = network.tensors[layer.output]
    row = Region((0, 1), (0, out.channels), (0, 1), (0, out.columns))
    needs = (needed_region(network, layer, position, row) for position in range(len(layer.inputs)))
    return sum(math.prod(need.shape) for need in needs)


def evaluate_slice(network: Network, layer: Layer, inputs: Sequence[Floats], region: Region) -> Floats:
    """`region` of the layer's output; `inputs` are whole (B, C, H, W) arrays, cropped here before use."""
    needs = [needed_region(network, layer, i, region) for i in range(len(layer.inputs))]
    crops = [array[need.index] for array, need in zip(inputs, needs, strict=True)]
    tensors = (network.tensors[layer.inputs[0]], network.tensors[layer.output])
    result = _anchor(layer, tensors, crops, needs, region)
    assert result.shape == region.shape
    first, last = region.channels
    for step in layer.steps:
        operand: Floats | None = None
        if step.tensor is not None:
            operand = crops[step.tensor]
            assert np.broadcast_shapes(operand.shape, region.shape) == region.shape
        elif step.parameter is not None:
            operand = layer.parameters[step.parameter][first:last, None, None]
        elif step.scalar is not None:
            operand = np.full((1, 1, 1, 1), step.scalar, dtype=np.float32)
        result = apply_step(step, result, operand)
    return result.astype(np.float32)


def _anchor(
    layer: Layer,
    tensors: tuple[Tensor, Tensor],
    crops: Sequence[Floats],
    needs: Sequence[Region],
    region: Region,
) -> Floats:
    anchor, crop, need = layer.anchor, crops[0], needs[0]
    first, last = region.channels
    if isinstance(anchor, Contraction):
        return _contraction(layer, anchor, crop, need, region)
    if isinstance(anchor, Window):
        return _window(anchor, crop, need, region)
    if isinstance(anchor, ChannelNorm):
        reach = anchor.size // 2
        squares = np.pad(crop**2, ((0, 0), (reach, reach), (0, 0), (0, 0)))
        total = sum(squares[:, i : i + crop.shape[1]] for i in range(anchor.size))
        normed: Floats = crop / (anchor.bias + anchor.alpha / anchor.size * total) ** anchor.beta
        return normed[:, first:last].astype(np.float32)
    if isinstance(anchor, Softmax | Normalize | ChannelReduce):
        return _over_groups(anchor, crop, need, region)
    if isinstance(anchor, Concat):
        return np.concatenate(list(crops), axis=1 if anchor.axis == "channels" else 2)
    if isinstance(anchor, MatMul):
        return _matmul(anchor, crops, needs, region)
    if isinstance(anchor, Embedding):
        assert layer.weight is not None
        index = (crop[:, 0] * 2048 + crop[:, 1]).astype(np.int64)
        return layer.weight[index][..., first:last].transpose(0, 3, 1, 2)
    if isinstance(anchor, Rearrange):
        return _rearrange(anchor, tensors, crop, need, region)
    assert isinstance(anchor, Move)
    return crop


def _over_groups(
    anchor: Softmax | Normalize | ChannelReduce, crop: Floats, need: Region, region: Region
) -> Floats:
    """Every output channel from its own group, which must lie in the crop whole."""
    found = []
    for channel in range(*region.channels):
        group = channel if isinstance(anchor, ChannelReduce) else channel // anchor.group
        start = group * anchor.group - need.channels[0]
        assert start >= 0 and start + anchor.group <= crop.shape[1]
        part = crop[:, start : start + anchor.group].astype(np.float64)
        if isinstance(anchor, ChannelReduce):
            modes = {"sum": np.sum, "average": np.mean, "max": np.max, "min": np.min}
            found.append(modes[anchor.mode](part, axis=1))
            continue
        if isinstance(anchor, Softmax):
            powers = np.exp(part - part.max(axis=1, keepdims=True))
            whole = powers / powers.sum(axis=1, keepdims=True)
            whole = np.log(whole) if anchor.log else whole
        else:
            centred = part - part.mean(axis=1, keepdims=True) if anchor.center else part
            whole = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + anchor.epsilon)
        found.append(whole[:, channel % anchor.group])
    return np.stack(found, axis=1).astype(np.float32)


def _matmul(anchor: MatMul, crops: Sequence[Floats], needs: Sequence[Region], region: Region) -> Floats:
    width = anchor.out_channels // anchor.groups
    found = []
    for channel in range(*region.channels):
        group, place = divmod(channel, width)
        start = group * anchor.reduction - needs[0].channels[0]
        assert start >= 0 and start + anchor.reduction <= crops[0].shape[1]
        left = crops[0][:, start : start + anchor.reduction]
        if anchor.transposed:
            start = group * anchor.reduction - needs[1].channels[0]
            right = crops[1][:, start : start + anchor.reduction, place - needs[1].rows[0], 0]
        else:
            right = crops[1][:, channel - needs[1].channels[0], :, 0]
        found.append(np.einsum("bkhw,bk->bhw", left, right))
    return np.stack(found, axis=1)


def _rearrange(
    anchor: Rearrange, tensors: tuple[Tensor, Tensor], crop: Floats, need: Region, region: Region
) -> Floats:
    source, output = tensors
    result = np.empty(region.shape, dtype=np.float32)
    for row, column, channel in product(
        *(range(*axis) for axis in (region.rows, region.columns, region.channels))
    ):
        rest = (row * output.columns + column) * output.channels + channel
        place = anchor.offset
        for size, stride in zip(reversed(anchor.sizes), reversed(anchor.strides), strict=True):
            rest, digit = divmod(rest, size)
            place += digit * stride
        pixel, c = divmod(place, source.channels)
        h, w = divmod(pixel, source.columns)
        at = (c - need.channels[0], h - need.rows[0], w - need.columns[0])
        assert min(at) >= 0, "reads what its maps do not name"
        result[:, channel - region.channels[0], row - region.rows[0], column - region.columns[0]] = crop[
            :, at[0], at[1], at[2]
        ]
    return result


def _patch(
    anchor: Contraction | Window, crop: Floats, need: Region, region: Region, fill: float
) -> tuple[Floats, tuple[int, int]]:
    """The crop in a frame that holds every window of the region whole, and the windows' reach."""
    dilations = (anchor.dilation_h, anchor.dilation_w) if isinstance(anchor, Contraction) else (1, 1)
    reach = (
        (anchor.kernel_h - 1) * dilations[0] + 1,
        (anchor.kernel_w - 1) * dilations[1] + 1,
    )
    top = region.rows[0] * anchor.stride_h - anchor.pad_top
    left = region.columns[0] * anchor.stride_w - anchor.pad_left
    rows = (region.shape[2] - 1) * anchor.stride_h + reach[0]
    columns = (region.shape[3] - 1) * anchor.stride_w + reach[1]
    patch = np.full((*crop.shape[:2], rows, columns), fill, dtype=np.float32)
    row, column = need.rows[0] - top, need.columns[0] - left
    patch[:, :, row : row + crop.shape[2], column : column + crop.shape[3]] = crop
    return patch, dilations


def _taps(anchor: Contraction | Window, patch: Floats, dilations: tuple[int, int], region: Region) -> Floats:
    """(kernel_h, kernel_w, B, C, rows, columns) of the elements that each window reads."""
    rows, columns = region.shape[2:]
    return np.stack(
        [
            np.stack(
                [
                    patch[
                        :,
                        :,
                        i * dilations[0] : i * dilations[0]
                        + (rows - 1) * anchor.stride_h
                        + 1 : anchor.stride_h,
                        j * dilations[1] : j * dilations[1]
                        + (columns - 1) * anchor.stride_w
                        + 1 : anchor.stride_w,
                    ]
                    for j in range(anchor.kernel_w)
                ]
            )
            for i in range(anchor.kernel_h)
        ]
    )


def _contraction(layer: Layer, anchor: Contraction, crop: Floats, need: Region, region: Region) -> Floats:
    patch, dilations = _patch(anchor, crop, need, region, 0.0)
    assert layer.weight is not None
    taps = _taps(anchor, patch, dilations, region)
    result = np.empty(region.shape, dtype=np.float32)
    per_group_out = anchor.out_channels // anchor.groups
    per_group_in = anchor.in_channels // anchor.groups
    first, last = region.channels
    for group in range(anchor.groups):
        low, high = max(first, group * per_group_out), min(last, (group + 1) * per_group_out)
        if low < high:
            start = group * per_group_in - need.channels[0]
            assert start >= 0 and start + per_group_in <= crop.shape[1]
            inputs = taps[:, :, :, start : start + per_group_in]
            result[:, low - first : high - first] = np.einsum(
                "ijbcrq,kcij->bkrq", inputs, layer.weight[low:high], optimize=True
            )
    return result


def _window(anchor: Window, crop: Floats, need: Region, region: Region) -> Floats:
    patch, dilations = _patch(anchor, crop, need, region, np.nan)
    taps = _taps(anchor, patch, dilations, region)
    result: Floats
    if anchor.mode == "max":
        result = np.nanmax(taps, axis=(0, 1))
    elif anchor.mode == "min":
        result = np.nanmin(taps, axis=(0, 1))
    elif anchor.count_include_pad:
        result = np.nansum(taps, axis=(0, 1)) / np.float32(anchor.kernel_h * anchor.kernel_w)
    else:
        result = np.nanmean(taps, axis=(0, 1))
    return result
