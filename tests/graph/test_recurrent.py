"""Recurrent layers, unrolled: both ways of a bidirectional one together, states given or not, and soon."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from graph.importer import load_model
from graph.primitives import Contraction, Rearrange
from tests.graph.checking import check_model
from tests.graph.onnx_helpers import GraphBuilder
from tests.graph.slices import first_row_elements

_GATES = {"LSTM": 4, "GRU": 3}


def recurrent(kind: str, direction: str, batch: int, states: str) -> tuple[GraphBuilder, tuple[str, ...]]:
    """Five steps of 3 features to 4, the initial states absent, constant or inputs; all outputs."""
    builder = GraphBuilder()
    ways, gates, count = (
        (2 if direction == "bidirectional" else 1),
        _GATES[kind],
        (2 if kind == "LSTM" else 1),
    )
    x = builder.node("Transpose", builder.input("x", batch, 5, 3), perm=[1, 0, 2])
    first: list[str] = []
    for index in range(count if states else 0):
        if states == "constant":
            # The same for every image.
            first.append(builder.node("Expand", builder.random(ways, 1, 4), builder.integers(ways, batch, 4)))
        else:
            given = builder.input(f"state{index}", batch, ways, 4)
            first.append(builder.node("Transpose", given, perm=[1, 0, 2]))
    weights = [
        builder.random(ways, gates * 4, 3),
        builder.random(ways, gates * 4, 4),
        builder.random(ways, gates * 8),
    ]
    outputs = builder.nodes_of(
        kind, 1 + count, x, *weights, *(["", *first] if first else []), hidden_size=4, direction=direction
    )
    rows = builder.node("Transpose", outputs[0], perm=[2, 0, 1, 3])
    return builder, (rows, *(builder.node("Transpose", final, perm=[1, 0, 2]) for final in outputs[1:]))


@pytest.mark.parametrize("states", ["", "constant", "input"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_states_and_batches(kind: str, direction: str, batch: int, states: str, tmp_path: Path) -> None:
    builder, outputs = recurrent(kind, direction, batch, states)
    check_model(load_model(builder.save(tmp_path, *outputs), batch=2))


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_both_ways_take_their_steps_together(kind: str, tmp_path: Path) -> None:
    counts = []
    for direction in ("forward", "bidirectional"):
        builder, outputs = recurrent(kind, direction, 1, "")
        layers = load_model(builder.save(tmp_path, outputs[0])).network.layers
        counts.append(
            [sum(isinstance(layer.anchor, anchor) for layer in layers) for anchor in (Contraction, Rearrange)]
        )
    assert counts[0][0] == counts[1][0]
    # The way back of the inputs; in the end, the parts of the two ways.
    assert counts[1][1] - counts[0][1] <= 3


def test_a_row_needs_a_part_of_a_long_sequence(tmp_path: Path) -> None:
    """Both ways of a step are one row of the inputs' share, and what is turned round is so in runs of rows."""
    builder = GraphBuilder()
    x = builder.node("Transpose", builder.input("x", 1, 140, 1000), perm=[1, 0, 2])
    weights = [builder.random(2, 16, 1000), builder.random(2, 16, 4)]
    y = builder.node("LSTM", x, *weights, hidden_size=4, direction="bidirectional")
    network = load_model(builder.save(tmp_path, builder.node("ReduceSum", y, builder.integers(1)))).network
    assert network.tensors[0].elements > 2 * 2**16
    assert max(first_row_elements(network, layer) for layer in network.layers) <= 2**16


def test_a_long_loop_is_read_soon() -> None:
    began = time.process_time()
    network = load_model("lstm:sequence=250,layers=1,width=256", weights=False).network
    assert len(network.layers) > 1700
    assert time.process_time() - began < 3.0
