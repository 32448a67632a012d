"""Depth-first tiles: FSRCNN's published counts, compulsory traffic, and the strategy that searches them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.depth_first import MACHINE, MODEL, fitting, tiled
from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from report.verify import verify
from scheduling.bound import bound
from scheduling.candidates.defaults import Defaults
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import CACHE, CACHE_LLB, COLUMNS, RECOMPUTE, Choice
from scheduling.emission.program import program_weights
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.strategies import solve
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.random_cases import checked_program

GMACS = {
    ("cache", 60): 8.363,
    ("cache_columns", 60): 8.688,
    ("recompute", 60): 9.120,
    ("cache", 4): 8.363,
    ("cache_columns", 4): 8.688,
    ("recompute", 4): 15.579,
}
"""10^9 multiply-accumulates of FSRCNN in tiles of so many columns and 72 rows: run with DeFiNES' public code."""

DRAM_MB = {("cache", 60): 8.85, ("cache_columns", 60): 8.95, ("recompute", 60): 9.08, ("cache", 4): 8.85}


@pytest.fixture(scope="module")
def fsrcnn() -> Evaluator:
    return Evaluator(load_model(MODEL, 1, weights=False).network, load_machine(MACHINE))


@pytest.mark.parametrize(("mode", "width"), GMACS)
def test_fsrcnn_computes_what_defines_counts(fsrcnn: Evaluator, mode: str, width: int) -> None:
    _, evaluation = fitting(fsrcnn, tiled(fsrcnn, mode, width, 72))
    assert round(evaluation.counts.macs / 1e9, 3) == GMACS[mode, width]
    if (mode, width) in DRAM_MB:
        assert round(evaluation.counts.dram_bytes / 1e6, 2) == DRAM_MB[mode, width]


def test_cached_tiles_move_the_compulsory_bytes(fsrcnn: Evaluator) -> None:
    """Each input, output and weight once: by hand, and as the bound has it."""
    _, evaluation = fitting(fsrcnn, tiled(fsrcnn, "cache", 60, 72))
    network = fsrcnn.network
    ends = (network.tensors[0], network.tensors[network.outputs[0]])
    maps = sum(t.channels * t.rows * t.columns for t in ends)
    kernels = (1 * 56 * 25, 56 * 12, *4 * [12 * 12 * 9], 12 * 56, 56 * 16 * 9)
    biases = 56 + 12 + 4 * 12 + 56 + 16
    assert evaluation.counts.dram_bytes == maps + sum(kernels) + biases
    assert evaluation.counts.dram_bytes == bound(network, fsrcnn.machine).off_core_bytes


def test_alike_tiles_share_templates(fsrcnn: Evaluator) -> None:
    """1,920 tiles are of two heights (540 rows in 8 parts); the very first one loads the weights too."""
    choice, _ = fitting(fsrcnn, tiled(fsrcnn, "recompute", 4, 72))
    templates = fsrcnn.templates.of((choice,), fsrcnn.arrange((choice,), Rules()))
    assert len(templates) == 1920
    assert len({template.index for template in templates}) == 3


def chain(folder: Path, size: int = 25) -> Path:
    """Four convolutions without padding, the second one strided."""
    graph = GraphBuilder()
    value = graph.input("image", 1, 3, size, size + 6)
    for index, (inputs, outputs, stride) in enumerate(((3, 8, 1), (8, 8, 2), (8, 8, 1), (8, 4, 1))):
        weight = graph.random(outputs, inputs, 3, 3)
        value = graph.node("Conv", value, weight, graph.random(outputs), strides=[stride, stride])
        if index < 3:
            value = graph.node("Relu", value)
    return Path(graph.save(folder, value))


