"""Which tensors hold decisions."""

from pathlib import Path

from graph.importer import load_model
from report.decided import decided_tensors
from tests.graph.onnx_helpers import GraphBuilder


def test_comparisons_and_what_is_made_of_them_alone(tmp_path: Path) -> None:
    """A comparison, its maximum over places, and it times a constant; not where numbers come in again."""
    graph = GraphBuilder(14)
    x = graph.input("x", 1, 4, 6, 6)
    scores = graph.node("MaxPool", x, kernel_shape=[2, 2])
    above = graph.node("Cast", graph.node("Greater", scores, graph.number(0.5)), to=1)
    most = graph.node("MaxPool", above, kernel_shape=[2, 2])
    kept = graph.node("MaxPool", graph.node("Mul", scores, above), kernel_shape=[2, 2])
    rounded = graph.node("Round", graph.node("MaxPool", x, kernel_shape=[3, 3]))
    first = graph.node("Cast", graph.node("ArgMin", scores, axis=1), to=1)
    network = load_model(graph.save(tmp_path, most, kept, rounded, first)).network
    names = {tensor.name: number for number, tensor in enumerate(network.tensors)}
    found = decided_tensors(network)
    assert {names[most], names[rounded], names[first]} <= found
    assert not {names["x"], names[scores], names[kept]} & found
