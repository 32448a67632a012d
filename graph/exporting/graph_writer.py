"""GraphWriter: nodes and initializers of an ONNX graph, with names made up where none is given."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_LARGE_BYTES = 1 << 16


class GraphWriter:
    """Collects `nodes` and `initializers`; made-up names begin with `prefix`. Arrays of more than a few
    kilobytes go to `external`, where there is one.
    """

    def __init__(self, batch: int, external: MutableMapping[str, NDArray[np.generic]] | None = None) -> None:
        self.batch = batch
        self.prefix = ""
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._external = external
        self._count = 0

    def node(self, op_type: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """A node with one output, whose name is returned."""
        name = output or self._fresh()
        self.nodes.append(helper.make_node(op_type, inputs, [name], **attributes))
        return name

    def constant(self, values: NDArray[Any], name: str = "") -> str:
        """An initializer, whose name is returned."""
        name = name or self._fresh()
        array = np.asarray(values, order="C")
        if self._external is None or array.nbytes <= _LARGE_BYTES:
            self.initializers.append(numpy_helper.from_array(array, name))
            return name
        self._external[name] = array
        declared = onnx.TensorProto(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            dims=array.shape,
            data_location=onnx.TensorProto.EXTERNAL,
        )
        declared.external_data.add(key="location", value="memory")
        self.initializers.append(declared)
        return name

    def number(self, value: float) -> str:
        """A float32 scalar."""
        return self.constant(np.array(value, dtype=np.float32))

    def reshape(self, value: str, *shape: int, output: str = "") -> str:
        """A Reshape to a constant shape."""
        return self.node("Reshape", value, self.constant(np.array(shape, np.int64)), output=output)

    def transpose(self, value: str, *order: int) -> str:
        """A Transpose."""
        return self.node("Transpose", value, perm=list(order))

    def slice(self, value: str, start: int, stop: int, axis: int) -> str:
        """Positions [start, stop) of one axis."""
        ends: Sequence[int] = (start, stop, axis)
        return self.node("Slice", value, *(self.constant(np.array([end], np.int64)) for end in ends))

    def _fresh(self) -> str:
        self._count += 1
        return f"{self.prefix}///{self._count}"
