"""How a piece of a contraction is cut to the accumulator and to the weight buffer."""

from __future__ import annotations

from typing import NamedTuple

from hwmodel.compiled import compiled_leaf
from hwmodel.machines.machine_table import MachineTable

ACCUMULATOR_BYTES = 4
"""Partial sums are float32."""

LEGAL = 0
SHORT_L1 = 1
SHORT_WEIGHTS = 2
SHORT_ACCUMULATOR = 3


class Tiling(NamedTuple):
    """Chunks of one layer on one core. Where `status` is not LEGAL, `short_bytes` are missing.

    Output channels are computed `channels` at a time, input channels (of a group) added `reduction` at a time, in
    tiles of `images` x `rows` whose sums fit half of the accumulator, so that the other half can drain.
    """

    status: int
    short_bytes: int
    channels: int
    reduction: int
    images: int
    rows: int


@compiled_leaf
def tile_contraction(
    m: MachineTable,
    from_l1: bool,
    images: int,
    rows: int,
    columns: int,
    channels: int,
    reduction: int,
    taps: int,
    parameter_bytes: int,
    most_channels: int,
    kept: bool,
) -> Tiling:
    """Tiling of `images` x `rows` x `columns` outputs of `channels` (of one group) from `reduction` inputs.

    A chunk is of `most_channels` of them at most. The engine's native number of output channels is kept where possible;
    then input channels are added in parts.
    Half of the weight buffer, less the layer's parameters, bounds a chunk, so that the next one can be loaded.
    `from_l1`: the second operand is an activation of each image; then a tile is of one image, and the weight buffer
    does not bound it. `kept`: all weights stay in the buffer, so chunks must not depend on the size of the instance:
    they are of the engine's native number of output channels and of all input channels.
    """
    half = m.accumulator_bytes // 2 // ACCUMULATOR_BYTES
    buffer = (m.weights_bytes - parameter_bytes) // 2 // m.element_bytes
    if from_l1:
        buffer = 1 << 40
        images = 1
    native = m.f_out_channels
    most = most_channels
    if kept:
        buffer = 1 << 40
        most = min(most, native)
    least = min(native, most)
    if columns * least > half:
        if kept:
            return Tiling(SHORT_ACCUMULATOR, 2 * (columns * least - half) * ACCUMULATOR_BYTES, 0, 0, 0, 0)
        least = half // columns
        if least == 0:
            return Tiling(SHORT_ACCUMULATOR, 2 * (columns - half) * ACCUMULATOR_BYTES, 0, 0, 0, 0)
    pixels = half // least
    if images * rows * columns <= pixels:
        tile_images, tile_rows = images, rows
    elif rows * columns <= pixels:
        tile_images, tile_rows = pixels // (rows * columns), rows
    else:
        tile_images, tile_rows = 1, pixels // columns
        tile_rows = -(-rows // -(-rows // tile_rows))
    if reduction * taps * least <= buffer:
        many = min(most, half // (tile_images * tile_rows * columns), buffer // (reduction * taps))
        if many > native:
            many = many // native * native
        parts = -(-channels // many)
        if many > native:
            even = -(-channels // parts)
            many = min(many, -(-even // native) * native)
        return Tiling(LEGAL, 0, many, reduction, tile_images, tile_rows)
    chunk = buffer // (taps * least) if buffer > 0 else 0
    if chunk == 0:
        least = buffer // taps if buffer > 0 else 0
        if least == 0:
            return Tiling(SHORT_WEIGHTS, 2 * (taps - buffer) * m.element_bytes, 0, 0, 0, 0)
        chunk = 1
    chunk = -(-reduction // -(-reduction // chunk))
    return Tiling(LEGAL, 0, least, chunk, tile_images, tile_rows)
