"""Constant folding: what is left of an ONNX graph when everything that depends on constants only is a
constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from graph.errors import MOST_COMPUTED_BYTES, MOST_FILLED_ELEMENTS, ModelError
from graph.files.source import DEFAULT_DOMAINS, Source
from graph.folded.constants import SMALL, Array, evaluate, initializer_value, new_bytes
from graph.folded.control_flow import CONTROL_FLOW, ControlFlow, all_names

PASSED_ON = "//output"
"""Behind the name of a graph input: the copy of it that is a graph output, which has to have another name."""

SYMBOLIC_BATCH = 2
"""A file whose batch is symbolic is read for two images: of one, the batch could not be told from other dimensions of
size 1, and an operator that mixes images would go unseen."""

_NOT_THE_SAME = frozenset(
    {"Bernoulli", "ConstantOfShape", "Dropout", "Multinomial", "RandomNormalLike", "RandomUniformLike"}
)
"""Operators that may give something else for the same inputs; a fill stands for a weight of its own."""

_INPUT_TYPES = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.INT64,
    onnx.TensorProto.INT32,
    onnx.TensorProto.BOOL,
)


@dataclass(frozen=True, slots=True)
class FoldedGraph:
    """Nodes that depend on the graph's inputs and reach its outputs, in the file's order, and the constants.

    `inputs` maps each used graph input to its shape without dimension 0, `input_types` to its element type. Dimension 0
    holds `depths` positions for each image: 1 where it is the batch, else more, of a file for one image.
    `file_batch` is the batch that shapes in the file are written for, or read for with `batch_is_open`, where the file
    leaves it open. `constants` holds at least those that `nodes` read. `identities` numbers the constants that were
    computed: those of the same number were computed in the same way from the same ones.
    """

    source: Source
    nodes: tuple[onnx.NodeProto, ...]
    constants: Mapping[str, Array]
    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    file_batch: int
    batch_is_open: bool
    input_types: Mapping[str, np.dtype[np.generic]]
    identities: Mapping[str, int]
    depths: Mapping[str, int]

    @property
    def without_batch(self) -> bool:
        """Whether dimension 0 of an input is not the batch: then all that the file takes is one image."""
        return any(self.depths[name] > 1 for name in self.inputs)

    def input_shape(self, name: str, images: int) -> tuple[int, ...]:
        """Shape of a graph input for so many images."""
        return (images * self.depths[name], *self.inputs[name])

    def identity(self, constant: str) -> str | int:
        """The same for constants that are the same one: what layers that share a weight have in common."""
        return self.identities.get(constant, constant)


def node_name(node: onnx.NodeProto) -> str:
    """The node's name, or that of its first output if it has none."""
    return str(node.name or node.output[0])


def attribute_bytes(node: onnx.NodeProto) -> tuple[bytes, ...]:
    """The node's attributes as something to compare, whatever their order."""
    return tuple(sorted(item.SerializeToString(deterministic=True) for item in node.attribute))


