"""The order of layers: sub-graphs are runs of layers in it, so it decides which layers can share a kernel, and what
waits in memory meanwhile. Every partition into convex sub-graphs is a list of runs in some topological order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from graph.network import Network
from scheduling.errors import IllegalSchedule

Order = tuple[int, ...]
"""Layers by their number in the file's order; empty for that order itself."""


def in_order(network: Network, order: Sequence[int]) -> Network:
    """The network with its layers in another order; raises IllegalSchedule where that is none, or a layer would come
    before what it reads."""
    if not order:
        return network
    if sorted(order) != list(range(len(network.layers))):
        raise IllegalSchedule(
            f"an order of {len(order)} layers is no order of the network's {len(network.layers)}"
        )
    sources = network.source_count
    number = {old: new for new, old in enumerate(order)}
    place = {sources + old: sources + new for old, new in number.items()}
    for new, old in enumerate(order):
        for tensor in network.layers[old].inputs:
            if place.get(tensor, -1) >= sources + new:
                raise IllegalSchedule(
                    f"layer {network.layers[old].name} comes before {network.tensors[tensor].name}, which it reads"
                )
    layers = tuple(
        replace(
            network.layers[old],
            inputs=tuple(place.get(tensor, tensor) for tensor in network.layers[old].inputs),
            output=sources + new,
            shares=_renumbered(number, network.layers[old].shares),
        )
        for new, old in enumerate(order)
    )
    tensors = (*network.tensors[:sources], *(network.tensors[sources + old] for old in order))
    outputs = tuple(place.get(tensor, tensor) for tensor in network.outputs)
    return replace(network, tensors=tensors, layers=layers, outputs=outputs)


def order_of_blocks(network: Network, blocks: Sequence[Collection[int]]) -> Order:
    """An order in which every block of a partition of the layers is a run: the blocks one after the other, each behind
    those that it reads from, then as in the file. Raises IllegalSchedule where the blocks are no partition, or read
    from each other in a circle, which is so where one of them is not convex."""
    if sorted(layer for block in blocks for layer in block) != list(range(len(network.layers))):
        raise IllegalSchedule(f"{len(blocks)} blocks do not hold each of {len(network.layers)} layers once")
    block_of = {layer: number for number, block in enumerate(blocks) for layer in block}
    reads: list[set[int]] = [set() for _ in blocks]
    for layer, sources in enumerate(producers_of(network)):
        reads[block_of[layer]].update(block_of[source] for source in sources)
    left = sorted(range(len(blocks)), key=lambda number: min(blocks[number]))
    order: list[int] = []
    placed: set[int] = set()
    while left:
        ready = next((number for number in left if reads[number] <= placed | {number}), None)
        if ready is None:
            name = network.layers[min(blocks[left[0]])].name
            raise IllegalSchedule(f"the block of layer {name} reads, through others, what itself makes")
        left.remove(ready)
        placed.add(ready)
        order += sorted(blocks[ready])
    return tuple(order)


def _renumbered(number: dict[int, int], layer: int | None) -> int | None:
    return None if layer is None else number[layer]


def breadth_first(network: Network) -> Order:
    """By the longest way from an input, then as in the file."""
    depth: list[int] = []
    for producers in producers_of(network):
        depth.append(1 + max((depth[layer] for layer in producers), default=0))
    return tuple(sorted(range(len(depth)), key=lambda layer: (depth[layer], layer)))


def depth_first(network: Network) -> Order:
    """A stack of layers whose inputs are there; what has just become ready goes first, as in the file."""
    ready = _Ready(network)
    stack = ready.first[::-1]
    order = []
    while stack:
        layer = stack.pop()
        order.append(layer)
        stack += reversed(ready.after(layer))
    return tuple(order)


def least_live(network: Network) -> Order:
    """List scheduling: always the ready layer after which the fewest elements are live; then one that reads what was
    just made; then as in the file."""
    ready = _Live(network)
    waiting, order = list(ready.first), list[int]()
    last = -1
    while waiting:
        *_, last = min((ready.growth(layer), last not in ready.producers[layer], layer) for layer in waiting)
        waiting.remove(last)
        order.append(last)
        waiting += ready.after(last)
    return tuple(order)


def balanced(network: Network, matrix: Sequence[float], vector: Sequence[float]) -> Order:
    """List scheduling by live elements and engine skew: the ready layer with the least sum of its growth of live
    elements, over the largest tensor, and of how far the matrix and the vector engine then are from having done the
    same share of their work, in layers. `matrix`, `vector` (L,): cycles of each layer."""
    ready = _Live(network)
    layers = len(network.layers)
    each = [
        m / max(1.0, sum(matrix)) - v / max(1.0, sum(vector)) for m, v in zip(matrix, vector, strict=True)
    ]
    waiting, order = list(ready.first), list[int]()
    skew = 0.0
    while waiting:
        _, best = min(
            (ready.growth(layer) / ready.largest + layers * abs(skew + each[layer]), layer)
            for layer in waiting
        )
        waiting.remove(best)
        order.append(best)
        skew += each[best]
        waiting += ready.after(best)
    return tuple(order)


RULES: dict[str, Callable[[Network], Order]] = {
    "file": lambda network: (),
    "breadth_first": breadth_first,
    "depth_first": depth_first,
    "least_live": least_live,
}
"""Orders that are made by rule, the file's first."""


def rule_orders(network: Network) -> list[Order]:
    """All distinct orders of RULES."""
    file = tuple(range(len(network.layers)))
    return list(
        dict.fromkeys(() if order == file else order for order in (rule(network) for rule in RULES.values()))
    )


def producers_of(network: Network) -> list[list[int]]:
    """Per layer, the layers whose outputs it reads, ascending, each once."""
    sources = network.source_count
    return [
        sorted({tensor - sources for tensor in layer.inputs if tensor >= sources}) for layer in network.layers
    ]


class _Ready:
    """Which layers may run: `first` those that read no other, `after` what a layer that has run makes ready."""

    def __init__(self, network: Network) -> None:
        self.producers = producers_of(network)
        self._missing = [len(producers) for producers in self.producers]
        self._consumers: list[list[int]] = [[] for _ in self.producers]
        for layer, producers in enumerate(self.producers):
            for source in producers:
                self._consumers[source].append(layer)
        self.first = [layer for layer, missing in enumerate(self._missing) if not missing]

    def after(self, layer: int) -> list[int]:
        """Layers that have become ready, ascending."""
        found = []
        for consumer in self._consumers[layer]:
            self._missing[consumer] -= 1
            if not self._missing[consumer]:
                found.append(consumer)
        return found


class _Live(_Ready):
    """Also how many elements are live: made, and an output or still to be read. `largest`: of one tensor."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self._made = [network.tensors[layer.output].elements for layer in network.layers]
        self._kept = {tensor - network.source_count for tensor in network.outputs}
        self._readers = [0] * len(network.layers)
        for producers in self.producers:
            for layer in producers:
                self._readers[layer] += 1
        self.largest = max(self._made)

    def growth(self, layer: int) -> int:
        """Live elements that a layer adds when it runs next: what it makes, less what nobody else reads later."""
        freed = sum(
            self._made[source]
            for source in self.producers[layer]
            if self._readers[source] == 1 and source not in self._kept
        )
        return self._made[layer] - freed

    def after(self, layer: int) -> list[int]:
        """Layers that have become ready, ascending."""
        for source in self.producers[layer]:
            self._readers[source] -= 1
        return super().after(layer)
