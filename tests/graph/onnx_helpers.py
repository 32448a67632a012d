"""Small ONNX models for the tests, and onnxruntime to run them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

Floats = NDArray[np.float32]


class GraphBuilder:
    """Collects nodes and constants; `save` writes a checked model file."""

    def __init__(self, opset: int = 13, seed: int = 0) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.shapes: dict[str, list[int]] = {}
        """Shapes of outputs that ONNX's own inference does not know."""
        self._generator = np.random.default_rng(seed)

    def input(self, name: str, *shape: int | str, kind: int = onnx.TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def constant(self, values: NDArray[np.generic]) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def random(self, *shape: int, positive: bool = False) -> str:
        values = self._generator.standard_normal(shape).astype(np.float32)
        return self.constant(np.abs(values) + np.float32(0.1) if positive else values)

    def repeated(self, batch: int, *shape: int) -> str:
        """A random constant (batch, shape...) that is the same for every image."""
        values = self._generator.standard_normal((1, *shape)).astype(np.float32)
        return self.constant(np.repeat(values, batch, axis=0))

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))

    def number(self, value: float) -> str:
        return self.constant(np.array(value, dtype=np.float32))

    def node(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        return self.nodes_of(op_type, 1, *inputs, **attributes)[0]

    def nodes_of(self, op_type: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """A node with several outputs."""
        place = len(self.nodes)
        outputs = [f"t{place}", *(f"t{place}_{i}" for i in range(1, count))]
        self.nodes.append(
            helper.make_node(op_type, inputs, outputs, name=f"n{place}_{op_type}", **attributes)
        )
        return outputs

    def model(self, *outputs: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "test",
            self.inputs,
            [
                helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, self.shapes.get(name))
                for name in outputs
            ],
            self.initializers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = 8
        return model

    def save(self, folder: Path, *outputs: str) -> str:
        path = folder / "test.onnx"
        # A valid file states the shapes of its outputs.
        path.write_bytes(shape_inference.infer_shapes(self.model(*outputs)).SerializeToString())
        return str(path)


def run(model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]], names: Sequence[str]) -> dict[str, Floats]:
    """Outputs `names` of a model in onnxruntime, on one thread and without its graph optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return dict(zip(names, session.run(list(names), dict(feeds)), strict=True))


def with_outputs(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """A copy of `model` that gives out the tensors `names` too; graph inputs among them are left out."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    present = {item.name for item in [*copy.graph.output, *copy.graph.input]}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    return copy


def relative_error(found: Floats, expected: Floats) -> float:
    """max |found - expected| / max |expected| over the elements in order, whatever the shapes; infinities must
    be in the same places.
    """
    assert found.size == expected.size
    a, b = found.ravel(), expected.ravel()
    finite = np.isfinite(b)
    if not (a[~finite] == b[~finite]).all():
        return float("inf")
    if not finite.any():
        return 0.0
    largest = float(np.abs(b[finite]).max())
    return float(np.abs(a[finite] - b[finite]).max()) / (largest or 1.0)
