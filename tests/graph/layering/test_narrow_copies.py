"""Copies of a part of the channels, against the numbers of all elements that a copy reads."""

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from graph.layering.layout import Digit, extent, merged
from graph.layering.narrow_copies import equal_parts, narrow_copy, narrow_input, same_channels
from graph.layering.rearranging import rearrange_map
from graph.network import Tensor
from graph.primitives import Rearrange
from tests.graph.test_views import SETTINGS, rearranges

Case = tuple[tuple[tuple[Digit, ...], ...], int, tuple[int, int, int]]


def elements(copy: Rearrange, shape: tuple[int, int, int]) -> NDArray[np.int64]:
    """(rows, columns, channels) numbers of the input's elements that a copy reads, in storage order."""
    found = np.full(1, copy.offset)
    for size, stride in zip(copy.sizes, copy.strides, strict=True):
        found = (found[:, None] + np.arange(size) * stride).ravel()
    return found.reshape(shape)


def copy_of(case: Case) -> tuple[Rearrange, Tensor, Tensor]:
    """A copy, its output and its input."""
    axes, offset, (rows, columns, channels) = case
    digits = merged([*axes[0], *axes[1], *axes[2]]) or (Digit(1, 1),)
    anchor = Rearrange(tuple(digit.size for digit in digits), tuple(digit.stride for digit in digits), offset)
    output = Tensor("output", extent(axes[2]), extent(axes[0]), extent(axes[1]))
    return anchor, output, Tensor("input", channels, rows, columns)


@given(case=rearranges())
@settings(SETTINGS, max_examples=300)
def test_parts_of_a_copy_read_what_the_copy_reads_for_them(case: Case) -> None:
    anchor, output, source = copy_of(case)
    shape = (output.rows, output.columns, output.channels)
    numbers = elements(anchor, shape)
    parts = equal_parts(anchor, output)
    width = output.channels // parts
    assert width * parts == output.channels
    for low in range(parts):
        for high in range(low + 1, parts + 1):
            narrow, region = narrow_copy(anchor, output, source, low * width, (high - low) * width)
            wanted = numbers[:, :, low * width : high * width]
            assert np.array_equal(elements(narrow, wanted.shape), wanted)
            rows, columns, _ = np.unravel_index(wanted, (source.rows, source.columns, source.channels))
            for axis, axis_map, places, size in (
                (0, region.rows, rows, source.rows),
                (1, region.columns, columns, source.columns),
            ):
                for start in range(shape[axis]):
                    first, stop = axis_map.needed(start, start + 1, size)
                    read = places.take(start, axis)
                    assert first <= read.min() and read.max() < stop


@given(case=rearranges())
@settings(SETTINGS, max_examples=300)
def test_a_copy_of_channels_in_order_reads_these_alone(case: Case) -> None:
    """Given a part of the channels of its input, it reads the same elements, numbered among those."""
    anchor, output, source = copy_of(case)
    sizes = (source.rows, source.columns, source.channels)
    region = rearrange_map((case[0][0], case[0][1], case[0][2]), case[1], sizes)
    if not same_channels(region):
        return
    numbers = elements(anchor, (output.rows, output.columns, output.channels))
    for first in range(output.channels):
        for channels in range(1, output.channels - first + 1):
            narrow, narrow_region = narrow_input(anchor, region, output, source, channels)
            wanted = numbers[:, :, first : first + channels]
            row, column, channel = np.unravel_index(wanted, sizes)
            begin = region.channels.offset + first
            among = (row * source.columns + column) * channels + channel - begin
            assert np.array_equal(elements(narrow, wanted.shape), among)
            assert (narrow_region.rows, narrow_region.columns) == (region.rows, region.columns)


def test_a_sequence_that_is_turned_round_is_cut_by_tokens() -> None:
    """The second half of 8 features of 6 tokens as rows: a third of the tokens needs two rows of the input."""
    turned, output, source = Rearrange((4, 6), (1, 8), 4), Tensor("output", 6, 4, 1), Tensor("input", 8, 6, 1)
    assert equal_parts(turned, output) == 6
    narrow, region = narrow_copy(turned, output, source, 2, 2)
    assert narrow == Rearrange((4, 2), (1, 8), 20)
    assert region.rows.needed(0, 4, 6) == region.rows.needed(3, 4, 6) == (2, 4)


def test_what_is_no_copy_of_digits_is_refused() -> None:
    """Channels 0 0 1 1 2 2 are cut between pairs only; and rows that a digit shares with channels cannot be cut."""
    pairs, output, source = Rearrange((3, 2), (1, 0), 0), Tensor("output", 6, 1, 1), Tensor("input", 3, 1, 1)
    assert equal_parts(pairs, output) == 3
    with pytest.raises(ValueError, match="channels 1 to 3 of output are no copy of digits"):
        narrow_copy(pairs, output, source, 1, 3)
    assert equal_parts(Rearrange((4, 3), (1, 5), 0), Tensor("output", 2, 6, 1)) == 1
