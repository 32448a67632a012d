"""A plain graph of operators and the tensors between them: what the exact methods work on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from graph.network import Network
from scheduling.exact.errors import GraphError

INPUT = -1
"""Producer of a tensor that no operator makes."""


@dataclass(frozen=True, slots=True)
class OperatorGraph:
    """N operators in a topological order (the file's) and T tensors.

    `producer[t]` is an operator or INPUT; `consumers[t]` are operators, ascending. An operator makes any number
    of tensors. A tensor in `outputs` is the user's, others are of no use after their last consumer. Weights are
    no tensors here. Raises GraphError where sizes, indices or the order contradict.
    """

    names: tuple[str, ...]
    tensor_bytes: tuple[int, ...]
    producer: tuple[int, ...]
    consumers: tuple[tuple[int, ...], ...]
    outputs: frozenset[int] = frozenset()
    reads: tuple[tuple[int, ...], ...] = field(init=False)
    """(N,) tensors that each operator needs, each once."""
    makes: tuple[tuple[int, ...], ...] = field(init=False)
    """(N,) tensors that each operator writes."""

    def __post_init__(self) -> None:
        count, tensors = len(self.names), len(self.tensor_bytes)
        if not len(self.producer) == len(self.consumers) == tensors:
            raise GraphError(
                f"{tensors} sizes, {len(self.producer)} producers, {len(self.consumers)} consumers"
            )
        if not all(0 <= tensor < tensors for tensor in self.outputs):
            raise GraphError(f"outputs {sorted(self.outputs)} of {tensors} tensors")
        reads: list[list[int]] = [[] for _ in range(count)]
        makes: list[list[int]] = [[] for _ in range(count)]
        for tensor, (size, maker) in enumerate(zip(self.tensor_bytes, self.producer, strict=True)):
            users = self.consumers[tensor]
            if size < 0:
                raise GraphError(f"tensor {tensor} has {size} bytes")
            if list(users) != sorted(set(users)) or not all(maker < user < count for user in users):
                raise GraphError(f"tensor {tensor} of operator {maker} has consumers {users}: not in order")
            if not INPUT <= maker < count:
                raise GraphError(f"tensor {tensor} is made by operator {maker} of {count}")
            if maker != INPUT:
                makes[maker].append(tensor)
            for user in users:
                reads[user].append(tensor)
        object.__setattr__(self, "reads", tuple(map(tuple, reads)))
        object.__setattr__(self, "makes", tuple(map(tuple, makes)))

    @property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """(N,) operators whose tensors each operator reads, ascending."""
        return tuple(tuple(sorted({self.producer[t] for t in tensors} - {INPUT})) for tensors in self.reads)

    @property
    def working_set_bytes(self) -> tuple[int, ...]:
        """(N,) bytes of what each operator reads and writes; the largest is M_R, below which nothing runs."""
        return tuple(
            sum(self.tensor_bytes[t] for t in (*reads, *makes))
            for reads, makes in zip(self.reads, self.makes, strict=True)
        )

    @property
    def compulsory_bytes(self) -> int:
        """Bytes that cross the border of any memory: each input that is used read once, each output written once."""
        return sum(
            size * ((maker == INPUT and bool(users)) + (maker != INPUT and tensor in self.outputs))
            for tensor, (size, maker, users) in enumerate(
                zip(self.tensor_bytes, self.producer, self.consumers, strict=True)
            )
        )


def operator_graph(network: Network, element_bytes: int) -> OperatorGraph:
    """The layers of a network as operators, at its batch, with `element_bytes` per element.

    Constants that layers read lie in DRAM like weights, and are not counted.
    """
    if element_bytes < 1:
        raise GraphError(f"elements of {element_bytes} bytes")
    position = {t: i for i, t in enumerate(counted_tensors(network))}
    consumers: list[set[int]] = [set() for _ in position]
    producer = [INPUT] * len(position)
    for index, layer in enumerate(network.layers):
        producer[position[layer.output]] = index
        for tensor in layer.inputs:
            if tensor in position:
                consumers[position[tensor]].add(index)
    return OperatorGraph(
        names=tuple(layer.name for layer in network.layers),
        tensor_bytes=tuple(network.tensors[t].elements * network.batch * element_bytes for t in position),
        producer=tuple(producer),
        consumers=tuple(tuple(sorted(users)) for users in consumers),
        outputs=frozenset(position[t] for t in network.outputs if t in position),
    )


def counted_tensors(network: Network) -> list[int]:
    """The network's tensors that `operator_graph` numbers from 0 on: all but constants."""
    return [t for t in range(len(network.tensors)) if t not in network.constants]


def edge_graph(edges: Mapping[tuple[str, str], int]) -> OperatorGraph:
    """A graph with a tensor of its own on every edge (producer, consumer): bytes. Operators in order of mention
    by a producer before a consumer; raises GraphError for a cycle."""
    waiting = dict.fromkeys(name for edge in edges for name in edge)
    names: list[str] = []
    while waiting:
        free = [name for name in waiting if not any(b == name and a in waiting for a, b in edges)]
        if not free:
            raise GraphError(f"a cycle among {', '.join(waiting)}")
        names.append(free[0])
        del waiting[free[0]]
    index = {name: i for i, name in enumerate(names)}
    return OperatorGraph(
        names=tuple(names),
        tensor_bytes=tuple(edges.values()),
        producer=tuple(index[a] for a, _ in edges),
        consumers=tuple((index[b],) for _, b in edges),
    )


def part(graph: OperatorGraph, operators: Iterable[int]) -> OperatorGraph:
    """The graph of some of the operators: what they read from others is an input, what others or the user read of
    them is an output, and so is an input that others outside read later than the first of the part."""
    chosen = sorted(set(operators))
    index = {operator: i for i, operator in enumerate(chosen)}
    tensors = [
        t
        for t in range(len(graph.tensor_bytes))
        if graph.producer[t] in index or any(user in index for user in graph.consumers[t])
    ]
    outputs = (
        i
        for i, t in enumerate(tensors)
        if t in graph.outputs or any(user not in index and user > chosen[0] for user in graph.consumers[t])
    )
    return OperatorGraph(
        names=tuple(graph.names[operator] for operator in chosen),
        tensor_bytes=tuple(graph.tensor_bytes[t] for t in tensors),
        producer=tuple(index.get(graph.producer[t], INPUT) for t in tensors),
        consumers=tuple(tuple(index[user] for user in graph.consumers[t] if user in index) for t in tensors),
        outputs=frozenset(outputs),
    )


def ancestors(graph: OperatorGraph) -> list[int]:
    """(N,) bit masks: the operators that must run before each."""
    masks: list[int] = []
    for before in graph.predecessors:
        mask = 0
        for operator in before:
            mask |= masks[operator] | 1 << operator
        masks.append(mask)
    return masks


def peak_bytes(graph: OperatorGraph, order: Sequence[int]) -> int:
    """Largest number of live bytes when the operators run one at a time in `order`.

    While an operator runs, what it reads and writes is live, besides every tensor that exists and is still to be
    read or is an output. Inputs exist from the start. Raises GraphError for an order that is no permutation or
    runs an operator before what it reads exists.
    """
    if sorted(order) != list(range(len(graph.names))):
        raise GraphError(f"an order of {len(graph.names)} operators names each once")
    left = [len(users) for users in graph.consumers]
    exists = [maker == INPUT for maker in graph.producer]
    live = sum(
        size for t, size in enumerate(graph.tensor_bytes) if exists[t] and (left[t] or t in graph.outputs)
    )
    peak = live
    for operator in order:
        for tensor in graph.makes[operator]:
            exists[tensor] = True
            live += graph.tensor_bytes[tensor]
        peak = max(peak, live)
        for tensor in graph.reads[operator]:
            if not exists[tensor]:
                raise GraphError(f"{graph.names[operator]} runs before tensor {tensor} exists")
            left[tensor] -= 1
        for tensor in (*graph.reads[operator], *graph.makes[operator]):
            if not left[tensor] and tensor not in graph.outputs:
                live -= graph.tensor_bytes[tensor]
    return peak
