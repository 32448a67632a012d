"""If, Loop and Scan as the nodes that they run: the branch of a constant condition, a body once for each of its turns.

Nodes of a subgraph get names of their own each time. What depends on data is left as it is, and refused as an operator
that is not supported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from graph.errors import ModelError
from graph.folded.constants import Array

CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
MOST_TURNS = 1_000
MOST_UNROLLED = 20_000

ShapeOf = Callable[[str], Sequence[int] | None]


@dataclass(slots=True)
class _Turns:
    """A Loop or Scan that has been gone through `done` times: its carried values, and what was given out each time."""

    carried: list[str]
    scanned: list[list[str]]
    going_on: str = ""
    done: int = 0


@dataclass(slots=True)
class ControlFlow:
    """Replaces control flow node by node, the bodies turn by turn; `taken` are all names of the file.

    At most MOST_TURNS turns and MOST_UNROLLED nodes are made for a file; more raise ModelError.
    """

    opset: int
    taken: set[str]
    _turns: dict[str, _Turns] = field(default_factory=dict)
    _hoisted: dict[str, dict[str, str]] = field(default_factory=dict)
    _made: int = 0
    _count: int = 0

    def replaced(
        self, node: onnx.NodeProto, constants: Mapping[str, Array], shape_of: ShapeOf
    ) -> list[onnx.NodeProto] | None:
        """The nodes to go on with instead of this one, which may be among them again; None where it has to stay."""
        if not any(node.output):
            return []
        if node.op_type == "If":
            found = self._branch(node, constants)
        elif node.op_type == "Loop":
            found = self._loop(node, constants)
        else:
            found = self._scan(node, shape_of)
        self._made += len(found or ())
        if self._made > MOST_UNROLLED or self._count > MOST_TURNS:
            raise ModelError(
                f"{node.op_type} node {node.name or _key(node)!r}: has more than {MOST_TURNS} turns or "
                f"{MOST_UNROLLED} nodes with those before it; expected fewer"
            )
        return found

    def _branch(self, node: onnx.NodeProto, constants: Mapping[str, Array]) -> list[onnx.NodeProto] | None:
        condition = constants.get(node.input[0]) if node.input else None
        if condition is None or condition.size != 1:
            return None
        graph = _body(node, "then_branch" if bool(condition.reshape(())) else "else_branch")
        if len(graph.output) != len(node.output):
            raise ModelError(
                f"If node {node.name or _key(node)!r}: a branch gives out {len(graph.output)}; "
                f"expected {len(node.output)}"
            )
        nodes, outputs = self._copied(node, graph, {}, once=False)
        return [*nodes, *_identities(outputs, node.output)]

    def _loop(self, node: onnx.NodeProto, constants: Mapping[str, Array]) -> list[onnx.NodeProto] | None:
        graph = _body(node, "body")
        inputs = [*node.input, *[""] * (2 - len(node.input))]
        carried = len(inputs) - 2
        scanned = len(graph.output) - 1 - carried
        if len(graph.input) != 2 + carried or scanned < 0 or len(node.output) > carried + scanned:
            raise ModelError(
                f"Loop node {node.name or _key(node)!r}: its body has {len(graph.input)} inputs and "
                f"{len(graph.output)} outputs; expected 2 and 1 more than it carries"
            )
        key = _key(node)
        turns = self._turns.setdefault(key, _Turns(inputs[2:], [[] for _ in range(scanned)], inputs[1]))
        most = constants.get(inputs[0]) if inputs[0] else np.array(np.iinfo(np.int64).max)
        goes = constants.get(turns.going_on) if turns.going_on else np.array(True)
        if most is None or goes is None or most.size != 1 or goes.size != 1:
            return None
        if turns.done >= int(most.reshape(())) or not bool(goes.reshape(())):
            return self._ended(node, turns, [0] * scanned)
        place = self._constant(f"{key}.turn", np.array(turns.done, np.int64))
        going = self._constant(f"{key}.goes", np.array(True))
        given = dict(
            zip(
                [item.name for item in graph.input],
                [place.output[0], going.output[0], *turns.carried],
                strict=True,
            )
        )
        nodes, outputs = self._copied(node, graph, given, once=True)
        turns.going_on = outputs[0]
        self._went(turns, outputs[1:], carried)
        return [place, going, *nodes, node]

    def _scan(self, node: onnx.NodeProto, shape_of: ShapeOf) -> list[onnx.NodeProto] | None:
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        graph, count = _body(node, "body"), int(attributes.get("num_scan_inputs", 0))
        carried = len(node.input) - count
        scanned = len(graph.output) - carried

        def numbers(name: str, size: int) -> list[int]:
            return [int(item) for item in attributes.get(name, [0] * size)]

        axes, ways = numbers("scan_input_axes", count), numbers("scan_input_directions", count)
        out_axes, out_ways = numbers("scan_output_axes", scanned), numbers("scan_output_directions", scanned)
        if (
            *(self.opset < 9, count < 1, carried < 0, scanned < 0, len(graph.input) != len(node.input)),
            not len(axes) == len(ways) == count,
            not len(out_axes) == len(out_ways) == scanned,
        ) != (False,) * 7:
            raise ModelError(
                f"Scan node {node.name or _key(node)!r}: scans {count} of {len(node.input)} inputs with a body of "
                f"{len(graph.input)} inputs and {len(graph.output)} outputs in opset {self.opset}; expected opset 9 or "
                "later, a body that takes as many, and axes and directions for each"
            )
        shapes = [shape_of(name) for name in node.input[carried:]]
        lengths = set()
        for shape, axis in zip(shapes, axes, strict=True):
            if shape is None:
                return None
            lengths.add(shape[axis] if -len(shape) <= axis < len(shape) else -1)
        if len(lengths) != 1 or -1 in lengths:
            raise ModelError(
                f"Scan node {node.name or _key(node)!r}: scans axes {axes} of shapes {shapes}; expected one length"
            )
        (length,) = lengths
        key = _key(node)
        turns = self._turns.setdefault(key, _Turns(list(node.input[:carried]), [[] for _ in range(scanned)]))
        if turns.done >= length:
            turns.scanned = [
                names[::-1] if way else names for names, way in zip(turns.scanned, out_ways, strict=True)
            ]
            return self._ended(node, turns, out_axes)
        found, parts = [], []
        for name, axis, way in zip(node.input[carried:], axes, ways, strict=True):
            place = length - 1 - turns.done if way else turns.done
            index = self._constant(f"{key}.place", np.array(place, np.int64))
            part = helper.make_node(
                "Gather", [name, index.output[0]], [self._fresh(f"{key}.part")], axis=axis
            )
            found += [index, part]
            parts.append(part.output[0])
        given = dict(zip([item.name for item in graph.input], [*turns.carried, *parts], strict=True))
        nodes, outputs = self._copied(node, graph, given, once=True)
        self._went(turns, outputs, carried)
        return [*found, *nodes, node]

    def _went(self, turns: _Turns, outputs: Sequence[str], carried: int) -> None:
        turns.done += 1
        turns.carried = list(outputs[:carried])
        for names, name in zip(turns.scanned, outputs[carried:], strict=True):
            names.append(name)
        self._count += 1

    def _ended(self, node: onnx.NodeProto, turns: _Turns, axes: Sequence[int]) -> list[onnx.NodeProto]:
        """The outputs of a Loop or Scan: what is carried at its end, and what was given out each time put together."""
        found = _identities(turns.carried, node.output)
        for name, parts, axis in zip(node.output[len(turns.carried) :], turns.scanned, axes, strict=False):
            if not name:
                continue
            if not parts:
                raise ModelError(
                    f"{node.op_type} node {node.name or _key(node)!r}: gives out {name!r} of no turn; expected one"
                )
            wide = [self._fresh(f"{part}.wide") for part in parts]
            if self.opset < 13:
                found += [
                    helper.make_node("Unsqueeze", [part], [one], axes=[axis])
                    for part, one in zip(parts, wide, strict=True)
                ]
            else:
                place = self._constant(f"{name}.axis", np.array([axis], np.int64))
                found.append(place)
                found += [
                    helper.make_node("Unsqueeze", [part, place.output[0]], [one])
                    for part, one in zip(parts, wide, strict=True)
                ]
            found.append(helper.make_node("Concat", wide, [name], axis=axis))
        return found

    # Copies of a body.

    def _copied(
        self, node: onnx.NodeProto, graph: onnx.GraphProto, given: Mapping[str, str], once: bool
    ) -> tuple[list[onnx.NodeProto], list[str]]:
        """The nodes of a subgraph under fresh names, `given` for its inputs, and the names of its outputs.

        With `once` its constants are made the first time only, so that weights stay shared between the turns.
        """
        key = _key(node)
        hoisted = self._hoisted.setdefault(key, {}) if once else {}
        made: list[onnx.NodeProto] = []
        for item in graph.initializer:
            if item.name not in hoisted:
                hoisted[item.name] = self._fresh(f"{key}.{item.name}")
                made.append(helper.make_node("Constant", [], [hoisted[item.name]], value=item))
        names = {**hoisted, **given}
        for inner in graph.node:
            if inner.op_type == "Constant" and inner.output[0] in hoisted:
                continue
            copy = onnx.NodeProto()
            copy.CopyFrom(inner)
            copy.name = f"{node.name or key}.{inner.name or inner.output[0]}.{self._count}"
            _rename(copy, names)
            for place, name in enumerate(inner.output):
                if name:
                    names[name] = self._fresh(f"{key}.{name}")
                    copy.output[place] = names[name]
            if inner.op_type == "Constant":
                hoisted[inner.output[0]] = names[inner.output[0]]
            made.append(copy)
        return made, [names.get(item.name, item.name) for item in graph.output]

    def _constant(self, name: str, value: Array) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [self._fresh(name)], value=numpy_helper.from_array(value))

    def _fresh(self, name: str) -> str:
        found, number = name, 0
        while found in self.taken:
            number += 1
            found = f"{name}.{max(number, self._count)}"
        self.taken.add(found)
        return found


def all_names(graph: onnx.GraphProto) -> set[str]:
    """Every name of a tensor in a graph and its subgraphs."""
    found = {item.name for item in [*graph.initializer, *graph.input, *graph.output]}
    for node in graph.node:
        found.update([*node.input, *node.output])
        for item in node.attribute:
            for inner in [item.g] if item.HasField("g") else item.graphs:
                found |= all_names(inner)
    return found


def _key(node: onnx.NodeProto) -> str:
    """What a node is told from others by: the first name that it writes."""
    return next(str(name) for name in node.output if name)


def _body(node: onnx.NodeProto, name: str) -> onnx.GraphProto:
    for item in node.attribute:
        if item.name == name and item.HasField("g"):
            graph: onnx.GraphProto = item.g
            return graph
    raise ModelError(
        f"{node.op_type} node {node.name or _key(node)!r}: attribute {name} is no graph; expected one"
    )


def _identities(names: Iterable[str], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Identity", [name], [output])
        for name, output in zip(names, outputs, strict=False)
        if output
    ]


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Names that a node reads, and those that its subgraphs read from around them."""
    for place, name in enumerate(node.input):
        node.input[place] = names.get(name, name)
    for item in node.attribute:
        for graph in [item.g] if item.HasField("g") else item.graphs:
            own = {value.name for value in [*graph.input, *graph.initializer]}
            own |= {name for inner in graph.node for name in inner.output}
            outer = {old: new for old, new in names.items() if old not in own}
            for inner in graph.node:
                _rename(inner, outer)
            for value in graph.output:
                value.name = outer.get(value.name, value.name)
