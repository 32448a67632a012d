"""The footprint of the rings, found from the key of the order, against the layout of the operations in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.choice import CHANNELS, ROWS, Choice
from scheduling.evaluator import Evaluator
from scheduling.lowering.footprint import ring_footprint
from scheduling.lowering.geometry import geometry
from scheduling.lowering.operations import order_operations, place
from scheduling.lowering.planning import check_axes
from scheduling.lowering.tiling import LEGAL
from tests.scheduling.random_cases import random_model

NO_LIMIT = 1 << 60


def random_choice(evaluator: Evaluator, rng: np.random.Generator) -> Choice:
    layers = len(evaluator.network.layers)
    first = int(rng.integers(layers))
    ways = [int(rng.choice([1, 1, 2, 4])) for _ in range(3)]
    return Choice(
        first,
        int(rng.integers(first + 1, layers + 1)),
        int(rng.choice([1, 2, 4])),
        int(rng.choice([1, 1, 2, 3])),
        *ways,
        int(rng.choice([1, 2, 3, 5, 14])),
        int(rng.choice([ROWS, ROWS, CHANNELS])),
        int(rng.choice([0, 1, 7, 10, 20, 33, 40, 100])),
        1,
        int(rng.choice([1, 1, 2])),
    )


def test_footprint_is_the_peak_of_the_layout(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    machine = load_machine("tiny")
    streamed, exchanged = 0, 0
    for case in range(16):
        folder = tmp_path / str(case)
        folder.mkdir()
        evaluator = Evaluator(load_model(str(random_model(folder, rng)), 4).network, machine)
        table, m = evaluator.table, evaluator.machine_table
        for _ in range(60):
            choice = random_choice(evaluator, rng)
            if check_axes(table, choice)[0] != LEGAL:
                continue
            part, column_part = rng.integers(choice.split_rows), rng.integers(choice.split_columns)
            geo = geometry(table, choice, part, column_part)
            operations = order_operations(table, choice, geo)
            peak = place(table, choice, geo, *operations, m.element_bytes, m.l1_bytes).peak_bytes
            assert ring_footprint(table, choice, geo, m.element_bytes, NO_LIMIT) == peak
            below = ring_footprint(table, choice, geo, m.element_bytes, peak - 1)
            assert peak - 1 < below <= peak
            streamed += choice.pieces > 1 and choice.axis == ROWS
            exchanged += choice.ways_channels > 1
    assert streamed > 100 and exchanged > 100
