"""RandWire: stages wired as random graphs (Xie et al. 2019, arXiv:1904.01569), Watts-Strogatz by default WS(4, 0.75).

The small regime of the paper's Table 1 (78 channels, 583 MMAC, 5.6 M parameters) or the regular one (109 channels,
4.0 GMAC, 31.9 M), for ImageNet. The graph depends on `seed` only.
"""

from __future__ import annotations

import random

import onnx

from graph.errors import ModelError
from graph.models.builder import Builder, Tensor
from graph.models.parameters import Family, Parameter, choice

_HEAD = 1280


def randwire(
    *,
    regime: str,
    channels: int,
    nodes: int,
    neighbours: int,
    probability: float,
    seed: int,
    size: int,
    classes: int,
) -> onnx.ModelProto:
    """Logits (1, classes) of an image (1, 3, size, size)."""
    least = nodes if regime == "small" else nodes // 2
    if neighbours % 2 or neighbours >= least:
        raise ModelError(
            f"model 'randwire': parameter 'neighbours' is {neighbours}; expected an even number below {least} "
            "(the nodes of the smallest stage)"
        )
    net, generator = Builder("randwire"), random.Random(seed)
    x = net.conv_norm(net.input("image", 1, 3, size, size), "stem0", max(1, channels // 2), 3, stride=2)
    if regime == "small":
        x = net.conv_norm(net.relu(x, "stem1/relu"), "stem1", channels, 3, stride=2)
        stages = [(nodes, channels), (nodes, 2 * channels), (nodes, 4 * channels)]
    else:
        stages = [(nodes // 2, channels), *((nodes, factor * channels) for factor in (2, 4, 8))]
    for index, (count, width) in enumerate(stages):
        edges = watts_strogatz(count, neighbours, probability, generator)
        x = _stage(net, x, f"stage{index}", count, edges, width)
    x = net.conv_norm_relu(net.relu(x, "head/before"), "head", _HEAD, 1)
    return net.model(net.classifier(x, "classifier", classes))


def watts_strogatz(
    nodes: int, neighbours: int, probability: float, generator: random.Random
) -> list[tuple[int, int]]:
    """Edges (smaller, larger), sorted: a ring of nodes joined to their neighbours, some edges rewired.

    Every edge that goes clockwise from a node gets another end with `probability`, never a double edge.
    """
    edges = {
        frozenset((node, (node + step) % nodes))
        for step in range(1, neighbours // 2 + 1)
        for node in range(nodes)
    }
    for step in range(1, neighbours // 2 + 1):
        for node in range(nodes):
            if generator.random() >= probability:
                continue
            free = [end for end in range(nodes) if end != node and frozenset((node, end)) not in edges]
            old = frozenset((node, (node + step) % nodes))
            if free and old in edges:
                edges.remove(old)
                edges.add(frozenset((node, generator.choice(free))))
    return sorted((min(edge), max(edge)) for edge in edges)


def _stage(
    net: Builder, x: Tensor, at: str, nodes: int, edges: list[tuple[int, int]], channels: int
) -> Tensor:
    """Nodes without an edge into them read the stage's input with stride 2; those without one out are averaged."""
    sources: list[list[int]] = [[] for _ in range(nodes)]
    for start, end in edges:
        sources[end].append(start)
    results: list[Tensor] = []
    for index, found in enumerate(sources):
        name = f"{at}/node{index}"
        if found:
            results.append(_node(net, _weighted(net, [results[i] for i in found], name), name, channels, 1))
        else:
            results.append(_node(net, x, name, channels, 2))
    ends = [results[index] for index in range(nodes) if all(start != index for start, _ in edges)]
    if len(ends) == 1:
        return ends[0]
    total = net.node("Sum", f"{at}/sum", ends, ends[0].shape)
    return net.mul(total, net.number(1 / len(ends)), f"{at}/mean")


def _weighted(net: Builder, parts: list[Tensor], at: str) -> Tensor:
    """The sum of the parts, each times a number in (0, 1) that training finds: a half here."""
    if len(parts) == 1:
        return parts[0]
    scaled = [net.mul(part, net.number(0.5), f"{at}/edge{index}") for index, part in enumerate(parts)]
    return net.node("Sum", f"{at}/sum", scaled, parts[0].shape)


def _node(net: Builder, x: Tensor, at: str, channels: int, stride: int) -> Tensor:
    x = net.depthwise(net.relu(x, f"{at}/relu"), f"{at}/depthwise", 3, stride=stride)
    return net.batch_norm(net.conv(x, f"{at}/pointwise", channels, 1), f"{at}/norm")


FAMILIES = {
    "randwire": Family(
        randwire,
        "Xie et al. 2019, arXiv:1904.01569 (WS(32, 4, 0.75), small regime)",
        {
            "regime": choice("small", "regular"),
            "channels": Parameter(78, high=4096),
            "nodes": Parameter(32, low=6, high=512),
            "neighbours": Parameter(4, low=2, high=64),
            "probability": Parameter(0.75, low=0, high=1),
            "seed": Parameter(0, low=0, high=2**31 - 1),
            "size": Parameter(224, low=32, high=4096),
            "classes": Parameter(1000, high=2**20),
        },
    )
}
