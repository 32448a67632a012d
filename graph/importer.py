"""load_model: from the name or path of an ONNX file to a Model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import onnx
from onnx import helper

from graph.building import build_network
from graph.constants import Array
from graph.errors import ModelError
from graph.folding import FoldedGraph, fold_constants, node_name
from graph.fusing import Item, fuse
from graph.model import Model
from graph.operation import Anchored, Operation, View
from graph.operators import OPERATORS
from graph.primitives import Move
from graph.randomise import randomise_fills
from graph.source import read_source
from graph.values import IDENTITY, Value
from graph.zoo import find_model, zoo_names


def load_model(name_or_path: str, batch: int = 1, *, weights: bool = True, seed: int = 0) -> Model:
    """Read a zoo model by name, or an ONNX file by path, at a given batch.

    `weights=False` reads the structure only, which is fast: layers then have no weight, and parameters are
    zeros that take no memory. A file without real weights (all of them constant fills, as in the zoo) gets
    random ones, deterministic in `seed`. Raises ModelError for a missing or broken file, dynamic shapes, and
    anything that is not supported; all unsupported operators of a file are listed at once.
    """
    if batch < 1:
        raise ModelError(f"batch is {batch}; expected at least 1")
    path = find_model(name_or_path)
    source = read_source(path, weights)
    folded = fold_constants(source, weights)
    _check_operators(folded)
    randomised = randomise_fills(folded, seed) if weights else {}
    constants = {**folded.constants, **randomised}
    inputs = {name: _input_value(name, dims) for name, dims in folded.inputs.items()}
    items, values = _read_nodes(folded, constants, inputs)
    outputs = [values[name].source for name in folded.outputs]
    names: dict[str, str] = {}
    for name, output in zip(folded.outputs, outputs, strict=True):
        if output not in folded.outputs:
            names.setdefault(output, name)
    network = build_network(
        name=name_or_path if name_or_path in zoo_names() else path.stem,
        batch=batch,
        inputs=list(inputs.values()),
        groups=fuse(items, outputs),
        outputs=list(dict.fromkeys(outputs)),
        names=names,
        weights=weights,
        model_hash=source.model_hash,
    )
    return Model(network, path, weights, tuple(sorted(randomised)), folded, constants)


def _check_operators(folded: FoldedGraph) -> None:
    unsupported: dict[str, list[str]] = {}
    for node in folded.nodes:
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
            kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            unsupported.setdefault(kind, []).append(node_name(node))
    if unsupported:
        found = "; ".join(f"{kind} ({', '.join(names)})" for kind, names in sorted(unsupported.items()))
        raise ModelError(
            f"{folded.source.path}: unsupported operators: {found}; "
            f"expected only {', '.join(sorted(OPERATORS))}"
        )


def _input_value(name: str, dims: tuple[int, ...]) -> Value:
    channels, rows, columns = dims if len(dims) == 3 else (dims[0], 1, 1)
    return Value(name, channels, rows, columns, dims)


def _read_nodes(
    folded: FoldedGraph, constants: Mapping[str, Array], inputs: Mapping[str, Value]
) -> tuple[list[Item], dict[str, Value]]:
    """Every node through its operator: items for fusing, and the value of every activation by ONNX name."""
    values = dict(inputs)
    items: list[Item] = []
    repeated = Counter(node_name(node) for node in folded.nodes)
    for node in folded.nodes:
        name = node_name(node) if repeated[node_name(node)] == 1 else str(node.output[0])
        result = OPERATORS[node.op_type](_operation(folded, node, constants, values))
        output = str(node.output[0])
        if isinstance(result, View):
            source = result.value.source
            if output not in folded.outputs or source not in inputs:
                values[output] = result.value
                continue
            # A graph input that is given out as it is still has to be copied.
            copy = Value(output, *_sizes(result.value), result.value.dims)
            result = Anchored(Move(), (result.value,), (IDENTITY,), copy)
        items.append(Item(name, output, result))
        value = result.output if isinstance(result, Anchored) else result.values[0]
        values[output] = Value(output, *_sizes(value), value.dims)
    return items, values


def _sizes(value: Value) -> tuple[int, int, int]:
    return (value.channels, value.rows, value.columns)


def _operation(
    folded: FoldedGraph, node: onnx.NodeProto, constants: Mapping[str, Array], values: Mapping[str, Value]
) -> Operation:
    where = f"{folded.source.path}: {node.op_type} node {node_name(node)!r}"
    found: list[Value | Array | None] = []
    for name in node.input:
        item = values.get(name, constants.get(name)) if name else None
        if name and item is None:
            raise ModelError(
                f"{where}: reads {name!r}, a second output of its producer; expected the first only"
            )
        found.append(item)
    return Operation(
        node=node,
        where=where,
        opset=folded.source.opset,
        file_batch=folded.file_batch,
        inputs=tuple(found),
        attributes={item.name: helper.get_attribute_value(item) for item in node.attribute},
    )
