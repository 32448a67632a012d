"""Fusing: which element-wise operators become steps of which anchor's layer, and the order of layers."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from graph.errors import ModelError
from graph.folded.constants import Array
from graph.layering.effects import REVERSED, Combine, Effect
from graph.layering.emitter import Anchored, Item, Pointwise
from graph.layering.values import Value
from graph.network import AxisMap, RegionMap
from graph.primitives import Anchor, Concat, Embedding, Move

IDENTITY = RegionMap(AxisMap(), AxisMap(), AxisMap())
_CLOSED = (Concat, Embedding)
"""Anchors that take no steps."""


@dataclass(slots=True, eq=False)
class Group:
    """A layer in the making. `position` is that of its anchor in the file; `output` is what it computes so
    far. `identities` are those of the items that it is made of, with what they do.
    """

    position: int
    name: str
    anchor: Anchor
    inputs: list[Value]
    maps: list[RegionMap]
    output: Value
    weight: Array | None = None
    effects: list[Effect] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    identities: list[tuple[object, ...]] = field(default_factory=list)

    @property
    def constants_identity(self) -> tuple[object, ...]:
        """The same for layers that have the same weight and the same parameters."""
        found = self.identities
        while found and not found[-1][0]:
            found = found[:-1]
        return (self.anchor, *found)


def fuse(items: Sequence[Item], outputs: Iterable[str]) -> list[Group]:
    """Layers of `items`, which are in topological order; `outputs` are the sources that the graph gives out.

    An element-wise operator joins the last anchor that feeds it, provided that nothing else reads what is
    between and that the anchor takes steps; otherwise it becomes a layer of its own. What no output needs is
    left out.
    """
    kept = set(outputs)
    items = _needed(items, kept)
    readers = Counter(value.source for item in items for value in _values(item.result))
    groups: list[Group] = []
    by_source: dict[str, Group] = {}
    for position, item in enumerate(items):
        if isinstance(item.result, Anchored):
            group = _anchored(position, item, item.result)
            groups.append(group)
        else:
            values, output = item.result.values, item.result.output
            open_groups = [
                (by_source[value.source].position, index)
                for index, value in enumerate(values)
                if value.source in by_source
                and readers[value.source] == 1
                and value.source not in kept
                and value.sizes == output.sizes
                and (index == item.result.main or not item.result.fixed)
                and not isinstance(by_source[value.source].anchor, _CLOSED)
            ]
            if open_groups:
                main = max(open_groups)[1]
                group = by_source.pop(values[main].source)
            else:
                main = item.result.main
                group = Group(position, item.name, Move(), [values[main]], [IDENTITY], output)
                groups.append(group)
            _join(group, item, item.result, main)
        by_source[group.output.source] = group
    return _ordered(groups, by_source)


def _needed(items: Sequence[Item], outputs: set[str]) -> list[Item]:
    wanted = set(outputs)
    found: list[Item] = []
    for item in reversed(items):
        if item.output in wanted:
            wanted.update(value.source for value in _values(item.result))
            found.append(item)
    return found[::-1]


def _values(result: Anchored | Pointwise) -> tuple[Value, ...]:
    return result.inputs if isinstance(result, Anchored) else result.values


def _anchored(position: int, item: Item, result: Anchored) -> Group:
    return Group(
        position=position,
        name=item.name,
        anchor=result.anchor,
        inputs=list(result.inputs),
        maps=list(result.maps),
        output=result.output,
        weight=result.weight,
        effects=list(result.effects),
        nodes=list(item.nodes),
        identities=[_identity(item)],
    )


def _identity(item: Item) -> tuple[object, ...]:
    """An item's identity, and what decides which of its constants are merged with its neighbours'."""
    result = item.result
    combine = result.combine if isinstance(result, Pointwise) else None
    return (item.identity, combine, *(type(effect) for effect in result.effects))


def _join(group: Group, item: Item, result: Pointwise, main: int) -> None:
    for index, value in enumerate(result.values):
        if index != main and result.combine is not None:
            op = result.combine if main == 0 or result.fixed else REVERSED[result.combine]
            group.effects.append(Combine(op, len(group.inputs)))
            group.inputs.append(value)
            group.maps.append(_operand_map(result.output, value))
    group.identities.append(_identity(item))
    group.effects.extend(result.effects)
    group.nodes.extend(node for node in item.nodes if node not in group.nodes)
    group.output = result.output


def _operand_map(output: Value, operand: Value) -> RegionMap:
    """Identity along axes of the same size; the one position of the others is repeated."""
    pairs = (
        (output.rows, operand.rows),
        (output.columns, operand.columns),
        (output.channels, operand.channels),
    )
    rows, columns, channels = (AxisMap(stride=int(size == given)) for size, given in pairs)
    return RegionMap(rows, columns, channels)


def _ordered(groups: list[Group], by_source: dict[str, Group]) -> list[Group]:
    """Topological order, ties broken by the anchor's position in the file. Raises ModelError where groups wait for
    each other.
    """
    waiting: dict[int, int] = {}
    followers: dict[int, list[Group]] = {}
    ready: list[tuple[int, int]] = []
    index_of = {id(group): index for index, group in enumerate(groups)}
    for group in groups:
        producers = {id(by_source[value.source]) for value in group.inputs if value.source in by_source}
        waiting[id(group)] = len(producers)
        for producer in producers:
            followers.setdefault(producer, []).append(group)
        if not producers:
            ready.append((group.position, index_of[id(group)]))
    heapq.heapify(ready)
    ordered: list[Group] = []
    while ready:
        group = groups[heapq.heappop(ready)[1]]
        ordered.append(group)
        for follower in followers.get(id(group), []):
            waiting[id(follower)] -= 1
            if not waiting[id(follower)]:
                heapq.heappush(ready, (follower.position, index_of[id(follower)]))
    if len(ordered) < len(groups):
        stuck = ", ".join(sorted(node for group in groups if waiting[id(group)] for node in group.nodes))
        raise ModelError(f"the layers of nodes {stuck} wait for each other; expected an order of them")
    return ordered
