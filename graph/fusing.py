"""Fusing: which element-wise operators become steps of which anchor's layer, and the order of layers."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from graph.constants import Array
from graph.effects import Combine, Effect
from graph.network import RegionMap
from graph.operation import Anchored, Pointwise
from graph.primitives import Anchor, Concat, Move
from graph.values import IDENTITY, Value


@dataclass(slots=True, eq=False)
class Group:
    """A layer in the making. `position` is that of its anchor in the file; `output` is what it computes so
    far.
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


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A node's name and first output with what its operator made of it; views leave no item."""

    name: str
    output: str
    result: Anchored | Pointwise


def fuse(items: Sequence[Item], outputs: Iterable[str]) -> list[Group]:
    """Layers of `items`, which are in topological order; `outputs` are the sources that the graph gives out.

    An element-wise operator joins the last anchor that feeds it, provided that nothing else reads what is
    between and that the anchor is no Concat; otherwise it becomes a layer of its own.
    """
    kept = set(outputs)
    readers = Counter(value.source for item in items for value in _values(item.result))
    groups: list[Group] = []
    by_source: dict[str, Group] = {}
    for position, item in enumerate(items):
        if isinstance(item.result, Anchored):
            group = _anchored(position, item, item.result)
            groups.append(group)
        else:
            values = item.result.values
            open_groups = [
                (by_source[value.source].position, index)
                for index, value in enumerate(values)
                if value.source in by_source
                and readers[value.source] == 1
                and value.source not in kept
                and not isinstance(by_source[value.source].anchor, Concat)
            ]
            if open_groups:
                main = max(open_groups)[1]
                group = by_source.pop(values[main].source)
            else:
                main = 0
                group = Group(position, item.name, Move(), [values[0]], [IDENTITY], values[0])
                groups.append(group)
            _join(group, item, item.result, main)
        by_source[group.output.source] = group
    return _ordered(groups, by_source)


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
        nodes=[item.name],
    )


def _join(group: Group, item: Item, result: Pointwise, main: int) -> None:
    for index, value in enumerate(result.values):
        if index != main and result.combine is not None:
            group.effects.append(Combine(result.combine, len(group.inputs)))
            group.inputs.append(value)
            group.maps.append(IDENTITY)
    group.effects.extend(result.effects)
    group.nodes.append(item.name)
    value = result.values[main]
    group.output = Value(item.output, value.channels, value.rows, value.columns, value.dims)


def _ordered(groups: list[Group], by_source: dict[str, Group]) -> list[Group]:
    """Topological order, ties broken by the anchor's position in the file."""
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
    return ordered
