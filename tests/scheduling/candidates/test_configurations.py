"""Configurations are all legal ones, the oracle is the least of them, and ranker files are checked."""

import json
import struct
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.candidates.configurations import FEATURES, PIECES, configurations, features
from scheduling.candidates.estimate import estimate
from scheduling.candidates.ranker import FORMAT, KEY, parse_ranker, read_ranker, shipped_ranker
from scheduling.choice import Choice
from scheduling.errors import ScheduleError
from scheduling.lowering.tiling import LEGAL
from tests.scheduling.strategies.test_strategies import problem_of
from tests.scheduling.test_layer_order import branches


def test_configurations_are_the_legal_ones_of_all(tmp_path: Path) -> None:
    problem = problem_of(load_model(branches(tmp_path), 2).network, load_machine("tiny"))
    evaluator = problem.evaluator
    for given in (Choice(0, 1), Choice(1, 3), Choice(5, 6, split_batch=2)):
        found = configurations(evaluator, given)
        choices = [found.choice(i) for i in range(len(found.choices))]
        assert len(set(choices)) == len(choices) > 0
        assert {(c.first, c.stop, c.split_batch) for c in choices} == {given[:3]}
        for batch, rows, channels, pieces in product((1, 2), (1, 2), (1, 2), PIECES):
            plain = given._replace(ways_batch=batch, ways_rows=rows, ways_channels=channels, pieces=pieces)
            legal = estimate(evaluator.table, evaluator.machine_table, plain).status == LEGAL
            assert (plain in choices) == (legal and batch * rows * channels <= 2)


def test_features_are_finite_and_ratios(tmp_path: Path) -> None:
    problem = problem_of(load_model(branches(tmp_path), 2).network, load_machine("tiny"))
    seen = features(problem.evaluator, configurations(problem.evaluator, Choice(1, 4)))
    assert seen.shape[1] == len(FEATURES) and seen.dtype == np.float32
    assert np.isfinite(seen).all()
    assert seen[:, 0].min() == 0  # cycles over the least


def test_the_ranker_that_ships_scores_every_configuration(tmp_path: Path) -> None:
    problem = problem_of(load_model(branches(tmp_path), 2).network, load_machine("tiny"))
    found = configurations(problem.evaluator, Choice(0, 2))
    order = shipped_ranker().order(problem.evaluator, found)
    assert sorted(order.tolist()) == list(range(len(found.choices)))


def ranker_bytes(
    features: tuple[str, ...] = FEATURES, width: int = len(FEATURES), value: float = 0.5
) -> bytes:
    tensors = {
        "0.weight": np.full((3, width), value, np.float32),
        "0.bias": np.zeros(3, np.float32),
        "1.weight": np.ones((1, 3), np.float32),
        "1.bias": np.ones(1, np.float32),
    }
    return save(tensors, {KEY: json.dumps({"format": FORMAT, "features": list(features)})})


def test_a_ranker_is_a_sum_through_relus() -> None:
    ranker, _ = parse_ranker(ranker_bytes(), "file")
    inputs = np.ones((2, len(FEATURES)), np.float32)
    inputs[1] *= -1
    assert ranker.scores(inputs).tolist() == [1 + 3 * 0.5 * len(FEATURES), 1.0]


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "is no ranker"),
        (struct.pack("<Q", 4) + b"[1]x", "is no ranker"),
        (ranker_bytes(features=("one",)), "other features"),
        (ranker_bytes(width=3), "layer 0"),
        (ranker_bytes(value=float("nan")), "layer 0"),
    ],
)
def test_other_files_are_refused_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(ScheduleError, match=f"^file: .*{message}"):
        parse_ranker(data, "file")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScheduleError, match="cannot be read"):
        read_ranker(tmp_path / "none.safetensors")
