"""The breakdown of schedules: by layer and sub-graph, on random networks and a real one, it sums to the makespan."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import Machine, load_machine
from hwmodel.timing.breakdown import IDEAL
from hwmodel.timing.flatten import time_program
from report.breakdown import (
    RECOMPUTED,
    SHOWN_PARTS,
    Breakdown,
    breakdown_summary,
    breakdown_table,
    schedule_breakdown,
)
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import Choice
from scheduling.emission.program import build_program
from scheduling.evaluator import Evaluator
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.strategies import solve
from tests.hwmodel.machine_variants import machine_called
from tests.report.models import small_model
from tests.scheduling.lowering.test_inner_counts import machine_of
from tests.scheduling.random_cases import legal, random_choices, random_model, random_rules


def found(evaluator: Evaluator, choices: tuple[Choice, ...], rules: Rules) -> Breakdown:
    plan = evaluator.arrange(choices, rules)
    program = build_program(evaluator, choices, plan)
    timing = time_program(program, evaluator.machine)
    result = schedule_breakdown(evaluator, choices, plan, program, timing)
    assert result.makespan_cycles == timing.makespan_cycles
    assert (result.cycles >= 0).all()
    return result


CASES = [
    *(("tiny", seed) for seed in range(3)),
    *(("stcp920", seed) for seed in range(2)),
    *(("crowded", seed) for seed in range(2)),
    *((name, 0) for name in ("meta_prototype_df", "tiny-weight-stationary", "tiny-without-llb")),
]


@pytest.mark.parametrize(("machine", "seed"), CASES)
def test_parts_of_a_random_schedule_sum_to_its_makespan(tmp_path: Path, machine: str, seed: int) -> None:
    rng = np.random.default_rng([seed, len(machine)])
    network = load_model(str(random_model(tmp_path, rng)), 3, weights=False).network
    evaluator = Evaluator(network, machine_of("crowded") if machine == "crowded" else machine_called(machine))
    tried = stalls = 0
    for _ in range(20):
        choices, rules = random_choices(evaluator, rng), random_rules(rng)
        if choices is None or not legal(evaluator, choices, rules):
            continue
        result = found(evaluator, choices, rules)
        of_subgraphs = sum(result.of_subgraph(index) for index in range(len(choices)))
        assert np.array_equal(np.asarray(of_subgraphs), result.cycles.sum(axis=0))
        stalls += int(result.cycles[:, SHOWN_PARTS.index("port_stalls")].sum())
        tried += 1
    assert tried > 0
    assert stalls == 0 or machine == "crowded"  # no machine that ships has such ports


@pytest.fixture(scope="module")
def squeezenet() -> Breakdown:
    evaluator = Evaluator(load_model("squeezenet", 4, weights=False).network, load_machine("stcp920"))
    solution = solve("graphturbo", Problem(evaluator, CandidateSpace(evaluator)))
    return found(evaluator, solution.choices, solution.rules)


def test_a_real_network_adds_up(squeezenet: Breakdown) -> None:
    summary = breakdown_summary(squeezenet)
    text = json.loads(json.dumps(summary))
    assert text["cycles"] == sum(text["parts"].values()) == squeezenet.makespan_cycles
    assert list(text["parts"]) == list(SHOWN_PARTS)
    for name in SHOWN_PARTS:
        assert text["parts"][name] == sum(each["parts"][name] for each in text["subgraphs"])
    for each in text["subgraphs"]:
        for name in SHOWN_PARTS:
            layers = each["layers"].values()
            assert each["parts"][name] == sum(layer.get(name, 0) for layer in layers)
    assert text["parts"]["launch"] % 30_000 == 0


def test_the_table_has_a_row_for_each_sub_graph_and_one_for_all(squeezenet: Breakdown) -> None:
    first, layers = breakdown_table(squeezenet).split("\n\n")
    rows = first.splitlines()[4:]
    assert len(rows) == len(squeezenet.choices) + 1
    assert f"{squeezenet.makespan_cycles:,}" in rows[-1]
    assert len(layers.splitlines()) == 3 + 10


def test_cores_that_share_rows_compute_the_halo_twice(tmp_path: Path) -> None:
    """Two 3 x 3 convolutions on 8 x 8 images, four cores sharing the rows: for two rows of the second the cores need
    3, 4, 4 and 3 of the first, 14 in all, 6 of them again; nothing else is computed twice."""
    network = load_model(str(small_model(tmp_path)), 4, weights=False).network
    machine: Machine = load_machine("stcp920")
    evaluator = Evaluator(network, machine)
    layers = len(network.layers)
    alone = found(evaluator, (Choice(0, 2, ways_rows=4), Choice(2, layers)), Rules())
    ideal, again = alone.cycles[0, IDEAL], alone.cycles[0, RECOMPUTED]
    assert again == (ideal + again) * 6 // 14
    assert alone.cycles[1:, RECOMPUTED].sum() == 0
    whole = found(evaluator, (Choice(0, 2, ways_batch=4), Choice(2, layers)), Rules())
    assert whole.cycles[:, RECOMPUTED].sum() == 0
