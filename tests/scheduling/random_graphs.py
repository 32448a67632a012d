"""Random directed acyclic networks, for tests of orders, partitions and residence."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.graph.onnx_helpers import GraphBuilder


def random_graph_model(folder: Path, rng: np.random.Generator, layers: int) -> Path:
    """A network of `layers` or a few more layers over 4 x 4 pixels: each reads one, two or three earlier tensors, by a
    convolution or a pooling of one, or a concatenation; what nobody reads is an output, and so are some others."""
    graph = GraphBuilder()
    channels = {graph.input("image", 1, 3, 4, 4): 3}
    read: set[str] = set()
    for _ in range(layers):
        names = sorted(channels)
        count = min(int(rng.choice([1, 1, 2, 3])), len(names))
        sources = [str(name) for name in rng.choice(names, count, replace=False)]
        read.update(sources)
        if count > 1:
            value = graph.node("Concat", *sources, axis=1)
            channels[value] = sum(channels[source] for source in sources)
        elif rng.integers(3):
            made = int(rng.integers(1, 9))
            weight = graph.random(made, channels[sources[0]], 1, 1)
            value = graph.node("Conv", sources[0], weight)
            channels[value] = made
        else:
            value = graph.node("MaxPool", sources[0], kernel_shape=[1, 1])
            channels[value] = channels[sources[0]]
    made_here = [name for name in channels if name != "image"]
    outputs = [name for name in made_here if name not in read or rng.random() < 0.15]
    return Path(graph.save(folder, *outputs))
