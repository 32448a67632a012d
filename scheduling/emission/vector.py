"""Fields of VECTOR instructions: by the layer's anchor, then its steps."""

from __future__ import annotations

import struct

from graph.network import Layer
from graph.primitives import (
    ChannelNorm,
    ChannelReduce,
    Concat,
    Contraction,
    MatMul,
    Normalize,
    Rearrange,
    Softmax,
    Step,
    Window,
)
from hwmodel.programs.isa import OperandKind, StepCode, VectorKind
from hwmodel.timing.costs import REDUCTIONS, STEP_CODES, WINDOWS
from scheduling.emission.places import Fields, Places, pad_before
from scheduling.lowering.rows import (
    C_A,
    C_ACC,
    C_B,
    C_K0,
    C_K1,
    C_TENSOR,
    C_WEIGHT,
    VECTOR_COMPUTES,
    VECTOR_RESTORES,
)


def float_bits(value: float) -> int:
    """The bits of a float32, as the fields of instructions hold them."""
    return int(struct.unpack("<i", struct.pack("<f", value))[0])


def vector_fields(places: Places, row: list[int], core: int) -> Fields:
    """The fields of a VECTOR row on a core."""
    if row[C_B] != VECTOR_COMPUTES:
        return _cached(places, row, core)
    number, layer = places.layer(row)
    local = row[C_TENSOR]
    image, images, first, rows = places.tile(row, core)
    column, columns = places.columns(local)
    start, stop = places.share(local, core)
    k0, k1 = start + min(row[C_K0], stop - start), start + min(row[C_K1], stop - start)
    anchor = layer.anchor
    fields: Fields = {"images": images, "rows": rows}
    fields["columns"] = columns
    if isinstance(anchor, Concat) and anchor.axis == "rows":
        below = sum(places.network.tensors[t].rows for t in layer.inputs[: row[C_A]])
        high = places.network.tensors[layer.inputs[row[C_A]]].rows
        last = min(first + rows, below + high)
        first = max(first, below)
        rows = fields["rows"] = max(0, last - first)
        source = places.source(number, row[C_A])
        fields["kind"] = VectorKind.COPY
        from_row = (
            first - below
            if rows
            else int(places.lowered.geometry.start[places.ways(source, core)[1], source])
        )
        fields |= places.view("in", source, core, image, from_row, column, k0)
        if not rows:
            first = int(places.lowered.geometry.start[places.ways(local, core)[1], local])
    elif isinstance(anchor, Concat):
        below = sum(places.network.tensors[t].channels for t in layer.inputs[: row[C_A]])
        wide = places.network.tensors[layer.inputs[row[C_A]]].channels
        k0, k1 = max(k0, below), max(max(k0, below), min(k1, below + wide))
        source = places.source(number, row[C_A])
        fields["kind"] = VectorKind.COPY
        fields |= places.view("in", source, core, image, first, column, k0 - below if k1 > k0 else 0)
    elif isinstance(anchor, Contraction | MatMul):
        fields["kind"] = VectorKind.ACCUMULATOR
        fields["acc_addr"] = row[C_ACC]
    else:
        fields |= _anchor(places, number, layer, core, image, first, rows, k0)
    fields["channels"] = k1 - k0
    fields |= places.view("out", local, core, image, first, column, k0 if k1 > k0 else start)
    fields["step_count"] = len(layer.steps)
    for index, step in enumerate(layer.steps):
        fields |= _step(places, f"s{index}", step, number, row, core, image, first, k0, (start, stop))
    return fields


def _cached(places: Places, row: list[int], core: int) -> Fields:
    """A copy between a tensor's ring and its cache, of a piece, all that the core holds."""
    local, geo = row[C_TENSOR], places.lowered.geometry
    _, images, first, rows = places.tile(row, core)
    restores = row[C_B] == VECTOR_RESTORES
    column = int(geo.held_start[local] if restores else geo.keep_start[local])
    stop = int(geo.new_start[local] if restores else geo.held_stop[local])
    if geo.full[local]:
        channel, until = 0, places.network.tensors[geo.tensor[local]].channels
    else:
        channel, until = places.share(local, core)
    ring, cache = ("out", "in") if restores else ("in", "out")
    return {
        **{"images": images, "rows": rows, "columns": stop - column, "channels": until - channel},
        **{"kind": VectorKind.COPY, "step_count": 0},
        **places.view(ring, local, core, 0, first, column, channel),
        **places.cache_view(cache, local, core, first),
    }