@pytest.mark.parametrize("objective", [Objective.LATENCY, Objective.OFF_CORE, Objective.EDP])
def test_the_strategy_beats_the_default_and_is_right(tmp_path: Path, objective: Objective) -> None:
    machine = load_machine("tiny")
    model = load_model(str(chain(tmp_path)), 1)
    evaluator = Evaluator(model.network, machine)
    problem = Problem(evaluator, CandidateSpace(evaluator), objective, budget=60)
    solution = solve("depth_first", problem)
    assert problem.cost(solution.choices, solution.rules) <= problem.cost(
        Defaults(problem.space).complete(()), Rules()
    )
    assert solution.evaluations <= 60
    _, program = checked_program(evaluator, solution.choices, solution.rules)
    assert verify(model, program, machine, program_weights(model.network)).passed


@pytest.mark.parametrize("axis", [0, COLUMNS])
def test_cached_slices_compute_nothing_twice(tmp_path: Path, axis: int) -> None:
    """With slices of one axis, pieces along the other and cached overlaps, a chain has as many operations, and loads as
    many bytes of its input, as in one piece on a machine where that fits."""
    model = load_model(str(chain(tmp_path)), 1)
    small = Evaluator(model.network, load_machine("tiny"))
    large = Evaluator(model.network, load_machine("tiny").varied(l1=64, weights=64, llb=64))
    cut = {"split_rows": 4} if axis == COLUMNS else {"split_columns": 4}
    whole = large.evaluate((Choice(0, 4),)).counts
    tiles = Choice(0, 4, pieces=8, axis=axis, rule=120, halo=CACHE, keep_weights=1, **cut)
    found = large.evaluate((tiles,)).counts
    assert found.macs == whole.macs
    assert found.dram_bytes == whole.dram_bytes
    again = large.evaluate((tiles._replace(halo=0),)).counts
    assert again.macs > whole.macs and again.dram_read_bytes > whole.dram_read_bytes
    with pytest.raises(IllegalSchedule, match=r"weights \(1024 bytes\) is short by"):
        small.evaluate((tiles,))


def test_overlaps_go_where_there_is_room_for_them() -> None:
    """With a 64th of its L1, `stcp920` caches overlaps in the LLB: they do not fit L1, and cost more made again."""
    model = load_model("dmcnn_vd:rows=48,columns=64,width=16,layers=5", 1)
    machine = load_machine("stcp920").varied(l1=1 / 64)
    evaluator = Evaluator(model.network, machine)
    problem = Problem(evaluator, CandidateSpace(evaluator), Objective.ENERGY, budget=40)
    solution = solve("depth_first", problem)
    first, *others = solution.choices
    assert first.halo == CACHE_LLB
    with pytest.raises(IllegalSchedule, match=r"l1 \(16384 bytes\) is short by"):
        evaluator.evaluate((first._replace(halo=CACHE), *others))
    again = (first._replace(halo=RECOMPUTE), *others)
    assert problem.cost(again, solution.rules) > problem.cost(solution.choices, solution.rules)
    _, program = checked_program(evaluator, solution.choices, solution.rules)
    assert verify(model, program, machine, program_weights(model.network)).passed


def test_what_cannot_be_cut_is_refused_with_a_reason(tmp_path: Path) -> None:
    graph = GraphBuilder()
    value = graph.input("image", 1, 4, 8, 8)
    value = graph.node("Conv", value, graph.random(4, 4, 1, 1), graph.random(4))
    mean = graph.node("GlobalAveragePool", value)
    model = load_model(str(graph.save(tmp_path, mean)), 1)
    evaluator = Evaluator(model.network, load_machine("stcp920"))
    with pytest.raises(IllegalSchedule, match="columns cannot be cut into 2 through layer"):
        evaluator.evaluate((Choice(0, 2, split_columns=2),))
    tiles = Choice(0, 1, split_rows=2, split_columns=2, halo=CACHE)
    with pytest.raises(IllegalSchedule, match="cached along rows or along columns, not both"):
        evaluator.evaluate((tiles, Choice(1, 2)))
    assert np.isfinite(evaluator.evaluate((tiles._replace(halo=0), Choice(1, 2))).cycles)
