"""A Network as an ONNX model: the exact arithmetic that a machine is asked for, to be run by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from graph.errors import ModelError
from graph.network import Layer, Network
from graph.primitives import ChannelNorm, Concat, Contraction, Move, Softmax, Step, StepOp, Window

_OPSET = 13


def network_to_onnx(
    network: Network, input_shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype[np.floating]
) -> onnx.ModelProto:
    """One node for each anchor and step; layer outputs have the names of the network's tensors, all (B, C, H,
    W).

    Weights and parameters are rounded to `dtype` and stored as float32; numbers inside steps are not rounded.
    `input_shapes` are the shapes that inputs are fed in, the batch first. Raises ModelError for a value that
    `dtype` cannot hold.
    """
    writer = _Writer(network, dtype)
    for index in network.inputs:
        writer.add_input(index, input_shapes[network.tensors[index].name])
    for layer in network.layers:
        writer.add_layer(layer)
    outputs = dict.fromkeys(network.tensors[index].name for index in network.outputs)
    graph = helper.make_graph(
        writer.nodes,
        network.name,
        writer.inputs,
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        writer.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = 8
    return model


class _Writer:
    def __init__(self, network: Network, dtype: np.dtype[np.floating]) -> None:
        self._network = network
        self._dtype = dtype
        self._names = [tensor.name for tensor in network.tensors]
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add_input(self, index: int, shape: tuple[int, ...]) -> None:
        tensor = self._network.tensors[index]
        self.inputs.append(helper.make_tensor_value_info(tensor.name, onnx.TensorProto.FLOAT, list(shape)))
        wanted = (shape[0], tensor.channels, tensor.rows, tensor.columns)
        if shape != wanted:
            target = f"{tensor.name}//shape"
            self.initializers.append(numpy_helper.from_array(np.array(wanted, dtype=np.int64), target))
            self._names[index] = f"{tensor.name}//map"
            self.nodes.append(helper.make_node("Reshape", [tensor.name, target], [self._names[index]]))

    def add_layer(self, layer: Layer) -> None:
        final = self._names[layer.output]
        inner = [f"{final}//{i}" for i in range(len(layer.steps))]
        written = [*inner, final]
        self._add_anchor(layer, written[0])
        for step, source, target in zip(layer.steps, written, written[1:], strict=False):
            self._add_step(layer, step, source, target)

    def _add_anchor(self, layer: Layer, output: str) -> None:
        anchor = layer.anchor
        first = self._names[layer.inputs[0]]
        if isinstance(anchor, Contraction):
            if layer.weight is None:
                raise ModelError(
                    f"layer {layer.name!r}: has no weight; expected a network loaded with weights"
                )
            weight = self._add_constant(layer, f"{self._names[layer.output]}//weight", layer.weight)
            node = helper.make_node(
                "Conv",
                [first, weight],
                [output],
                group=anchor.groups,
                kernel_shape=[anchor.kernel_h, anchor.kernel_w],
                strides=[anchor.stride_h, anchor.stride_w],
                dilations=[anchor.dilation_h, anchor.dilation_w],
                pads=[anchor.pad_top, anchor.pad_left, anchor.pad_bottom, anchor.pad_right],
            )
        elif isinstance(anchor, Window):
            node = helper.make_node(
                "MaxPool" if anchor.mode == "max" else "AveragePool",
                [first],
                [output],
                kernel_shape=[anchor.kernel_h, anchor.kernel_w],
                strides=[anchor.stride_h, anchor.stride_w],
                pads=[anchor.pad_top, anchor.pad_left, anchor.pad_bottom, anchor.pad_right],
            )
            if anchor.mode != "max":
                node.attribute.append(
                    helper.make_attribute("count_include_pad", int(anchor.count_include_pad))
                )
        elif isinstance(anchor, ChannelNorm):
            node = helper.make_node(
                "LRN",
                [first],
                [output],
                size=anchor.size,
                alpha=anchor.alpha,
                beta=anchor.beta,
                bias=anchor.bias,
            )
        elif isinstance(anchor, Softmax):
            node = helper.make_node("Softmax", [first], [output], axis=1)
        elif isinstance(anchor, Concat):
            node = helper.make_node("Concat", [self._names[i] for i in layer.inputs], [output], axis=1)
        elif isinstance(anchor, Move):
            node = helper.make_node("Identity", [first], [output])
        self.nodes.append(node)

    def _add_step(self, layer: Layer, step: Step, source: str, target: str) -> None:
        if step.op is StepOp.RELU:
            self.nodes.append(helper.make_node("Relu", [source], [target]))
            return
        if step.op is StepOp.CLIP:
            limits = [self._number(f"{target}//low", step.low), self._number(f"{target}//high", step.high)]
            self.nodes.append(helper.make_node("Clip", [source, *limits], [target]))
            return
        if step.tensor is not None:
            operand = self._names[layer.inputs[step.tensor]]
        elif step.parameter is not None:
            vector = layer.parameters[step.parameter]
            operand = self._add_constant(layer, f"{target}//operand", vector.reshape(1, -1, 1, 1))
        else:
            operand = self._number(f"{target}//operand", step.scalar or 0.0)
        op_type = "Add" if step.op is StepOp.ADD else "Mul"
        self.nodes.append(helper.make_node(op_type, [source, operand], [target]))

    def _add_constant(self, layer: Layer, name: str, values: NDArray[np.float32]) -> str:
        with np.errstate(over="ignore"):
            rounded = values.astype(self._dtype).astype(np.float32)
        if not np.isfinite(rounded).all():
            largest = float(np.abs(values).max())
            raise ModelError(
                f"layer {layer.name!r}: a weight of magnitude {largest:g} does not fit {self._dtype.name}; "
                f"expected at most {float(np.finfo(self._dtype).max):g}"
            )
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(rounded), name))
        return name

    def _number(self, name: str, value: float) -> str:
        self.initializers.append(numpy_helper.from_array(np.array(value, dtype=np.float32), name))
        return name
