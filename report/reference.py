"""Reference models for onnxruntime whose large weights stay outside the protobuf.

Protobuf copies what it holds several times over: a VGG-19 as one message takes 4 GB before its first run.
Here a model is built with stand-ins, and the arrays are handed to onnxruntime as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from graph.errors import ModelError
from graph.exporting.export import network_to_onnx
from graph.folded.reference import reference_model
from graph.model import Model

Floats = NDArray[np.float32]

_LARGE_BYTES = 1 << 16
_STAND_IN = np.zeros(1, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A serialised ONNX model and its large initializers by name."""

    model: bytes
    initializers: Mapping[str, NDArray[np.generic]]


def exact_reference(model: Model, outputs: Iterable[str]) -> Reference:
    """`model.reference` that gives out the tensors `outputs`."""
    large = {name: value for name, value in model.constants.items() if value.nbytes > _LARGE_BYTES}
    constants = {**model.constants, **dict.fromkeys(large, _STAND_IN)}
    return _finished(reference_model(model.folded, constants), large, outputs)


def rounded_reference(
    model: Model, dtype: type[np.floating], outputs: Iterable[str], half_storage: bool = False
) -> Reference:
    """`model.rounded_reference(dtype)` that gives out the tensors `outputs`; with `half_storage` every layer's
    output is rounded to fp16 too.

    Raises ModelError for a weight that `dtype` cannot hold.
    """
    large: dict[str, NDArray[np.generic]] = {}
    proto = network_to_onnx(model.network, np.dtype(dtype), large, half_storage)
    return _finished(proto, large, outputs)


def rounded(values: Floats, dtype: type[np.floating]) -> Floats:
    """Values as `dtype` holds them, in float32."""
    with np.errstate(over="ignore"):
        return values.astype(dtype).astype(np.float32)


def _finished(
    proto: onnx.ModelProto, large: Mapping[str, NDArray[np.generic]], outputs: Iterable[str]
) -> Reference:
    for item in proto.graph.initializer:
        if item.name in large and item.data_location != onnx.TensorProto.EXTERNAL:
            item.ClearField("raw_data")
            item.data_location = onnx.TensorProto.EXTERNAL
            del item.dims[:]
            item.dims.extend(large[item.name].shape)
            item.external_data.add(key="location", value="memory")
    wanted = dict.fromkeys(outputs)
    written = {name for node in proto.graph.node for name in node.output}
    written |= {item.name for item in proto.graph.initializer}
    for name in wanted:
        if name not in written:
            raise ModelError(
                f"model {proto.graph.name!r}: neither a node nor an initializer gives tensor {name!r}"
            )
    del proto.graph.output[:]
    for name in wanted:
        proto.graph.output.append(onnx.ValueInfoProto(name=name))
    arrays = {name: np.asarray(value, order="C") for name, value in large.items()}
    return Reference(proto.SerializeToString(), arrays)
