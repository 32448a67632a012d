"""Names and functions of a file: every name is written once and before it is read, and calls end.

The onnx checker finds most of this as well, but says less about it; and what follows it relies on the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from onnx import inliner

from graph.errors import ModelError
from graph.files.tensors import check_shape, check_tensor, is_external, type_name

MOST_NODES = 2**17
MOST_DEPTH = 64

_Key = tuple[str, str, str]


def check_graph(graph: onnx.GraphProto, outer: tuple[set[str], ...] = ()) -> None:
    """Check names, types and stored tensors of a graph and the subgraphs in it. Raises ModelError.

    `outer` holds the names that enclosing graphs have written by then.
    """
    known: set[str] = set()
    _check_text(graph)
    for item in graph.initializer:
        if outer and is_external(item):
            raise ModelError(
                f"initializer {item.name!r} of a subgraph is in a side file; expected it in the model"
            )
        if item.name in known:
            raise ModelError(f"initializer {item.name!r} is there twice; expected once")
        known.add(item.name)
        check_tensor(f"initializer {item.name!r}", item)
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise ModelError(f"initializer {name!r} is sparse; expected dense initializers")
    given: set[str] = set()
    for value in graph.input:
        if value.name in given:
            raise ModelError(f"input {value.name!r} is there twice; expected once")
        given.add(value.name)
        if not outer:
            _check_input(value)
    known |= given
    later = {name for node in graph.node for name in node.output}
    for node in graph.node:
        _check_node(graph, node, known, outer, later)
    seen: set[str] = set()
    for value in graph.output:
        if value.name in seen:
            raise ModelError(f"output {value.name!r} is there twice; expected once")
        seen.add(value.name)
        if not _is_known(value.name, known, outer):
            raise ModelError(f"output {value.name!r} is written by no node; expected one to write it")


def _check_node(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    known: set[str],
    outer: tuple[set[str], ...],
    later: set[str],
) -> None:
    where = f"node {node.name or ', '.join(node.output)!r} ({node.op_type})"
    for name in node.input:
        if name and not _is_known(name, known, outer):
            if name not in later:
                raise ModelError(f"{where}: reads {name!r}, which nothing writes")
            kind = "is in a cycle" if _has_cycle(graph) else "comes before the node that writes it"
            raise ModelError(f"{where}: reads {name!r} but {kind}; expected nodes in the order of their data")
    _check_attributes(node, where)
    for item in node.attribute:
        for subgraph in [item.g] if item.HasField("g") else item.graphs:
            check_graph(subgraph, (*outer, known))
    for name in node.output:
        if name in known:
            raise ModelError(f"{where}: writes {name!r}, which is written already; expected every name once")
        if name:
            known.add(name)


def _check_attributes(node: onnx.NodeProto, where: str) -> None:
    for item in node.attribute:
        if item.HasField("sparse_tensor") or item.sparse_tensors:
            raise ModelError(f"{where}: attribute {item.name!r} is sparse; expected a dense tensor")
        if item.ref_attr_name:
            raise ModelError(
                f"{where}: attribute {item.name!r} refers to {item.ref_attr_name!r} of a function; expected a value"
            )
        for tensor in [*([item.t] if item.HasField("t") else []), *item.tensors]:
            if is_external(tensor):
                raise ModelError(
                    f"{where}: attribute {item.name!r} is in a side file; expected that of initializers only"
                )
            check_tensor(f"{where}: attribute {item.name!r}", tensor)


def _is_known(name: str, known: set[str], outer: tuple[set[str], ...]) -> bool:
    return name in known or any(name in names for names in outer)


def _has_cycle(graph: onnx.GraphProto) -> bool:
    """Whether nodes that wait for each other are left when all that can be ordered are."""
    writer = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    waiting = [{writer[name] for name in node.input if name in writer} for node in graph.node]
    readers: dict[int, list[int]] = {}
    for index, sources in enumerate(waiting):
        for source in sources:
            readers.setdefault(source, []).append(index)
    ready = [index for index, sources in enumerate(waiting) if not sources]
    done = 0
    while ready:
        done += 1
        index = ready.pop()
        for reader in readers.get(index, []):
            waiting[reader].discard(index)
            if not waiting[reader]:
                ready.append(reader)
    return done < len(graph.node)


def _check_input(value: onnx.ValueInfoProto) -> None:
    where = f"input {value.name!r}"
    if value.type.WhichOneof("value") != "tensor_type":
        found = value.type.WhichOneof("value") or "no type"
        raise ModelError(f"{where}: is of {found}; expected a tensor")
    kind = value.type.tensor_type
    if kind.elem_type not in onnx.TensorProto.DataType.values():
        raise ModelError(f"{where}: element type {type_name(kind.elem_type)}; expected one that ONNX knows")
    check_shape(where, [max(0, dim.dim_value) if dim.HasField("dim_value") else 1 for dim in kind.shape.dim])


def _check_text(graph: onnx.GraphProto) -> None:
    """Raise UnicodeDecodeError or ModelError for a text that is not UTF-8, which protobuf gives as bytes."""
    texts = [graph.name]
    for value in [*graph.input, *graph.output, *graph.value_info]:
        texts += [value.name, *(dim.dim_param for dim in value.type.tensor_type.shape.dim)]
    for node in graph.node:
        texts += [node.name, node.op_type, node.domain, node.overload, *node.input, *node.output]
        for item in node.attribute:
            texts += [
                item.name,
                item.ref_attr_name,
                item.s.decode(),
                *(text.decode() for text in item.strings),
            ]
    for item in graph.initializer:
        texts += [item.name, *(text for entry in item.external_data for text in (entry.key, entry.value))]
    texts += [item.values.name for item in graph.sparse_initializer]
    for text in texts:
        if isinstance(text, bytes):
            raise ModelError(f"name {text!r} is no text; expected UTF-8")


def check_functions(model: onnx.ModelProto) -> None:
    """Raise ModelError for functions of the model's own that could not be inlined.

    That is: two of one name, functions that call themselves or nest deeper than `MOST_DEPTH`, and more than
    `MOST_NODES` nodes in all.
    """
    bodies = {_key(item): item for item in model.functions}
    if len(bodies) < len(model.functions):
        raise ModelError("a model-local function is there twice; expected once")
    found: dict[_Key, tuple[int, int]] = {}

    def measure(key: _Key, depth: int) -> tuple[int, int]:
        """Nodes and levels of a function when all it calls is inlined."""
        if key not in bodies:
            return 1, 0
        if key not in found:
            if depth > MOST_DEPTH:
                raise ModelError(
                    f"function {key[1]!r} calls itself or nests too deeply; expected at most {MOST_DEPTH} levels"
                )
            parts = [measure(_key(node), depth + 1) for node in _all_nodes(bodies[key].node)]
            found[key] = (sum(size for size, _ in parts), 1 + max((levels for _, levels in parts), default=0))
        return found[key]

    for key in bodies:
        _, levels = measure(key, 1)
        if levels > MOST_DEPTH:
            raise ModelError(f"function {key[1]!r} nests {levels} levels; expected at most {MOST_DEPTH}")
    total = sum(measure(_key(node), 1)[0] for node in _all_nodes(model.graph.node))
    if total > MOST_NODES:
        raise ModelError(f"has {total} nodes with its functions inlined; expected at most {MOST_NODES}")


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with calls of its own functions replaced by their bodies, after `check_functions`.

    Raises ModelError for a function that is written for another opset than the model.
    """
    own = {_key(item) for item in model.functions}
    try:
        inlined = inliner.inline_local_functions(model)
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"its functions cannot be inlined ({error})") from error
    for node in _all_nodes(inlined.graph.node):
        if _key(node) in own:
            raise ModelError(
                f"function {node.op_type!r} of domain {node.domain!r} cannot be inlined; expected one that "
                "imports the model's opset"
            )
    return inlined


def _key(item: onnx.FunctionProto | onnx.NodeProto) -> _Key:
    """What a function is called by."""
    name = item.name if isinstance(item, onnx.FunctionProto) else item.op_type
    return (item.domain, name, item.overload)


def _all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for item in node.attribute:
            for subgraph in [item.g] if item.HasField("g") else item.graphs:
                yield from _all_nodes(subgraph.node)
