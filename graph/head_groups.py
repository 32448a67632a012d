"""Attention cut into groups of heads: the layers from projections to context once for each group, so that the groups
are sub-graphs of their own and keys and values of a few heads stay on core.

Heads are groups of channels. A product of two activations is cut with all that makes its operands: normalisations and
steps by channels, projections by the rows of their matrices, constants such as masks by channels; of what cannot be cut
the channels of a group are copied. What reads the heads together gets them by a Concat, which keeps the tensor's name.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace

from graph.errors import ModelError
from graph.model import Model
from graph.network import AxisMap, Layer, Network, RegionMap, Tensor
from graph.primitives import (
    Anchor,
    ChannelReduce,
    Concat,
    Contraction,
    MatMul,
    Move,
    Normalize,
    Rearrange,
    Softmax,
    Window,
)

_MOST_GROUPS = 64


def with_head_groups(model: Model, groups: int) -> Model:
    """The model with every attention in `groups` groups of heads; those whose heads they do not divide stay whole.
    The network's name says how many groups, so that a schedule of it is for no other.

    Raises ModelError where `groups` is below 1, or cuts nothing.
    """
    network = network_in_head_groups(model.network, groups)
    return model if network is model.network else replace(model, network=network)


def network_in_head_groups(network: Network, groups: int) -> Network:
    """As `with_head_groups`, a network alone."""
    if groups < 1:
        raise ModelError(f"head groups is {groups}; expected at least 1")
    return network if groups == 1 else _Cut(network, groups).network()


def head_group_counts(network: Network) -> tuple[int, ...]:
    """The numbers of groups that attention can be cut into, ascending: 1, and all up to 64 that divide the heads of one
    of the products of activations."""
    heads = {layer.anchor.groups for layer in network.layers if isinstance(layer.anchor, MatMul)}
    counts = range(1, min(_MOST_GROUPS, max(heads, default=1)) + 1)
    return tuple(n for n in counts if n == 1 or any(number % n == 0 for number in heads))


@dataclass(frozen=True, slots=True)
class _New:
    """A layer of the new network: of old layer `old` for `group`, or the whole of it; the Concat of its groups; or a
    copy of a group's channels of what it makes, or of graph input old + (number of source tensors).
    """

    old: int
    group: int = -1
    joins: bool = False
    copies: bool = False


@dataclass(frozen=True, slots=True)
class _Source:
    """A tensor that no layer makes, or a constant's channels for `group`."""

    old: int
    group: int = -1


_Places = dict[_New | _Source, int]
"""Numbers of the new network's tensors."""


