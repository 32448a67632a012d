"""The re-batched original as an ONNX model again, for comparison with onnxruntime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from graph.constants import Array
from graph.errors import ModelError
from graph.folding import FoldedGraph


def reference_model(folded: FoldedGraph, constants: Mapping[str, Array], batch: int) -> onnx.ModelProto:
    """The folded graph at `batch`, its constants as initializers; tensor names are the file's.

    Target shapes of Reshape that hold the file's batch get the new one.
    """
    original = folded.source.proto
    targets = {node.input[1] for node in folded.nodes if node.op_type == "Reshape" and len(node.input) > 1}
    initializers = []
    for name, value in constants.items():
        if name in targets and value.size and int(value.flat[0]) == folded.file_batch:
            value = np.concatenate([np.array([batch], value.dtype), value.ravel()[1:]])
        initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
    graph = helper.make_graph(
        list(folded.nodes),
        original.graph.name or "graph",
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [batch, *dims])
            for name, dims in folded.inputs.items()
        ],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in folded.outputs],
        initializers,
    )
    model = helper.make_model(
        graph, opset_imports=list(original.opset_import), functions=list(original.functions)
    )
    # Initializers need not be graph inputs from version 4 on.
    model.ir_version = max(4, original.ir_version)
    return model


def with_outputs(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """A copy of `model` that also gives out the inner tensors `names`; graph inputs among them are left out.

    Raises ModelError for a name that no node of the model writes.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    present = {item.name for item in copy.graph.output}
    inputs = {item.name for item in copy.graph.input}
    written = {name for node in copy.graph.node for name in node.output}
    for name in names:
        if name in present or name in inputs:
            continue
        if name not in written:
            raise ModelError(f"model {copy.graph.name!r}: no node writes tensor {name!r}")
        copy.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        present.add(name)
    return copy
