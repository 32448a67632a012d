"""A Network as an ONNX model: the exact arithmetic that a machine is asked for, to be run by onnxruntime."""

from __future__ import annotations

from collections.abc import MutableMapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from graph.errors import ModelError
from graph.exporting.export_anchors import write_anchor
from graph.exporting.export_steps import write_step
from graph.exporting.graph_writer import GraphWriter
from graph.network import Layer, Network
from graph.primitives import StepOp

_OPSET = 17


def network_to_onnx(
    network: Network,
    dtype: np.dtype[np.floating],
    external: MutableMapping[str, NDArray[np.generic]] | None = None,
    half_storage: bool = False,
) -> onnx.ModelProto:
    """Standard ONNX nodes for each anchor and step; graph inputs and layer outputs have the names of the
    network's tensors, all (B, C, H, W).

    Weights, tables, parameters and constants are rounded to `dtype` and stored as float32; numbers inside
    steps are not rounded. With `external`, large initializers are put there by name and are only declared in
    the model, as external data. With `half_storage`, what a layer gives is rounded to fp16 before others read it, while
    everything inside a layer is computed in float32. Raises ModelError for a value that `dtype` cannot hold.
    """
    writer = GraphWriter(network.batch, external)
    stored: dict[int, str] = {}
    names = [tensor.name for tensor in network.tensors]
    inputs = []
    for index in network.inputs:
        tensor = network.tensors[index]
        shape = [network.batch, tensor.channels, tensor.rows, tensor.columns]
        inputs.append(helper.make_tensor_value_info(tensor.name, onnx.TensorProto.FLOAT, shape))
    for index, array in network.constants.items():
        constant = _rounded(f"constant {names[index]!r}: a value", array, dtype)
        held = writer.constant(constant[None], f"{names[index]}//one")
        batch = writer.constant(np.array([network.batch, 1, 1, 1], np.int64), f"{names[index]}//batch")
        writer.node("Expand", held, batch, output=names[index])
    for number, layer in enumerate(network.layers):
        holder = number if layer.shares is None else layer.shares
        if layer.weight is not None and holder not in stored:
            weight = _rounded(f"layer {layer.name!r}: a weight", layer.weight, dtype)
            stored[holder] = writer.constant(weight, f"{names[layer.output]}//weight")
        value = _write_layer(writer, network, layer, names, stored.get(holder), dtype)
        if half_storage:
            value = writer.node("Cast", value, to=onnx.TensorProto.FLOAT16)
            value = writer.node("Cast", value, to=onnx.TensorProto.FLOAT)
        writer.node("Identity", value, output=names[layer.output])
    outputs = dict.fromkeys(names[index] for index in network.outputs)
    graph = helper.make_graph(
        writer.nodes,
        network.name,
        inputs,
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        writer.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = 8
    return model


def _write_layer(
    writer: GraphWriter,
    network: Network,
    layer: Layer,
    names: list[str],
    weight: str | None,
    dtype: np.dtype[np.floating],
) -> str:
    final = names[layer.output]
    writer.prefix = final
    inputs = [names[index] for index in layer.inputs]
    tensors = [network.tensors[index] for index in layer.inputs]
    value = write_anchor(writer, layer, tensors, network.tensors[layer.output], inputs, weight)
    for place, step in enumerate(layer.steps):
        operand = ""
        if step.tensor is not None:
            operand = inputs[step.tensor]
        elif step.parameter is not None:
            vector = _rounded(f"layer {layer.name!r}: a parameter", layer.parameters[step.parameter], dtype)
            operand = writer.constant(vector.reshape(1, -1, 1, 1), f"{final}//{place}//operand")
        elif step.scalar is not None:
            operand = writer.number(step.scalar)
        elif step.op is StepOp.CLIP:
            low, high = writer.number(step.low), writer.number(step.high)
            value = writer.node("Clip", value, low, high)
            continue
        value = write_step(writer, step.op, value, operand)
    return value


def _rounded(what: str, values: NDArray[np.float32], dtype: np.dtype[np.floating]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype).astype(np.float32)
    if not np.isfinite(rounded).all() and np.isfinite(values).all():
        largest = float(np.abs(values).max())
        raise ModelError(
            f"{what} of magnitude {largest:g} does not fit {dtype.name}; "
            f"expected at most {float(np.finfo(dtype).max):g}"
        )
    return rounded