def _anchor(
    places: Places, number: int, layer: Layer, core: int, image: int, first: int, rows: int, channel: int
) -> Fields:
    anchor, source = layer.anchor, places.source(number, 0)
    low, high = places.input_rows(layer, 0, first, rows)
    column, columns = places.columns(places.lowered.geometry.entries + number - places.choice.first)
    left, right = places.input_columns(layer, 0, column, columns)
    tensor = places.network.tensors[layer.inputs[0]]
    if right <= left:  # the windows lie in padding only
        high, left, right = low, 0, tensor.columns
    if isinstance(anchor, Window):
        rows_map, columns_map = layer.maps[0].rows, layer.maps[0].columns
        return {
            "kind": WINDOWS[anchor.mode],
            **places.view("in", source, core, image, low, left, channel),
            **{"in_rows": high - low, "in_columns": right - left},
            **{"kernel_h": anchor.kernel_h, "kernel_w": anchor.kernel_w},
            **{"stride_h": anchor.stride_h, "stride_w": anchor.stride_w},
            "pad_top": pad_before(rows_map, low, first * anchor.stride_h - anchor.pad_top),
            "pad_left": pad_before(columns_map, left, column * anchor.stride_w - anchor.pad_left),
            "count_include_pad": int(anchor.count_include_pad),
        }
    if isinstance(anchor, Rearrange):
        output = places.network.tensors[layer.output]
        # A copy may need few columns of its input although it makes all of its own.
        left, right = layer.maps[0].columns.needed(column, column + columns, tensor.columns)
        fields = {
            "kind": VectorKind.REARRANGE,
            **places.view("in", source, core, image, low, left, 0),
            **{"in_start": low, "in_rows": high - low, "in_columns": right - left},
            **{"in_channels": tensor.channels, "row_start": first, "channel_start": channel},
            **{"out_columns": output.columns, "out_channels": output.channels},
            **{"offset": anchor.offset, "digits": len(anchor.sizes)},
        }
        if right - left < tensor.columns:
            fields |= {"in_map_columns": tensor.columns, "in_column_start": left}
        if columns < output.columns:
            fields["column_start"] = column
        for index, (size, stride) in enumerate(zip(anchor.sizes, anchor.strides, strict=True)):
            fields |= {f"d{index}_size": size, f"d{index}_stride": stride}
        return fields
    if isinstance(anchor, ChannelNorm | Softmax | Normalize | ChannelReduce):
        # Where channels are in groups, a core reads those of its own share.
        begin, stop = 0, tensor.channels
        own = 0
        if not isinstance(anchor, ChannelNorm) and tensor.channels > anchor.group:
            begin, stop = places.share(source, core)
            own = places.share(places.lowered.geometry.entries + number - places.choice.first, core)[0]
        view = places.view("in", source, core, image, low, left, begin)
        fields = {**view, "in_channels": stop - begin, "channel_start": channel - own}
        if isinstance(anchor, Softmax):
            return {"kind": VectorKind.SOFTMAX, **fields, "group": anchor.group, "log": int(anchor.log)}
        if isinstance(anchor, Normalize):
            fields |= {"kind": VectorKind.NORM, "group": anchor.group, "center": int(anchor.center)}
            return {**fields, "epsilon": float_bits(anchor.epsilon)}
        if isinstance(anchor, ChannelReduce):
            return {"kind": REDUCTIONS[anchor.mode], **fields, "group": anchor.group}
        fields |= {
            "kind": VectorKind.CHANNEL_NORM,
            "size": anchor.size,
            "alpha": float_bits(anchor.alpha),
        }
        return fields | {"beta": float_bits(anchor.beta), "bias": float_bits(anchor.bias)}
    return {"kind": VectorKind.COPY, **places.view("in", source, core, image, first, column, channel)}


def _step(
    places: Places,
    prefix: str,
    step: Step,
    number: int,
    row: list[int],
    core: int,
    image: int,
    first: int,
    channel: int,
    share: tuple[int, int],
) -> Fields:
    layer = places.network.layers[number]
    code = STEP_CODES[step.op]
    fields: Fields = {f"{prefix}_op": code, f"{prefix}_kind": OperandKind.NONE}
    if code is StepCode.CLIP:
        bits = {f"{prefix}_low": float_bits(step.low), f"{prefix}_high": float_bits(step.high)}
        return {**fields, f"{prefix}_kind": OperandKind.SCALAR, **bits}
    if step.parameter is not None:
        width = share[1] - share[0]
        elements = step.parameter * width + channel - share[0]
        fields[f"{prefix}_kind"] = OperandKind.PARAMETER
        fields[f"{prefix}_addr"] = row[C_WEIGHT] + elements * places.element_bytes
    elif step.tensor is not None:
        fields |= _operand(places, prefix, layer, step.tensor, number, core, image, first, channel)
    elif step.scalar is not None:
        fields[f"{prefix}_kind"] = OperandKind.SCALAR
        fields[f"{prefix}_low"] = float_bits(step.scalar)
    return fields


def _operand(
    places: Places,
    prefix: str,
    layer: Layer,
    position: int,
    number: int,
    core: int,
    image: int,
    first: int,
    channel: int,
) -> Fields:
    """A tensor operand; where it has one row, column or channel, that one serves all of the output's."""
    output, tensor = places.network.tensors[layer.output], places.network.tensors[layer.inputs[position]]
    source = places.source(number, position)
    one_row = tensor.rows == 1 < output.rows
    one_channel = tensor.channels == 1 < output.channels
    one_column = tensor.columns == 1 < output.columns
    column = places.columns(places.lowered.geometry.entries + number - places.choice.first)[0]
    view = places.view(
        prefix,
        source,
        core,
        image,
        0 if one_row else first,
        0 if one_column else column,
        0 if one_channel else channel,
    )
    if one_row:
        view |= {f"{prefix}_row_stride": 0, f"{prefix}_ring": output.rows, f"{prefix}_row": 0}
    if one_column:
        view[f"{prefix}_col_stride"] = 0
    return {f"{prefix}_kind": OperandKind.CHANNEL if one_channel else OperandKind.TENSOR, **view}
