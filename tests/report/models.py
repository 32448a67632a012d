"""Small ONNX models for the tests of reports and of the command."""

from __future__ import annotations

from pathlib import Path

from tests.graph.onnx_helpers import GraphBuilder


def small_model(folder: Path, channels: int = 8) -> Path:
    """Two convolutions with a residual addition, a pool, and a classifier with softmax, on 8 x 8 images."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 3, 8, 8)
    first = graph.node(
        "Conv", image, graph.random(channels, 3, 3, 3), graph.random(channels), pads=[1, 1, 1, 1]
    )
    one = graph.node("Relu", first)
    second = graph.node("Conv", one, graph.random(channels, channels, 3, 3), pads=[1, 1, 1, 1])
    two = graph.node("Relu", graph.node("Add", second, one))
    pooled = graph.node("MaxPool", two, kernel_shape=[2, 2], strides=[2, 2])
    mean = graph.node("GlobalAveragePool", pooled)
    flat = graph.node("Flatten", mean)
    scores = graph.node("Gemm", flat, graph.random(10, channels), graph.random(10), transB=1)
    return Path(graph.save(folder, graph.node("Softmax", scores, axis=1)))
