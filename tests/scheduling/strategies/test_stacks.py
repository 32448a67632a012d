"""Stacks: what bounds leave out is not among the best, against every tile of every way lowered and timed by itself."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import scheduling.strategies.stacks as stacks_module
from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from hwmodel.timing.counts import Counts
from hwmodel.timing.energy import energy_pj
from scheduling.candidates.alike_stacks import AlikeStacks
from scheduling.candidates.defaults import Defaults
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import CACHE, CACHE_DRAM, CACHE_LLB, COLUMNS, RECOMPUTE, RULE_SCALE, Choice
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.lowering.geometry import geometry
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.strategies import solve
from scheduling.strategies.stack_bound import StackBound
from scheduling.strategies.stack_extents import StackExtents, axes
from scheduling.strategies.stacks import Stack, Stacks
from scheduling.templates import Parts
from scheduling.timeline.isolated import lone_cycles
from tests.graph.onnx_helpers import GraphBuilder
from tests.hwmodel.machine_variants import machine_called
from tests.scheduling.random_cases import random_model

MACHINES = (
    "tiny-slow-dram",
    "tiny-without-llb",
    "tiny-output-stationary",
    "tiny-weight-stationary",
    "stcp920",
    "edge_tcm",
    "meta_prototype_df",
    "ascend_multi",
)


def tile_by_tile(evaluator: Evaluator, choice: Choice) -> Stack | None:
    """A way to run a stack with the figures of all its tiles, each lowered; None where it does not fit."""
    kept_in = (RECOMPUTE,)
    if choice.halo == CACHE:
        kept_in = CACHE, CACHE_LLB if llb_holds_overlaps(evaluator, choice) else CACHE_DRAM
    rules = (
        (choice.rule,) if choice.pieces == 1 else (choice.rule, RULE_SCALE * (choice.stop - choice.first + 2))
    )
    for halo, rule in product(kept_in, rules):
        tiled = choice._replace(halo=halo, rule=rule)
        try:
            return summed(evaluator, tiled)
        except IllegalSchedule:
            continue
    return None


def llb_holds_overlaps(evaluator: Evaluator, choice: Choice) -> bool:
    """Whether there is a last-level buffer with room for what a choice caches."""
    llb = evaluator.machine.memories.llb
    if llb is None:
        return False
    try:
        return evaluator.templates.shared_cache_bytes(choice._replace(halo=CACHE_LLB)) <= llb.bytes
    except IllegalSchedule:  # whatever it caches
        return False


def summed(evaluator: Evaluator, choice: Choice) -> Stack:
    """Of all tiles, one after the other."""
    plan = evaluator.supposed_plan()
    frame = evaluator.templates.frames.of(choice).choice
    cycles, counts, inner = 0, np.zeros(len(Counts._fields), np.int64), []
    for number, (row, column) in enumerate(product(range(frame.split_rows), range(frame.split_columns))):
        kept = choice.keep_weights == 1 and number > 0
        tile = evaluator.templates.lower(choice, 0, Parts(row, column, 0), kept, plan)
        cycles += lone_cycles(evaluator.machine_table, tile.rows)
        counts += tile.counts
        inner.append(tile.inner)
    times = choice.split_batch
    all_counts = Counts(*(times * counts).tolist())
    below = evaluator.inner_counts((times * np.sum(inner, axis=0)).tolist())
    energy = energy_pj(all_counts, evaluator.machine, below)
    return Stack(choice, times * cycles, energy, all_counts.off_core_bytes)


def problem_of(folder: Path, seed: int, machine: str) -> Problem:
    """A random network at batch 1 or 2."""
    rng = np.random.default_rng(seed)
    model = load_model(str(random_model(folder, rng)), int(rng.integers(1, 3)))
    evaluator = Evaluator(model.network, machine_called(machine))
    return Problem(evaluator, CandidateSpace(evaluator), Objective.ENERGY)


@pytest.mark.parametrize("machine", MACHINES)
def test_bounds_hold_and_the_best_are_those_of_all(tmp_path: Path, machine: str) -> None:
    legal = 0
    for seed in range(2):
        problem = problem_of(tmp_path, seed, machine)
        evaluator = problem.evaluator
        stacks, both = Stacks(problem, 4), axes(evaluator.table)
        in_llb = evaluator.supposed_plan().in_llb
        layers = len(evaluator.network.layers)
        for first, stop in [(a, b) for a in range(layers) for b in range(a + 1, min(layers, a + 3) + 1)]:
            ways = stacks.ways(first, stop)
            bound = StackBound(evaluator, in_llb, StackExtents(evaluator, both, first, stop))
            least = bound.costs(ways, energy=True)
            every = [tile_by_tile(evaluator, choice) for choice in ways]
            legal += sum(stack is not None for stack in every)
            for stack, costs in zip(every, least, strict=True):
                if stack is not None:
                    assert (costs <= stack[1:]).all(), stack
            for weights in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1e-9, 0.0, 1.0), (0.5, 1e-3, 0.0)):
                known = [stack for stack in every if stack is not None]
                best = sorted(known, key=lambda stack: stack.sum(weights))[:4]
                assert stacks.best(first, stop, weights, 4) == best
                assert stacks.best(first, stop, weights, 1) == best[:1]
    assert legal > 100


def test_extents_are_those_of_all_tiles(tmp_path: Path) -> None:
    """Against the geometry of every tile, tensor by tensor."""
    checked = 0
    for seed in range(6):
        evaluator = problem_of(tmp_path, seed, "stcp920").evaluator
        layers = len(evaluator.network.layers)
        for axis, halo, cut in product(
            (0, COLUMNS), (RECOMPUTE, CACHE), ((1, 1, 1), (2, 1, 2), (1, 3, 1), (2, 2, 3))
        ):
            choice = Choice(
                0, layers, split_rows=cut[0], split_columns=cut[1], ways_rows=cut[2], axis=axis, halo=halo
            )
            try:
                evaluator.templates.check(choice)
            except IllegalSchedule:
                continue
            frame = evaluator.templates.frames.of(choice)
            extents = StackExtents(evaluator, axes(evaluator.table), 0, layers)
            streamed, cross = extents.of([choice])
            pixels, most = 0, 0
            for row, column in product(range(frame.choice.split_rows), range(frame.choice.split_columns)):
                geo = geometry(frame.table, frame.choice, row, column)
                rows, columns = geo.ends[:, :, -1] - geo.start, geo.held_stop - geo.new_start
                order = [geo.tensor.tolist().index(t) for t in extents.tensor.tolist()]
                pixels = pixels + (rows.sum(0) * columns)[order]
                most = most + (rows.max(0) * columns)[order]
            assert (streamed.total[0] * cross.total[0] == pixels).all()
            assert (streamed.most[0] * cross.most[0] == most).all()
            assert (streamed.distinct <= streamed.total).all() and (streamed.most <= streamed.distinct).all()
            checked += math.prod(cut) > 1
    assert checked > 10


def repeated_blocks(folder: Path) -> Path:
    """Five residual blocks of the same shape; the second adds another tensor than the others do."""
    graph = GraphBuilder()
    value = before = graph.input("image", 1, 6, 12, 12)
    for block in range(5):
        inner = graph.node("Relu", graph.node("Conv", value, graph.random(6, 6, 3, 3), pads=[1] * 4))
        outer = graph.node("Conv", inner, graph.random(6, 6, 3, 3), graph.random(6), pads=[1] * 4)
        before, value = value, graph.node("Add", outer, before if block == 1 else value)
    return Path(graph.save(folder, value))


@pytest.mark.parametrize("machine", ["tiny", "stcp920"])
def test_alike_stacks_have_the_same_ways(tmp_path: Path, machine: str) -> None:
    """What is told of a stack by another one is what it gets when it is asked for alone."""
    model = load_model(str(repeated_blocks(tmp_path)), 2)
    evaluator = Evaluator(model.network, load_machine(machine))
    problem = Problem(evaluator, CandidateSpace(evaluator), Objective.EDP)
    weights = (1.0, 1e-3, 1e-3)
    layers = len(evaluator.network.layers)
    alike, shared = AlikeStacks(evaluator.table, evaluator.supposed_plan().in_llb), Stacks(problem, 4)
    told = 0
    for first, stop in [(a, b) for a in range(layers) for b in range(a + 1, min(layers, a + 4) + 1)]:
        told += stop > first + 1 and alike.of(first, stop) < first
        assert shared.best(first, stop, weights, 4) == Stacks(problem, 4).best(first, stop, weights, 4)
    assert told > 2


def test_with_no_instructions_left_a_schedule_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stack is then run in the way of the least bound that fits; no schedule is worse than the default one."""
    monkeypatch.setattr(stacks_module, "MOST_INSTRUCTIONS", 0)
    for seed in range(3):
        problem = replace(problem_of(tmp_path, seed, "edge_tcm"), objective=Objective.LATENCY, budget=30)
        solution = solve("depth_first", problem)
        assert solution.evaluations <= 30
        assert solution.evaluation.cycles <= problem.cost(Defaults(problem.space).complete(()))
