"""Writes ONNX graphs layer by layer, with shapes known on the way and weights that take no room.

Every weight is a ConstantOfShape node, so that a model of any size is a small proto; the loader puts random
values in their place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto, helper

OPSET = 17
IR_VERSION = 8
_WEIGHT = 0.02

Size = int | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the graph: its name, which is also that of the node that writes it, and its shape."""

    name: str
    shape: tuple[int, ...]


class Builder:
    """Collects the nodes of one graph, all at batch 1; every method adds nodes and gives their result."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def input(self, name: str, *shape: int, integers: bool = False) -> Tensor:
        """A graph input, float32 or int64."""
        kind = TensorProto.INT64 if integers else TensorProto.FLOAT
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return Tensor(name, shape)

    def integers(self, values: Sequence[int]) -> Tensor:
        """A vector of int64; equal ones are stored once."""
        values = [int(value) for value in values]
        return self._constant("integers", TensorProto.INT64, [len(values)], values)

    def integer(self, value: int) -> Tensor:
        """One int64 number, of no dimensions; equal ones are stored once."""
        return self._constant("integer", TensorProto.INT64, [], [value])

    def number(self, value: float) -> Tensor:
        """One float32 number, of no dimensions; equal ones are stored once."""
        return self._constant("number", TensorProto.FLOAT, [], [value])

    def _constant(self, kind: str, data_type: int, shape: list[int], values: Sequence[float]) -> Tensor:
        name = f"{kind}/{'_'.join(format(value, '.9g') for value in values)}"
        if len(name) > 80:
            name = f"{kind}/{len(self._constants)}"
        if name not in self._constants:
            self._constants[name] = helper.make_tensor(name, data_type, shape, values)
        return Tensor(name, tuple(shape))

    def weight(self, name: str, shape: Sequence[int], value: float = _WEIGHT) -> Tensor:
        """A weight: a tensor filled with one number."""
        filled = helper.make_tensor("value", TensorProto.FLOAT, [1], [value])
        return self.node("ConstantOfShape", name, [self.integers(shape)], shape, value=filled)

    def node(
        self, op_type: str, name: str, inputs: Sequence[Tensor], shape: Sequence[int], **attributes: Any
    ) -> Tensor:
        """A node with one output, whose shape the caller knows."""
        return self.node_of_many(op_type, name, inputs, {name: shape}, **attributes)[0]

    def node_of_many(
        self,
        op_type: str,
        name: str,
        inputs: Sequence[Tensor | None],
        outputs: dict[str, Sequence[int]],
        **attributes: Any,
    ) -> list[Tensor]:
        """A node with optional inputs (None) and several outputs, their shapes by name."""
        read = [item.name if item else "" for item in inputs]
        self._nodes.append(helper.make_node(op_type, read, list(outputs), name=name, **attributes))
        return [Tensor(output, tuple(shape)) for output, shape in outputs.items()]

    def model(self, *outputs: Tensor) -> onnx.ModelProto:
        """The finished model, with `outputs` given out."""
        graph = helper.make_graph(
            self._nodes,
            self._name,
            self._inputs,
            [helper.make_tensor_value_info(item.name, TensorProto.FLOAT, item.shape) for item in outputs],
            list(self._constants.values()),
        )
        return helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="oncore",
        )

    # Convolutional layers; activations are (1, C, L) or (1, C, H, W).

    def conv(
        self,
        x: Tensor,
        name: str,
        channels: int,
        kernel: Size,
        *,
        stride: Size = 1,
        padding: Size | None = None,
        groups: int = 1,
        bias: bool = False,
    ) -> Tensor:
        """A convolution; without `padding` it keeps the size (for odd kernels and a stride of 1)."""
        kernels, strides, pads = self._window(x, kernel, stride, padding)
        inputs = [x, self.weight(f"{name}/weight", (channels, x.shape[1] // groups, *kernels))]
        if bias:
            inputs.append(self.weight(f"{name}/bias", (channels,), 0.0))
        sizes = _sizes_after(x.shape[2:], kernels, strides, pads)
        return self.node(
            "Conv",
            name,
            inputs,
            (1, channels, *sizes),
            kernel_shape=kernels,
            strides=strides,
            pads=[*pads, *pads],
            group=groups,
        )

    def depthwise(self, x: Tensor, name: str, kernel: Size, *, stride: Size = 1) -> Tensor:
        """A convolution of every channel on its own."""
        return self.conv(x, name, x.shape[1], kernel, stride=stride, groups=x.shape[1])

    def conv_transpose(
        self, x: Tensor, name: str, channels: int, kernel: int, stride: int, padding: int = 0, extra: int = 0
    ) -> Tensor:
        """A transposed convolution with bias; `extra` rows and columns are added at the end."""
        inputs = [
            x,
            self.weight(f"{name}/weight", (x.shape[1], channels, kernel, kernel)),
            self.weight(f"{name}/bias", (channels,), 0.0),
        ]
        sizes = [(size - 1) * stride + kernel - 2 * padding + extra for size in x.shape[2:]]
        return self.node(
            "ConvTranspose",
            name,
            inputs,
            (1, channels, *sizes),
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[padding] * 4,
            output_padding=[extra] * 2,
        )

    def batch_norm(self, x: Tensor, name: str) -> Tensor:
        """Batch normalisation at inference."""
        vectors = [
            self.weight(f"{name}/{part}", (x.shape[1],), value)
            for part, value in (("scale", 1.0), ("bias", 0.0), ("mean", 0.0), ("variance", 1.0))
        ]
        return self.node("BatchNormalization", name, [x, *vectors], x.shape)

    def conv_norm(
        self, x: Tensor, name: str, channels: int, kernel: Size, *, stride: Size = 1, groups: int = 1
    ) -> Tensor:
        """A convolution that keeps the size (over the stride), and batch normalisation."""
        return self.batch_norm(
            self.conv(x, f"{name}/conv", channels, kernel, stride=stride, groups=groups), f"{name}/norm"
        )

    def conv_norm_relu(
        self, x: Tensor, name: str, channels: int, kernel: Size, *, stride: Size = 1, groups: int = 1
    ) -> Tensor:
        """The same, and a ReLU."""
        return self.relu(
            self.conv_norm(x, name, channels, kernel, stride=stride, groups=groups), f"{name}/relu"
        )

    def max_pool(self, x: Tensor, name: str, kernel: int, stride: int, padding: int = 0) -> Tensor:
        """The largest element of every window."""
        return self._pool("MaxPool", x, name, kernel, stride, padding)

    def average_pool(self, x: Tensor, name: str, kernel: int, stride: int, padding: int = 0) -> Tensor:
        """The mean of every window; padding does not count."""
        return self._pool("AveragePool", x, name, kernel, stride, padding)

    def _pool(self, op_type: str, x: Tensor, name: str, kernel: int, stride: int, padding: int) -> Tensor:
        kernels, strides, pads = self._window(x, kernel, stride, padding)
        sizes = _sizes_after(x.shape[2:], kernels, strides, pads)
        return self.node(
            op_type,
            name,
            [x],
            (*x.shape[:2], *sizes),
            kernel_shape=kernels,
            strides=strides,
            pads=[*pads, *pads],
        )

    def _window(
        self, x: Tensor, kernel: Size, stride: Size, padding: Size | None
    ) -> tuple[list[int], list[int], list[int]]:
        axes = len(x.shape) - 2
        kernels = _each(kernel, axes)
        pads = [(size - 1) // 2 for size in kernels] if padding is None else _each(padding, axes)
        return kernels, _each(stride, axes), pads

    def classifier(self, x: Tensor, name: str, classes: int) -> Tensor:
        """Mean over all places and a fully connected layer: (1, C, H, W) to (1, classes)."""
        pooled = self.node("GlobalAveragePool", f"{name}/pool", [x], (*x.shape[:2], 1, 1))
        flat = self.node("Flatten", f"{name}/flatten", [pooled], (1, x.shape[1]), axis=1)
        return self.dense(flat, f"{name}/dense", classes)

    def dense(self, x: Tensor, name: str, width: int) -> Tensor:
        """A fully connected layer with bias of a (1, D) tensor, as one Gemm."""
        weight = self.weight(f"{name}/weight", (width, x.shape[1]))
        bias = self.weight(f"{name}/bias", (width,), 0.0)
        return self.node("Gemm", name, [x, weight, bias], (x.shape[0], width), transB=1)

    # Layers of sequences; activations are (1, S, D).

    def linear(self, x: Tensor, name: str, width: int, *, bias: bool = True) -> Tensor:
        """A product with a matrix along the last axis, and a bias."""
        shape = (*x.shape[:-1], width)
        weight = self.weight(f"{name}/weight", (x.shape[-1], width))
        if not bias:
            return self.node("MatMul", name, [x, weight], shape)
        product = self.node("MatMul", f"{name}/product", [x, weight], shape)
        return self.node("Add", name, [product, self.weight(f"{name}/bias", (width,), 0.0)], shape)

    def layer_norm(self, x: Tensor, name: str, epsilon: float = 1e-5) -> Tensor:
        """Layer normalisation over the last axis."""
        scale = self.weight(f"{name}/scale", (x.shape[-1],), 1.0)
        bias = self.weight(f"{name}/bias", (x.shape[-1],), 0.0)
        return self.node("LayerNormalization", name, [x, scale, bias], x.shape, axis=-1, epsilon=epsilon)

    def embedding(self, ids: Tensor, name: str, rows: int, width: int) -> Tensor:
        """Rows of a table at int64 `ids`: shape of the ids, then `width`."""
        return self.gather(self.weight(f"{name}/table", (rows, width)), ids, name)

    def gather(self, table: Tensor, ids: Tensor, name: str) -> Tensor:
        """Rows of `table`."""
        return self.node("Gather", name, [table, ids], (*ids.shape, *table.shape[1:]), axis=0)

    def matmul(self, left: Tensor, right: Tensor, name: str) -> Tensor:
        """Product of two activations with equal leading axes."""
        return self.node("MatMul", name, [left, right], (*left.shape[:-1], right.shape[-1]))

    def softmax(self, x: Tensor, name: str) -> Tensor:
        """Softmax over the last axis."""
        return self.node("Softmax", name, [x], x.shape, axis=-1)

    # Element-wise operations and movement.

    def unary(self, op_type: str, x: Tensor, name: str) -> Tensor:
        """An operator of one input that keeps the shape."""
        return self.node(op_type, name, [x], x.shape)

    def relu(self, x: Tensor, name: str) -> Tensor:
        """max(x, 0)."""
        return self.unary("Relu", x, name)

    def add(self, left: Tensor, right: Tensor, name: str) -> Tensor:
        """The sum; `right` may be broadcast."""
        return self.node("Add", name, [left, right], left.shape)

    def mul(self, left: Tensor, right: Tensor, name: str) -> Tensor:
        """The product; `right` may be broadcast."""
        return self.node("Mul", name, [left, right], left.shape)

    def swish(self, x: Tensor, name: str) -> Tensor:
        """x times its sigmoid."""
        return self.mul(x, self.unary("Sigmoid", x, f"{name}/sigmoid"), name)

    def gelu(self, x: Tensor, name: str) -> Tensor:
        """x/2 (1 + erf(x / sqrt 2))."""
        ratio = self.mul(x, self.number(math.sqrt(0.5)), f"{name}/ratio")
        inner = self.unary("Erf", ratio, f"{name}/erf")
        return self._half_of_one_plus(x, inner, name)

    def gelu_by_tanh(self, x: Tensor, name: str) -> Tensor:
        """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
        square = self.mul(x, x, f"{name}/square")
        cube = self.mul(square, x, f"{name}/cube")
        small = self.mul(cube, self.number(0.044715), f"{name}/small")
        argument = self.mul(
            self.add(x, small, f"{name}/sum"), self.number(math.sqrt(2 / math.pi)), f"{name}/argument"
        )
        return self._half_of_one_plus(x, self.unary("Tanh", argument, f"{name}/tanh"), name)

    def _half_of_one_plus(self, x: Tensor, inner: Tensor, name: str) -> Tensor:
        above = self.add(inner, self.number(1.0), f"{name}/above")
        return self.mul(self.mul(x, above, f"{name}/product"), self.number(0.5), name)

    def concat(self, parts: Sequence[Tensor], name: str, axis: int = 1) -> Tensor:
        """The parts joined along an axis."""
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        return self.node("Concat", name, parts, shape, axis=axis)

    def reshape(self, x: Tensor, name: str, *shape: int) -> Tensor:
        """The same elements as (1, *shape); the batch is taken from the input."""
        return self.node("Reshape", name, [x, self.integers((0, *shape))], (x.shape[0], *shape))

    def transpose(self, x: Tensor, name: str, *order: int) -> Tensor:
        """Axes in another order."""
        return self.node("Transpose", name, [x], [x.shape[axis] for axis in order], perm=order)

    def slice(self, x: Tensor, name: str, starts: dict[int, int], sizes: dict[int, int]) -> Tensor:
        """A part of the tensor: starts and sizes by axis."""
        axes = list(starts)
        ends = [starts[axis] + sizes[axis] for axis in axes]
        inputs = [x, *(self.integers(item) for item in ([starts[axis] for axis in axes], ends, axes))]
        shape = [sizes.get(axis, size) for axis, size in enumerate(x.shape)]
        return self.node("Slice", name, inputs, shape)


def _each(size: Size, axes: int) -> list[int]:
    return [size] * axes if isinstance(size, int) else list(size)


def _sizes_after(
    sizes: Sequence[int], kernels: Sequence[int], strides: Sequence[int], pads: Sequence[int]
) -> list[int]:
    return [
        (size + 2 * pad - kernel) // stride + 1
        for size, kernel, stride, pad in zip(sizes, kernels, strides, pads, strict=True)
    ]
