"""Copies of a part of the output's channels: what a Rearrange becomes that makes no more than these.

A part reads less of the input where channels come out of rows or columns (a sequence that is turned round), and where
they are channels of the input in the same order (a step or a half of a sequence).
"""

from __future__ import annotations

from graph.layering.layout import Digit, merged, regrouped, sliced
from graph.layering.rearranging import Axes, rearrange_map
from graph.network import AxisMap, RegionMap, Tensor
from graph.primitives import Rearrange


def equal_parts(anchor: Rearrange, output: Tensor) -> int:
    """Into how many parts of one width the channels of a copy can be cut, so that any run of such parts is a copy
    again; 1 where that cannot be said."""
    axes = _axes(anchor, output)
    if axes is None:
        return 1
    channels = merged(axes[2])
    return channels[0].size if channels else 1


def same_channels(region: RegionMap) -> bool:
    """Whether a copy makes each channel of one of the input's, as the others a fixed number of channels behind it."""
    channels = region.channels
    return not channels.whole and (channels.stride, channels.extent, channels.divisor) == (1, 1, 1)


def narrow_copy(
    anchor: Rearrange, output: Tensor, given: Tensor, first: int, channels: int
) -> tuple[Rearrange, RegionMap]:
    """The copy that makes `channels` channels from `first` on, of a run of `equal_parts`, and what it needs of its
    input, of which it is given all channels. Raises ValueError where the channels are no such run."""
    axes = _axes(anchor, output)
    part = None if axes is None else sliced(axes[2], first, 1, channels)
    if axes is None or part is None:
        raise ValueError(f"channels {first} to {first + channels - 1} of {output.name} are no copy of digits")
    narrow, offset = (axes[0], axes[1], part[0]), anchor.offset + part[1]
    sizes = (given.rows, given.columns, given.channels)
    return _rearrange(narrow, offset), rearrange_map(narrow, offset, sizes)


def narrow_input(
    anchor: Rearrange, region: RegionMap, output: Tensor, given: Tensor, channels: int
) -> tuple[Rearrange, RegionMap]:
    """The copy that makes `channels` channels, given no other channels of its input than those it makes them of; for
    maps with `same_channels`. Raises ValueError where the digits are not those of the maps."""
    axes = _axes(anchor, output)
    if axes is None or any(digit.stride % given.channels for digit in (*axes[0], *axes[1])):
        raise ValueError(f"the channels of {output.name} are not those of {given.name}")
    rows, columns = (
        tuple(digit._replace(stride=digit.stride // given.channels * channels) for digit in digits)
        for digits in axes[:2]
    )
    pixel = anchor.offset // given.channels
    narrow = (rows, columns, (Digit(channels, 1),))
    return _rearrange(narrow, pixel * channels), RegionMap(region.rows, region.columns, AxisMap())


def _axes(anchor: Rearrange, output: Tensor) -> Axes | None:
    """The digits of the rows, columns and channels; None where one counts parts of two of them."""
    digits = [Digit(size, stride) for size, stride in zip(anchor.sizes, anchor.strides, strict=True)]
    axes = regrouped(digits, (output.rows, output.columns, output.channels))
    return None if axes is None else (axes[0], axes[1], axes[2])


def _rearrange(axes: Axes, offset: int) -> Rearrange:
    digits = merged([*axes[0], *axes[1], *axes[2]]) or (Digit(1, 1),)
    return Rearrange(tuple(digit.size for digit in digits), tuple(digit.stride for digit in digits), offset)
