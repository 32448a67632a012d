"""The file's own graph as an ONNX model again, for comparison with onnxruntime: at the file's batch, so that
nothing in it has to change, run over as many images at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from graph.errors import ModelError
from graph.files.source import DEFAULT_DOMAINS
from graph.folded.constants import Array
from graph.folded.folding import FoldedGraph, node_name

RUN_OPSET = 26
"""The newest opset that onnxruntime runs (1.31); onnx knows later ones, most of whose operators are the same."""


def reference_model(folded: FoldedGraph, constants: Mapping[str, Array]) -> onnx.ModelProto:
    """The folded graph at its own batch, its constants as initializers; tensor names are the file's.

    Raises ModelError for an operator that onnxruntime does not know yet.
    """
    original = folded.source.proto
    graph = helper.make_graph(
        list(folded.nodes),
        original.graph.name or "graph",
        [
            helper.make_tensor_value_info(
                name,
                helper.np_dtype_to_tensor_dtype(folded.input_types[name]),
                folded.input_shape(name, folded.file_batch),
            )
            for name in folded.inputs
        ],
        [onnx.ValueInfoProto(name=name) for name in folded.outputs],
        [numpy_helper.from_array(np.asarray(value, order="C"), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=_opsets(folded), functions=list(original.functions))
    # Initializers need not be graph inputs from version 4 on.
    model.ir_version = max(4, original.ir_version)
    return model


def _opsets(folded: FoldedGraph) -> list[onnx.OperatorSetIdProto]:
    """The file's opsets, or an older default one that means the same for every node."""
    given = list(folded.source.proto.opset_import)
    opset = folded.source.opset
    if opset <= RUN_OPSET:
        return given
    for node in folded.nodes:
        since = onnx.defs.get_schema(node.op_type, opset).since_version
        if since > RUN_OPSET:
            raise ModelError(
                f"{folded.source.origin}: {node.op_type} node {node_name(node)!r} is of opset {since}, and onnxruntime "
                f"runs {RUN_OPSET} at most; expected older operators to compare with"
            )
    others = [item for item in given if item.domain not in DEFAULT_DOMAINS]
    return [helper.make_opsetid("", RUN_OPSET), *others]


def in_file_batches(
    feeds: Mapping[str, NDArray[np.generic]], folded: FoldedGraph
) -> list[dict[str, NDArray[np.generic]]]:
    """Inputs of any batch as runs of the file's batch each; the last run repeats its last image."""
    first = next(iter(feeds))
    batch = feeds[first].shape[0] // folded.depths[first]
    runs = []
    for start in range(0, batch, folded.file_batch):
        images = np.minimum(np.arange(start, start + folded.file_batch), batch - 1)
        run = {}
        for name, array in feeds.items():
            depth = folded.depths[name]
            places = (images[:, None] * depth + np.arange(depth)).ravel()
            run[name] = np.ascontiguousarray(array[places])
        runs.append(run)
    return runs
