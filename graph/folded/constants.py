"""Evaluating nodes whose inputs are constants, keeping constant fills as views of one number.

A fill is an array all of whose strides are 0: a model without real weights then costs no memory until its
weights are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

from graph.errors import MOST_COMPUTED_ELEMENTS, MOST_ELEMENTS, ModelError

Array = NDArray[Any]

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)

SMALL = 64
"""Constants up to this many elements may be shapes, scales or limits, and are read in any case."""


def fill(value: Any, shape: Sequence[int]) -> Array:
    """Array of `shape` that holds one value, as a view of a single element."""
    return np.broadcast_to(np.asarray(value), tuple(int(size) for size in shape))


def is_fill(array: Array) -> bool:
    """Whether all of at least two elements are equal."""
    if array.size < 2:
        return False
    if all(stride == 0 or size == 1 for stride, size in zip(array.strides, array.shape, strict=True)):
        return True
    first = array.flat[0]
    return bool(array.flat[array.size - 1] == first) and bool((array == first).all())


def is_weight(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor has so many float elements that no shape, scale or limit can depend on it."""
    return bool(tensor.data_type in _FLOATS and math.prod(tensor.dims) > SMALL)


def initializer_value(tensor: onnx.TensorProto, weights: bool) -> Array:
    """Value of an initializer; without `weights`, more than a few float elements become a fill of zero.

    Raises ModelError (without the file's name) when its data do not fit its type and shape.
    """
    shape = tuple(tensor.dims)
    if not weights and is_weight(tensor):
        return fill(np.float32(0), shape)
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(
            f"initializer {tensor.name!r} of shape {list(shape)} cannot be read ({error})"
        ) from error


def evaluate(node: onnx.NodeProto, inputs: Sequence[Array | None], opset: int) -> list[Array]:
    """Outputs of a node whose present inputs are all constants.

    Raises ModelError (without the file's name) when the node cannot be evaluated.
    """
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    try:
        view = _view(node.op_type, inputs, attributes)
    except (TypeError, ValueError, IndexError, KeyError, ArithmeticError) as error:
        raise ModelError(f"{node.op_type} of constants cannot be evaluated ({error})") from error
    if view is None:
        return _by_reference(node, inputs, opset)
    _check_size(node, view.shape, MOST_ELEMENTS)
    return [view]


def new_bytes(outputs: Sequence[Array], inputs: Sequence[Array | None]) -> int:
    """Memory of a node's outputs that are neither fills nor views of its inputs."""
    given = [array for array in inputs if array is not None]
    return sum(
        array.nbytes
        for array in outputs
        if any(array.strides) and not any(np.may_share_memory(array, other) for other in given)
    )


def _check_size(node: onnx.NodeProto, shape: Sequence[int], most: int) -> None:
    if math.prod(shape) > most:
        raise ModelError(
            f"{node.op_type} of constants has shape {list(shape)}, {math.prod(shape)} elements; "
            f"expected at most {most}"
        )


def _view(op_type: str, inputs: Sequence[Array | None], attributes: dict[str, Any]) -> Array | None:
    first = inputs[0] if inputs else None
    if op_type == "ConstantOfShape" and first is not None:
        value = numpy_helper.to_array(attributes["value"])[0] if "value" in attributes else np.float32(0)
        return fill(value, first.tolist())
    if op_type == "Constant" and "value" in attributes:
        return np.asarray(numpy_helper.to_array(attributes["value"]))
    if first is None:
        return None
    if op_type == "Identity":
        return first
    if op_type == "Transpose":
        return first.transpose(attributes.get("perm"))
    if op_type in ("Unsqueeze", "Squeeze"):
        second = inputs[1] if len(inputs) > 1 else None
        axes = attributes.get("axes") if second is None else second.ravel().tolist()
        if op_type == "Unsqueeze":
            return np.expand_dims(first, tuple(axes or ()))
        return np.squeeze(first, None if axes is None else tuple(axes))
    second = inputs[1] if len(inputs) > 1 else None
    if op_type == "CumSum" and second is not None and second.size == 1 and second.ndim:
        # Exporters write the axis as a list of one, which onnxruntime takes and onnx's own evaluation does not.
        return _added_up(first, int(second.reshape(())), attributes)
    if op_type == "Reshape" and second is not None and not attributes.get("allowzero", 0):
        target = [first.shape[i] if size == 0 else size for i, size in enumerate(second.tolist())]
        return first.reshape(target)
    return None


def _added_up(array: Array, axis: int, attributes: dict[str, Any]) -> Array:
    if attributes.get("reverse", 0):
        array = np.flip(array, axis)
    found = np.cumsum(array, axis, dtype=array.dtype)
    if attributes.get("exclusive", 0):
        found = found - array
    return np.flip(found, axis) if attributes.get("reverse", 0) else found


def _by_reference(node: onnx.NodeProto, inputs: Sequence[Array | None], opset: int) -> list[Array]:
    # Importing onnx.reference takes most of a second, and few files need it.
    from onnx.reference import ReferenceEvaluator

    present = {name: value for name, value in zip(node.input, inputs, strict=True) if value is not None}
    for value in present.values():
        _check_size(node, value.shape, MOST_COMPUTED_ELEMENTS)
    # Small inputs may be shapes, which inference has to know.
    small = [
        numpy_helper.from_array(np.asarray(value, order="C"), name)
        for name, value in present.items()
        if value.size <= SMALL
    ]
    graph = helper.make_graph(
        [node],
        "constant",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in present.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in node.output if name],
        small,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    failures = (
        NotImplementedError,
        RuntimeError,
        TypeError,
        ValueError,
        IndexError,
        KeyError,
        MemoryError,
        OverflowError,
    )
    try:
        inferred = shape_inference.infer_shapes(model).graph.output
    except failures as error:
        raise ModelError(f"{node.op_type} of constants has no shape ({error})") from error
    for item in inferred:
        dims = item.type.tensor_type.shape.dim
        sizes = [dim.dim_value for dim in dims if dim.HasField("dim_value")]
        _check_size(node, sizes, MOST_COMPUTED_ELEMENTS)
    try:
        results = ReferenceEvaluator(model).run(None, present)
    except failures as error:
        reason = str(error) or type(error).__name__
        raise ModelError(f"{node.op_type} of constants cannot be evaluated ({reason})") from error
    found = [np.asarray(result) for result in results]
    if any(array.dtype.kind == "c" for array in found):
        raise ModelError(f"{node.op_type} of constants gives complex numbers; expected real ones")
    return found