def fold_constants(
    source: Source, weights: bool, open_batch: int = SYMBOLIC_BATCH, *, as_one: bool = False
) -> FoldedGraph:
    """Fold constants and drop what no output needs; a file that leaves its batch open is read for `open_batch` images.

    All that a file takes is one image with `as_one`, and where the first dimensions of its inputs are static and
    differ: so it is with sequences before the batch, states of recurrent networks and inputs without a batch. Raises
    ModelError for a dimension that is neither static nor the batch, outputs that are constants in a file for several
    images, and where all are constants.
    """
    graph = source.proto.graph
    try:
        constants = {item.name: initializer_value(item, weights) for item in graph.initializer}
    except ModelError as error:
        raise ModelError(f"{source.origin}: {error}") from error
    declared = [item for item in graph.input if item.name not in constants]
    shapes, depths, stated_batch = _input_shapes(source, declared, as_one)
    file_batch = stated_batch or open_batch
    pending = list(reversed(graph.node))
    done: list[onnx.NodeProto] = []
    shape_of = _ShapeOf(source, {name: file_batch * depth for name, depth in depths.items()}, declared, done)
    control = ControlFlow(source.opset, all_names(graph) if any(map(_has_graph, graph.node)) else set())
    live: list[onnx.NodeProto] = []
    identities: dict[str, int] = {}
    numbers: dict[tuple[object, ...], int] = {}
    computed = 0
    while pending:
        node = pending.pop()
        if node.op_type in CONTROL_FLOW and node.domain in DEFAULT_DOMAINS:
            try:
                replaced = control.replaced(node, constants, lambda name: shape_of.known(name, constants))
            except ModelError as error:
                raise ModelError(f"{source.origin}: {error}") from error
            if replaced is not None:
                pending.extend(reversed(replaced))
                continue
        done.append(node)
        names = [name for name in node.input if name]
        if node.op_type in ("Shape", "Size") and node.input[0] not in constants:
            constants[node.output[0]] = shape_of(node, constants)
        elif all(name in constants for name in names) and not _has_graph(node):
            inputs = [constants[name] if name else None for name in node.input]
            try:
                values = evaluate(node, inputs, source.opset)
                computed += new_bytes(values, inputs)
                if computed > MOST_COMPUTED_BYTES:
                    raise ModelError(
                        f"the constants computed so far take {computed} bytes; "
                        f"expected at most {MOST_COMPUTED_BYTES} for a file"
                    )
            except ModelError as error:
                raise ModelError(f"{source.origin}: node {node_name(node)!r}: {error}") from error
            constants.update(zip([name for name in node.output if name], values, strict=False))
            if names and node.op_type not in _NOT_THE_SAME:
                given = tuple(identities.get(name, name) for name in node.input)
                for place, name in enumerate(node.output):
                    key = (node.op_type, node.domain, attribute_bytes(node), given, place)
                    identities[name] = numbers.setdefault(key, len(numbers))
        else:
            live.append(node)
    outputs = tuple(item.name for item in graph.output)
    fixed = [name for name in outputs if name in constants]
    if fixed and file_batch > 1:
        raise ModelError(
            f"{source.origin}: output {fixed[0]!r} is a constant, in a file for {file_batch} images; expected it to "
            "depend on an input, or a file for one image"
        )
    passed = [name for name in outputs if name in shapes]
    live += [helper.make_node("Identity", [name], [name + PASSED_ON]) for name in passed]
    outputs = tuple(name + PASSED_ON if name in passed else name for name in outputs)
    nodes = _needed(live, outputs)
    read = {name for node in nodes for name in node.input} | set(outputs)
    used = {name: shape for name, shape in shapes.items() if name in read}
    if not used:
        raise ModelError(f"{source.origin}: all outputs are constants; expected one that depends on an input")
    kept = {name: value for name, value in constants.items() if name in read}
    if weights:
        _check_fills(source, kept)
    types = {
        item.name: np.dtype(helper.tensor_dtype_to_np_dtype(item.type.tensor_type.elem_type))
        for item in declared
    }
    return FoldedGraph(
        source, nodes, kept, used, outputs, file_batch, stated_batch is None, types, identities, depths
    )


def _check_fills(source: Source, constants: Mapping[str, Array]) -> None:
    """Refuse a fill, which has taken no memory so far, that would take too much as a weight."""
    for name, array in constants.items():
        if array.size > MOST_FILLED_ELEMENTS and not any(array.strides):
            raise ModelError(
                f"{source.origin}: constant {name!r} is a fill of shape {list(array.shape)}, {array.size} elements; "
                f"expected at most {MOST_FILLED_ELEMENTS}, or weights=False"
            )