class _Cut:
    def __init__(self, network: Network, groups: int) -> None:
        self._old = network
        self._groups = groups
        self._first = network.source_count
        self._cut = self._found()
        if not self._cut:
            raise ModelError(
                f"{network.name}: no attention can be cut into {groups} groups of heads; expected products of "
                "activations with a multiple of so many heads"
            )

    # What is cut.

    def _found(self) -> frozenset[int]:
        """Layers that are cut: those behind every product that can be, and what goes on channel by channel."""
        found: set[int] = set()
        for number, layer in enumerate(self._old.layers):
            if isinstance(layer.anchor, MatMul) and self._divides(number):
                found |= self._behind(number)
        for number, layer in enumerate(self._old.layers):
            if number not in found and not isinstance(layer.anchor, Contraction) and self._divides(number):
                needed = self._needed(number)
                if needed and all(tensor - self._first in found for tensor in needed):
                    found.add(number)
        return frozenset(found)

    def _behind(self, number: int) -> set[int]:
        """A layer with all behind it that can be cut as it is."""
        waiting, behind = [number], {number}
        while waiting:
            for tensor in self._needed(waiting.pop()):
                maker = tensor - self._first
                if maker >= 0 and maker not in behind and self._divides(maker):
                    behind.add(maker)
                    waiting.append(maker)
        return behind

    def _divides(self, number: int) -> bool:
        """Whether a layer can be cut by channels into the groups."""
        layer = self._old.layers[number]
        anchor, channels = layer.anchor, self._old.tensors[layer.output].channels
        if channels % self._groups:
            return False
        if isinstance(anchor, Contraction):
            return anchor.groups == 1 or anchor.groups % self._groups == 0
        if isinstance(anchor, MatMul):
            return anchor.groups % self._groups == 0
        if isinstance(anchor, Softmax | Normalize):
            return channels // anchor.group % self._groups == 0
        return isinstance(anchor, Window | Move | ChannelReduce)

    def _needed(self, number: int) -> list[int]:
        """Inputs that a layer needs cut as it is itself."""
        layer = self._old.layers[number]
        return [
            tensor
            for place, tensor in enumerate(layer.inputs)
            if not self._reads_whole(layer, place) and self._old.tensors[tensor].channels > 1
        ]

    def _reads_whole(self, layer: Layer, place: int) -> bool:
        return isinstance(layer.anchor, Contraction) and layer.anchor.groups == 1 and place == 0

    # The new network.

    def network(self) -> Network:
        """The network with the layers of each group side by side, in an order of their data."""
        old, order = self._old, self._order()
        read = {source for new in order for source in self._sources(new) if isinstance(source, _Source)}
        sources = [_Source(tensor) for tensor in old.inputs]
        sources += sorted(
            (source for source in read if source.old in old.constants),
            key=lambda item: (item.old, item.group),
        )
        place: _Places = {source: number for number, source in enumerate(sources)}
        place |= {new: len(sources) + position for position, new in enumerate(order)}
        return replace(
            old,
            name=f"{old.name} in {self._groups} groups of heads",
            tensors=tuple(self._tensor(item) for item in place),
            layers=tuple(self._layer(new, place, len(sources)) for new in order),
            inputs=tuple(range(len(old.inputs))),
            outputs=tuple(place[self._whole(tensor - self._first)] for tensor in old.outputs),
            constants={
                place[source]: old.constants[source.old][self._channels(source.old, source.group)]
                for source in sources
                if source.old in old.constants
            },
        )

    def _channels(self, tensor: int, group: int) -> slice:
        width = self._old.tensors[tensor].channels // self._groups
        return slice(None) if group < 0 else slice(width * group, width * (group + 1))

    def _whole(self, number: int) -> _New:
        """The layer that gives out all channels of what an old layer makes."""
        return _New(number, joins=True) if number in self._cut else _New(number)

    def _sources(self, new: _New) -> list[_New | _Source]:
        """What a new layer reads."""
        if new.joins:
            return [_New(new.old, group) for group in range(self._groups)]
        if new.copies:
            return [self._whole(new.old) if new.old >= 0 else _Source(new.old + self._first)]
        layer = self._old.layers[new.old]
        cut = self._needed(new.old) if new.group >= 0 else []
        found: list[_New | _Source] = []
        for place, tensor in enumerate(layer.inputs):
            maker = tensor - self._first
            if tensor not in cut or self._reads_whole(layer, place):
                found.append(self._whole(maker) if maker >= 0 else _Source(tensor))
            elif tensor in self._old.constants:
                found.append(_Source(tensor, new.group))
            else:
                found.append(_New(maker, new.group, copies=maker not in self._cut))
        return found

    def _order(self) -> list[_New]:
        """All new layers in an order of their data, those of a group of heads one after another where that is one."""
        begins = self._begins()
        wanted: set[_New] = set()
        stack = [self._whole(t - self._first) for t in self._old.outputs]
        stack += [self._whole(number) for number in range(len(self._old.layers)) if number not in self._cut]
        while stack:
            new = stack.pop()
            if new not in wanted:
                wanted.add(new)
                stack += [source for source in self._sources(new) if isinstance(source, _New)]
        missing = {new: {s for s in self._sources(new) if isinstance(s, _New)} for new in wanted}
        readers: dict[_New, list[_New]] = {}
        for new, sources in missing.items():
            for source in sources:
                readers.setdefault(source, []).append(new)

        def key(new: _New) -> tuple[int, int, int, int]:
            group = new.group if new.group >= 0 else self._groups
            cut = new.old in self._cut
            return (
                begins.get(new.old, new.old),
                group if cut else 0,
                new.old,
                max(0, new.group) + int(new.joins),
            )

        ready = [(*key(new), new) for new, sources in missing.items() if not sources]
        ready = sorted(ready, key=lambda item: item[:4])
        heap = [(item[:4], count, item[4]) for count, item in enumerate(ready)]
        heapq.heapify(heap)
        count, order = len(heap), []
        while heap:
            new = heapq.heappop(heap)[2]
            order.append(new)
            for reader in readers.get(new, ()):
                missing[reader].discard(new)
                if not missing[reader]:
                    heapq.heappush(heap, (key(reader), count, reader))
                    count += 1
        return order

    def _begins(self) -> dict[int, int]:
        """For every cut layer the first one of those that are cut together with it."""
        parent = {number: number for number in self._cut}

        def root(number: int) -> int:
            while parent[number] != number:
                parent[number] = parent[parent[number]]
                number = parent[number]
            return number

        for number in self._cut:
            for tensor in self._needed(number):
                if tensor - self._first in self._cut:
                    one, other = sorted((root(number), root(tensor - self._first)))
                    parent[other] = one
        return {number: root(number) for number in self._cut}

    def _tensor(self, item: _New | _Source) -> Tensor:
        tensor = self._old.tensors[item.old if isinstance(item, _Source) else self._first + item.old]
        if item.group < 0:
            return tensor
        return replace(
            tensor, name=f"{tensor.name}//heads{item.group}", channels=tensor.channels // self._groups
        )

    def _layer(self, new: _New, place: _Places, sources_count: int) -> Layer:
        sources = tuple(place[source] for source in self._sources(new))
        if new.copies:
            return self._copy(new, sources, place[new])
        old = self._old.layers[new.old]
        twin = None if old.shares is None or new.joins else place.get(replace(new, old=old.shares))
        shares = None if twin is None else twin - sources_count
        if new.joins:
            width = self._old.tensors[old.output].channels // self._groups
            maps = tuple(
                RegionMap(AxisMap(), AxisMap(), AxisMap(offset=-width * group))
                for group in range(self._groups)
            )
            return Layer(f"{old.name}/heads", old.nodes, Concat(), sources, maps, place[new])
        if new.group < 0:
            return replace(old, inputs=sources, output=place[new], shares=shares)
        channels = self._old.tensors[old.output].channels // self._groups
        part = slice(channels * new.group, channels * (new.group + 1))
        return replace(
            old,
            name=f"{old.name}/heads{new.group}",
            anchor=self._anchor(old.anchor),
            inputs=sources,
            maps=tuple(
                replace(region, channels=_part(region.channels, old.anchor, number, channels))
                for number, region in enumerate(old.maps)
            ),
            output=place[new],
            weight=None if old.weight is None else old.weight[part],
            parameters=tuple(vector[part] for vector in old.parameters),
            shares=shares,
        )

    def _copy(self, new: _New, sources: tuple[int, ...], output: int) -> Layer:
        """The channels of a group as a tensor of their own."""
        tensor = self._old.tensors[self._first + new.old]
        width, pixels = tensor.channels // self._groups, tensor.rows * tensor.columns
        nodes = self._old.layers[new.old].nodes if new.old >= 0 else ()
        offset = width * new.group
        anchor = Rearrange((pixels, width), (tensor.channels, 1), offset)
        channels = AxisMap(offset=offset)
        name = f"{tensor.name}/heads{new.group}"
        return Layer(name, nodes, anchor, sources, (RegionMap(AxisMap(), AxisMap(), channels),), output)

    def _anchor(self, anchor: Anchor) -> Anchor:
        if isinstance(anchor, Contraction):
            outputs = anchor.out_channels // self._groups
            if anchor.groups == 1:
                return replace(anchor, out_channels=outputs)
            inputs, groups = anchor.in_channels // self._groups, anchor.groups // self._groups
            return replace(anchor, out_channels=outputs, in_channels=inputs, groups=groups)
        if isinstance(anchor, MatMul):
            return replace(
                anchor, out_channels=anchor.out_channels // self._groups, groups=anchor.groups // self._groups
            )
        return anchor


def _part(channels: AxisMap, anchor: Anchor, place: int, outputs: int) -> AxisMap:
    """The channel map of input `place` of a part with `outputs` channels: the whole's, but where one block is left."""
    if channels.whole or channels.divisor != outputs or channels.divisor == 1:
        return channels
    # A column of the product needs that column of a second operand that is not transposed.
    same = isinstance(anchor, MatMul) and place == 1 and not anchor.transposed
    return AxisMap() if same else AxisMap(whole=True)
