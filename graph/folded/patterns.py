"""Composite patterns: chains of ONNX nodes that exporters emit for one function, put back as one node.

A pattern is written as a nested tuple: (op type, operands...), where an operand is another such tuple, a
number (a constant of one element, equal to it), EPSILON (a small constant of one element, which is kept) or X
(the one activation that the whole pattern is of). The operands of Add and Mul may stand in either order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import onnx
from onnx import helper

from graph.folded.constants import Array
from graph.folded.folding import node_name

X = "x"
EPSILON = "epsilon"
Part = Any
"""A nested tuple, a number, X or EPSILON."""

_COMMUTATIVE = ("Add", "Mul")


@dataclass(frozen=True, slots=True)
class Pattern:
    """Nodes that compute `tree` become one node `op_type` with `attributes`; EPSILON becomes its epsilon."""

    tree: Part
    op_type: str
    attributes: Mapping[str, Any]


def _gelu_orders() -> Iterator[Part]:
    """x/2 (1 + erf(x / sqrt 2)), however its three factors are grouped."""
    root = 2**0.5
    for scaled in (("Div", X, root), ("Mul", X, 1 / root)):
        share = ("Add", ("Erf", scaled), 1.0)
        yield from _halved(share)


def _halved(share: Part) -> Iterator[Part]:
    yield ("Mul", ("Mul", X, share), 0.5)
    yield ("Mul", ("Mul", X, 0.5), share)
    yield ("Mul", X, ("Mul", share, 0.5))
    yield ("Div", ("Mul", X, share), 2.0)
    yield ("Mul", ("Div", X, 2.0), share)


def _tanh_gelu_orders() -> Iterator[Part]:
    cubes: list[Part] = [("Pow", X, 3.0), ("Mul", ("Mul", X, X), X)]
    inner: list[Part] = [("Add", X, ("Mul", cube, 0.044715)) for cube in cubes]
    inner.append(("Add", X, ("Mul", ("Mul", ("Mul", X, 0.044715), X), X)))
    inner.append(("Mul", X, ("Add", ("Mul", ("Mul", X, X), 0.044715), 1.0)))
    inner.append(("Mul", X, ("Add", ("Mul", ("Mul", X, 0.044715), X), 1.0)))
    factor = (2 / np.pi) ** 0.5
    for body in inner:
        yield from _halved(("Add", ("Tanh", ("Mul", body, factor)), 1.0))
    short = ("Mul", ("Mul", X, factor), ("Add", ("Mul", ("Mul", X, 0.044715), X), 1.0))
    yield from _halved(("Add", ("Tanh", short), 1.0))


def _layer_norm_orders() -> Iterator[Part]:
    centred = ("Sub", X, ("ReduceMean", X))
    for square in (("Pow", centred, 2.0), ("Mul", centred, centred)):
        root = ("Sqrt", ("Add", ("ReduceMean", square), EPSILON))
        yield ("Div", centred, root)
        yield ("Mul", centred, ("Reciprocal", root))
        yield ("Mul", centred, ("Div", 1.0, root))


def _rms_norm_orders() -> Iterator[Part]:
    for square in (("Pow", X, 2.0), ("Mul", X, X)):
        root = ("Sqrt", ("Add", ("ReduceMean", square), EPSILON))
        yield ("Div", X, root)
        yield ("Mul", X, ("Reciprocal", root))
        yield ("Mul", X, ("Div", 1.0, root))


PATTERNS: tuple[Pattern, ...] = (
    *(Pattern(tree, "LayerNormalization", {}) for tree in _layer_norm_orders()),
    *(Pattern(tree, "RMSNormalization", {}) for tree in _rms_norm_orders()),
    *(Pattern(tree, "Gelu", {"approximate": "none"}) for tree in _gelu_orders()),
    *(Pattern(tree, "Gelu", {"approximate": "tanh"}) for tree in _tanh_gelu_orders()),
    Pattern(("Mul", X, ("Sigmoid", X)), "Swish", {}),
    Pattern(("Mul", X, ("Tanh", ("Softplus", X))), "Mish", {}),
)


def recognised(
    nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Array], outputs: Sequence[str]
) -> tuple[tuple[onnx.NodeProto, ...], dict[str, tuple[str, ...]]]:
    """`nodes` with patterns replaced, and for each new node, by its output, the names of those it replaces."""
    search = _Search(nodes, constants, outputs)
    origins: dict[str, tuple[str, ...]] = {}
    replaced: dict[str, onnx.NodeProto] = {}
    gone: set[str] = set()
    for node in reversed(nodes):
        if node.output[0] in gone:
            continue
        for pattern in search.patterns(node.op_type):
            match = search.match(pattern, node)
            if match is None:
                continue
            new, inner = match
            replaced[node.output[0]] = new
            gone.update(inner)
            origins[node.output[0]] = (*search.names(inner), node_name(node))
            break
    kept = tuple(replaced.get(node.output[0], node) for node in nodes if node.output[0] not in gone)
    return kept, origins


class _Search:
    """Matching of patterns from their last node backwards."""

    def __init__(
        self, nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Array], outputs: Sequence[str]
    ) -> None:
        self._producers = {node.output[0]: node for node in nodes}
        self._places = {node.output[0]: place for place, node in enumerate(nodes)}
        self._constants = constants
        self._readers = Counter(name for node in nodes for name in node.input)
        self._readers.update(outputs)
        self._by_type: dict[str, list[Pattern]] = {}
        for pattern in PATTERNS:
            self._by_type.setdefault(pattern.tree[0], []).append(pattern)

    def patterns(self, op_type: str) -> Sequence[Pattern]:
        return self._by_type.get(op_type, ())

    def names(self, outputs: set[str]) -> list[str]:
        """Names of the nodes with these outputs, in the file's order."""
        return [node_name(self._producers[name]) for name in sorted(outputs, key=self._places.__getitem__)]

    def match(self, pattern: Pattern, node: onnx.NodeProto) -> tuple[onnx.NodeProto, set[str]] | None:
        """The node to put in place of a pattern that ends in `node`, and the outputs of those inside it."""
        for found in self._node(pattern.tree, node, {}):
            inner = {name for key, name in found.items() if isinstance(key, int)}
            inner_reads = Counter(
                name for output in {*inner, node.output[0]} for name in self._producers[output].input
            )
            if any(self._readers[name] != inner_reads[name] for name in inner):
                continue
            attributes = dict(pattern.attributes)
            if EPSILON in found:
                attributes["epsilon"] = float(self._constants[str(found[EPSILON])].reshape(()))
                if not all(self._last_axis(name) for name in inner):
                    continue
            name = str(found[X])
            return helper.make_node(
                pattern.op_type, [name], [node.output[0]], name=node_name(node), **attributes
            ), inner
        return None

    def _last_axis(self, name: str) -> bool:
        """Whether a node, if it is a ReduceMean, is one over the last dimension."""
        node = self._producers[name]
        if node.op_type != "ReduceMean":
            return True
        attributes = {item.name: item for item in node.attribute}
        axes = list(attributes["axes"].ints) if "axes" in attributes else None
        if axes is None and len(node.input) > 1 and node.input[1] in self._constants:
            axes = self._constants[node.input[1]].ravel().tolist()
        return axes == [-1] and ("keepdims" not in attributes or attributes["keepdims"].i == 1)

    def _node(self, tree: Part, node: onnx.NodeProto, found: dict[Any, str]) -> Iterator[dict[Any, str]]:
        operands: Sequence[Part] = tree[1:]
        if node.op_type != tree[0] or len(node.input) < len(operands):
            return
        orders = permutations(operands) if tree[0] in _COMMUTATIVE else iter([tuple(operands)])
        for order in orders:
            yield from self._operands(order, list(node.input), found)

    def _operands(
        self, parts: Sequence[Part], names: Sequence[str], found: dict[Any, str]
    ) -> Iterator[dict[Any, str]]:
        if not parts:
            yield found
            return
        for after in self._operand(parts[0], names[0], found):
            yield from self._operands(parts[1:], names[1:], after)

    def _operand(self, part: Part, name: str, found: dict[Any, str]) -> Iterator[dict[Any, str]]:
        if part == X and isinstance(part, str):
            if name not in self._constants and found.get(X, name) == name:
                yield {**found, X: name}
        elif isinstance(part, tuple):
            node = self._producers.get(name)
            if node is not None:
                # An inner tensor is remembered under a number, so that it is not taken for X's name.
                yield from self._node(part, node, {**found, len(found) + 1000: name})
        elif name in self._constants and self._constants[name].size == 1:
            value = float(self._constants[name].reshape(()))
            if part == EPSILON and isinstance(part, str):
                if 0 <= value < 1e-2 and found.get(EPSILON, name) == name:
                    yield {**found, EPSILON: name}
            elif abs(value - part) <= 1e-5 * abs(part) or value == float(np.float16(part)):
                yield found
