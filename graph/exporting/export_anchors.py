"""Each anchor primitive as standard ONNX nodes on (B, C, H, W) tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from graph.errors import ModelError
from graph.exporting.graph_writer import GraphWriter
from graph.network import Layer, Tensor
from graph.primitives import (
    INDEX_BASE,
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


def write_anchor(
    writer: GraphWriter,
    layer: Layer,
    tensors: Sequence[Tensor],
    output: Tensor,
    inputs: Sequence[str],
    weight: str | None,
) -> str:
    """Nodes for a layer's anchor on `inputs`, whose sizes are `tensors`; returns the name of the result."""
    anchor, first = layer.anchor, inputs[0]
    if isinstance(anchor, Contraction | Embedding) and weight is None:
        raise ModelError(f"layer {layer.name!r}: has no weight; expected a network loaded with weights")
    if isinstance(anchor, Contraction):
        return _contraction(writer, anchor, first, weight or "")
    if isinstance(anchor, MatMul):
        return _matmul(writer, anchor, tensors, inputs)
    if isinstance(anchor, Embedding):
        return _embedding(writer, first, weight or "")
    if isinstance(anchor, Window):
        return _window(writer, anchor, first)
    if isinstance(anchor, ChannelNorm):
        return writer.node(
            "LRN", first, size=anchor.size, alpha=anchor.alpha, beta=anchor.beta, bias=anchor.bias
        )
    if isinstance(anchor, Softmax | Normalize | ChannelReduce):
        return _over_groups(writer, anchor, tensors[0], output, first)
    if isinstance(anchor, Concat):
        return writer.node("Concat", *inputs, axis=1 if anchor.axis == "channels" else 2)
    if isinstance(anchor, Rearrange):
        return _rearrange(writer, anchor, output, first)
    if isinstance(anchor, Move):
        return first
    raise ModelError(f"layer {layer.name!r}: anchor {type(anchor).__name__} cannot be exported")


def _contraction(writer: GraphWriter, anchor: Contraction, first: str, weight: str) -> str:
    return writer.node(
        "Conv",
        first,
        weight,
        group=anchor.groups,
        kernel_shape=[anchor.kernel_h, anchor.kernel_w],
        strides=[anchor.stride_h, anchor.stride_w],
        dilations=[anchor.dilation_h, anchor.dilation_w],
        pads=[anchor.pad_top, anchor.pad_left, anchor.pad_bottom, anchor.pad_right],
    )


def _matmul(writer: GraphWriter, anchor: MatMul, tensors: Sequence[Tensor], inputs: Sequence[str]) -> str:
    batch, groups, depth = writer.batch, anchor.groups, anchor.reduction
    width = anchor.out_channels // groups
    rows, columns = tensors[0].rows, tensors[0].columns
    left = writer.reshape(inputs[0], batch, groups, depth, rows * columns)
    if anchor.transposed:
        right = writer.reshape(inputs[1], batch, groups, depth, width)
    else:
        right = writer.reshape(inputs[1], batch, groups, width, depth)
        right = writer.transpose(right, 0, 1, 3, 2)
    product = writer.node("MatMul", writer.transpose(left, 0, 1, 3, 2), right)
    return writer.reshape(writer.transpose(product, 0, 1, 3, 2), batch, -1, rows, columns)


def _embedding(writer: GraphWriter, first: str, table: str) -> str:
    high, low = writer.slice(first, 0, 1, 1), writer.slice(first, 1, 2, 1)
    index = writer.node("Add", writer.node("Mul", high, writer.number(INDEX_BASE)), low)
    index = writer.node("Cast", index, to=onnx.TensorProto.INT64)
    found = writer.node("Gather", table, index, axis=0)
    squeezed = writer.node("Squeeze", found, writer.constant(np.array([1], np.int64)))
    return writer.transpose(squeezed, 0, 3, 1, 2)


def _window(writer: GraphWriter, anchor: Window, first: str) -> str:
    pads = [anchor.pad_top, anchor.pad_left, anchor.pad_bottom, anchor.pad_right]
    place: dict[str, Any] = {
        "kernel_shape": [anchor.kernel_h, anchor.kernel_w],
        "strides": [anchor.stride_h, anchor.stride_w],
    }
    if anchor.mode == "average":
        if anchor.count_include_pad and any(pads):
            # As its own node, because onnxruntime pads no further than a kernel reaches.
            around = writer.constant(np.array([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64))
            return writer.node("AveragePool", writer.node("Pad", first, around), **place)
        return writer.node("AveragePool", first, pads=pads, **place)
    if anchor.mode == "min":
        return writer.node("Neg", writer.node("MaxPool", writer.node("Neg", first), pads=pads, **place))
    return writer.node("MaxPool", first, pads=pads, **place)


def _over_groups(
    writer: GraphWriter,
    anchor: Softmax | Normalize | ChannelReduce,
    tensor: Tensor,
    output: Tensor,
    first: str,
) -> str:
    sizes = (writer.batch, tensor.channels // anchor.group, anchor.group, tensor.rows * tensor.columns)
    parts = writer.reshape(first, *sizes)
    if isinstance(anchor, Softmax):
        result = writer.node("LogSoftmax" if anchor.log else "Softmax", parts, axis=2)
    elif isinstance(anchor, Normalize):
        if anchor.center:
            parts = writer.node("Sub", parts, writer.node("ReduceMean", parts, axes=[2]))
        square = writer.node("ReduceMean", writer.node("Mul", parts, parts), axes=[2])
        root = writer.node("Sqrt", writer.node("Add", square, writer.number(anchor.epsilon)))
        result = writer.node("Div", parts, root)
    elif anchor.mode == "sum":
        result = writer.node("ReduceSum", parts, writer.constant(np.array([2], np.int64)))
    else:
        op_type = {"average": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin"}[anchor.mode]
        result = writer.node(op_type, parts, axes=[2])
    return writer.reshape(result, writer.batch, output.channels, output.rows, output.columns)


def _rearrange(writer: GraphWriter, anchor: Rearrange, output: Tensor, first: str) -> str:
    places = np.full(1, anchor.offset, np.int64)
    for size, stride in zip(anchor.sizes, anchor.strides, strict=True):
        places = (places[:, None] + np.arange(size) * stride).ravel()
    flat = writer.reshape(writer.transpose(first, 0, 2, 3, 1), writer.batch, -1)
    taken = writer.node("Gather", flat, writer.constant(places), axis=1)
    maps = writer.reshape(taken, writer.batch, output.rows, output.columns, output.channels)
    return writer.transpose(maps, 0, 3, 1, 2)
