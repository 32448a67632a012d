"""The plan of an instance: what is known of its L1 footprint before it is laid out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.candidates.estimate import estimate
from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.lowering.planning import least_l1_bytes, plan_instance
from scheduling.lowering.tiling import LEGAL, SHORT_L1
from scheduling.rules import Rules
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.random_cases import random_model


def test_no_layout_takes_less_than_the_least_l1_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    machine = load_machine("tiny")
    reached, rejected = 0, 0
    for case in range(12):
        folder = tmp_path / str(case)
        folder.mkdir()
        evaluator = Evaluator(load_model(str(random_model(folder, rng)), 4).network, machine)
        table, m = evaluator.table, evaluator.machine_table
        layers = len(evaluator.network.layers)
        for _ in range(40):
            first = int(rng.integers(layers))
            stop = int(rng.integers(first + 1, layers + 1))
            ways = (int(rng.integers(1, 3)), 1, 1) if rng.integers(2) else (1, int(rng.integers(1, 3)), 1)
            pieces = int(rng.choice([1, 1, 3, 5]))
            choice = Choice(first, stop, int(rng.choice([1, 2, 4])), 1, *ways, pieces)
            _, _, _, geo, plan, _ = plan_instance(table, m, choice, 0, 0)
            least = least_l1_bytes(table, choice, geo, m.element_bytes)
            assert least <= plan.peak_bytes
            reached += least == plan.peak_bytes
            if least > m.l1_bytes:
                rejected += 1
                assert estimate(table, m, choice).status != LEGAL
    assert reached > 50 and rejected > 50


def test_a_layer_alone_takes_its_input_and_its_output(tmp_path: Path) -> None:
    """One layer in one piece: nothing can be freed before it has run, so the bound is the footprint."""
    model = load_model(str(random_model(tmp_path, np.random.default_rng(1))), 2)
    evaluator = Evaluator(model.network, load_machine("tiny"))
    table, m = evaluator.table, evaluator.machine_table
    for layer in range(len(evaluator.network.layers)):
        choice = Choice(layer, layer + 1)
        status, _, short, geo, plan, _ = plan_instance(table, m, choice, 0, 0)
        assert least_l1_bytes(table, choice, geo, m.element_bytes) == plan.peak_bytes
        if status == SHORT_L1:
            assert short == plan.peak_bytes - m.l1_bytes


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (
            Choice(0, 1, 2, ways_batch=2),
            "2 slices of the batch in 2 ways each are more slices than images (3 in the",
        ),
        (Choice(0, 1, ways_channels=2), "2 channel ways are more than the channels of layer"),
    ],
)
def test_more_ways_than_there_is_to_share(tmp_path: Path, choice: Choice, reason: str) -> None:
    """Three images of one channel: what they cannot be shared by is said."""
    graph = GraphBuilder()
    path = graph.save(tmp_path, graph.node("Relu", graph.input("x", 1, 1, 4, 4)))
    evaluator = Evaluator(load_model(str(path), 3, weights=False).network, load_machine("tiny"))
    with pytest.raises(IllegalSchedule) as caught:
        evaluator.evaluate((choice,), Rules())
    assert reason in str(caught.value)