class _ShapeOf:
    """Value of a Shape or Size node; shapes of inner tensors are inferred when one is asked for that is not known yet,
    those of the nodes that came since the last time: by then the constants that these read are known.

    `sizes` are those of dimension 0 of the graph's inputs; `done` grows as nodes are folded.
    """

    def __init__(
        self,
        source: Source,
        sizes: Mapping[str, int],
        declared: Sequence[onnx.ValueInfoProto],
        done: Sequence[onnx.NodeProto],
    ) -> None:
        self._opsets = list(source.proto.opset_import)
        self._origin = source.origin
        self._done = done
        self._inferred = 0
        self._known: dict[str, onnx.ValueInfoProto] = {}
        for item in declared:
            self._known[item.name] = onnx.ValueInfoProto()
            self._known[item.name].CopyFrom(item)
            self._known[item.name].type.tensor_type.shape.dim[0].dim_value = sizes[item.name]

    def __call__(self, node: onnx.NodeProto, constants: Mapping[str, Array]) -> Array:
        shape = self.known(node.input[0], constants)
        if shape is None:
            raise ModelError(
                f"{self._origin}: node {node_name(node)!r}: shape of {node.input[0]!r} is not static "
                f"(found {self._sizes(node.input[0])}); export the model with static shapes"
            )
        if node.op_type == "Size":
            return np.array(math.prod(shape), dtype=np.int64)
        attributes = {item.name: item.i for item in node.attribute}
        start, end = attributes.get("start", 0), attributes.get("end", len(shape))
        return np.array(shape[start:end], dtype=np.int64)

    def known(self, name: str, constants: Mapping[str, Array]) -> list[int] | None:
        """The shape of a tensor, None where it is not static."""
        if name in constants:
            return list(constants[name].shape)
        if name not in self._known:
            self._infer(constants)
        sizes = self._sizes(name)
        found = [size for size in sizes or () if size is not None]
        return found if sizes is not None and len(found) == len(sizes) else None

    def _sizes(self, name: str) -> list[int | None] | None:
        if name not in self._known or not self._known[name].type.tensor_type.HasField("shape"):
            return None
        dims = self._known[name].type.tensor_type.shape.dim
        return [int(dim.dim_value) if dim.HasField("dim_value") else None for dim in dims]

    def _infer(self, constants: Mapping[str, Array]) -> None:
        nodes = [
            node
            for node in self._done[self._inferred :]
            if not all(name in constants for name in node.output)
        ]
        self._inferred = len(self._done)
        graph = onnx.GraphProto(name="shapes", node=nodes)
        for name in sorted({name for node in nodes for name in node.input}):
            array = constants.get(name)
            if array is None:
                graph.input.extend([self._known[name]] if name in self._known else [])
            elif array.size <= SMALL:
                graph.initializer.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
            else:
                kind = helper.np_dtype_to_tensor_dtype(array.dtype)
                graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
        model = helper.make_model(graph, opset_imports=self._opsets)
        for item in shape_inference.infer_shapes(model, data_prop=True).graph.value_info:
            self._known[item.name] = item


def _has_graph(node: onnx.NodeProto) -> bool:
    return any(
        item.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for item in node.attribute
    )


def _needed(nodes: list[onnx.NodeProto], outputs: tuple[str, ...]) -> tuple[onnx.NodeProto, ...]:
    wanted = set(outputs)
    kept: list[onnx.NodeProto] = []
    for node in reversed(nodes):
        if any(name in wanted for name in node.output):
            wanted.update(node.input)
            kept.append(node)
    return tuple(reversed(kept))


def _input_shapes(
    source: Source, declared: list[onnx.ValueInfoProto], as_one: bool
) -> tuple[dict[str, tuple[int, ...]], dict[str, int], int | None]:
    """Shapes without dimension 0, positions of dimension 0 for each image, and the batch; None where the file leaves it
    open."""
    shapes: dict[str, tuple[int, ...]] = {}
    firsts: dict[str, int] = {}
    for item in declared:
        where = f"{source.origin}: input {item.name!r}"
        if item.type.tensor_type.elem_type not in _INPUT_TYPES:
            found = onnx.TensorProto.DataType.Name(item.type.tensor_type.elem_type)
            raise ModelError(
                f"{where}: element type {found}; expected FLOAT, FLOAT16, BFLOAT16, INT64, INT32 or BOOL"
            )
        dims = list(item.type.tensor_type.shape.dim)
        if not dims:
            raise ModelError(
                f"{where}: no dimensions; expected the batch first, such as (B, C, H, W) or (B, T, D)"
            )
        for axis, dim in enumerate(dims[1:], start=1):
            if dim.dim_value <= 0:
                found = repr(dim.dim_param) if dim.dim_param else "no size"
                raise ModelError(
                    f"{where}: dimension {axis} is dynamic ({found}); `batch` (--batch) fixes only "
                    "dimension 0, so export the model with a static size here"
                )
        if dims[0].HasField("dim_value"):
            firsts[item.name] = int(dims[0].dim_value)
            if firsts[item.name] < 1:
                raise ModelError(f"{where}: dimension 0 is {firsts[item.name]}; expected at least 1")
        shapes[item.name] = tuple(int(dim.dim_value) for dim in dims[1:])
    if len(set(firsts.values())) > 1 or (as_one and firsts):
        if len(firsts) < len(shapes):
            raise ModelError(
                f"{source.origin}: dimension 0 of inputs is {firsts}, and open in others; expected one batch in all, "
                "or static sizes"
            )
        return shapes, firsts, 1
    return shapes, dict.fromkeys(shapes, 1), next(iter(firsts.values()), None)
