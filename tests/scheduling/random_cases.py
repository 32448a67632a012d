"""Random small networks and random legal schedules of them, for tests that compare whole chains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from math import prod
from pathlib import Path

import numpy as np

from hwmodel.programs.isa import Program
from hwmodel.timing.flatten import time_program
from scheduling.candidates.estimate import estimate
from scheduling.choice import (
    CACHE,
    CACHE_DRAM,
    CACHE_LLB,
    CHANNEL_RING,
    CHANNELS,
    COLUMNS,
    MOST_OWN,
    RECOMPUTE,
    ROWS,
    Choice,
    OwnRun,
)
from scheduling.emission.program import build_program
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluation, Evaluator
from scheduling.legality.arrangements import check_arrangement
from scheduling.lowering.tiling import LEGAL
from scheduling.rules import Rules
from tests.graph.onnx_helpers import GraphBuilder
from tests.hwmodel.race_checker import find_races

Drawn = Callable[[Evaluator, np.random.Generator], tuple[Choice, ...] | None]
"""Draws the sub-graphs of a schedule; None where luck finds nothing legal."""

DIVISORS = {1: (1,), 2: (1, 2), 4: (1, 2, 4), 8: (1, 2, 4, 8)}


def random_model(folder: Path, rng: np.random.Generator) -> Path:
    """A chain of blocks (convolution, residual, fork and concat, pool, norm), a classifier at the end."""
    graph = GraphBuilder()
    channels, size = int(rng.integers(2, 7)), int(rng.choice([8, 9, 12]))
    value = graph.input("image", 1, channels, size, size)

    def conv(source: str, inputs: int, outputs: int, kernel: int, **attributes: object) -> str:
        pad = kernel // 2
        weight = graph.random(outputs, inputs, kernel, kernel)
        return graph.node("Conv", source, weight, graph.random(outputs), pads=[pad] * 4, **attributes)

    for _ in range(int(rng.integers(1, 4))):
        kind = int(rng.integers(5))
        if kind == 0:
            outputs = int(rng.integers(3, 12))
            stride = int(rng.integers(1, 3))
            value = graph.node("Relu", conv(value, channels, outputs, 3, strides=[stride, stride]))
            channels = outputs
        elif kind == 1:
            inner = graph.node("Relu", conv(value, channels, channels + 1, 3))
            added = graph.node("Add", conv(inner, channels + 1, channels, 3), value)
            value = graph.node("Relu", added)
        elif kind == 2:
            one, two = int(rng.integers(2, 6)), int(rng.integers(2, 6))
            left = graph.node("Relu", conv(value, channels, one, 1))
            right = graph.node("Relu", conv(value, channels, two, 3))
            value = graph.node("Concat", left, right, axis=1)
            channels = one + two
        elif kind == 3:
            mode = "MaxPool" if rng.integers(2) else "AveragePool"
            value = graph.node(mode, value, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        else:
            value = graph.node("LRN", value, size=3, alpha=0.1, beta=0.75, bias=1.0)
    if rng.integers(2):
        mean = graph.node("GlobalAveragePool", value)
        flat = graph.node("Flatten", mean)
        scores = graph.node("Gemm", flat, graph.random(10, channels), graph.random(10), transB=1)
        value = graph.node("Softmax", scores, axis=1)
    return Path(graph.save(folder, value))


def random_choices(evaluator: Evaluator, rng: np.random.Generator) -> tuple[Choice, ...] | None:
    """Runs of random length with random split, binding, pieces and order; None where luck finds nothing legal."""

    def draw(first: int, stop: int, ways: list[int]) -> Choice:
        return Choice(
            first,
            stop,
            int(rng.integers(1, evaluator.network.batch + 1)),
            int(rng.choice([1, 1, 2])),
            *ways,
            int(rng.choice([1, 2, 3, 5])),
            int(rng.choice([ROWS, CHANNELS])),
            int(rng.choice([1, 10, 20, 40, 100])),
            int(rng.integers(2)),
        )

    def fits(choice: Choice) -> bool:
        return estimate(evaluator.table, evaluator.machine_table, choice).status == LEGAL

    return _random_runs(evaluator, rng, draw, fits)


def random_tiles(evaluator: Evaluator, rng: np.random.Generator) -> tuple[Choice, ...] | None:
    """As `random_choices`, cut over rows and columns, streamed along either, with overlaps made again or cached
    in any memory."""

    def draw(first: int, stop: int, ways: list[int]) -> Choice:
        axis = int(rng.choice([ROWS, COLUMNS, COLUMNS, CHANNELS]))
        split_rows, split_columns = (int(rng.choice([1, 1, 2, 3, 5])) for _ in range(2))
        return Choice(
            first,
            stop,
            int(rng.integers(1, evaluator.network.batch + 1)),
            split_rows,
            *ways,
            int(rng.choice([1, 2, 3, 5])),
            axis,
            int(rng.choice([1, 10, 20, 40, 100])),
            int(rng.integers(2)),
            split_columns,
            int(rng.choice([RECOMPUTE, CACHE, CACHE_LLB, CACHE_DRAM])),
            int(rng.integers(2)),
        )

    return _random_runs(evaluator, rng, draw, partial(tileable, evaluator))


def random_channel_slices(evaluator: Evaluator, rng: np.random.Generator) -> tuple[Choice, ...] | None:
    """As `random_tiles`, many cut over channels too, streamed in rings of channels as well."""

    def draw(first: int, stop: int, ways: list[int]) -> Choice:
        return Choice(
            first,
            stop,
            int(rng.integers(1, evaluator.network.batch + 1)),
            int(rng.choice([1, 1, 2])),
            *ways,
            int(rng.choice([1, 2, 3])),
            int(rng.choice([ROWS, ROWS, CHANNELS, COLUMNS, CHANNEL_RING])),
            int(rng.choice([1, 10, 20, 40])),
            int(rng.integers(2)),
            int(rng.choice([1, 1, 1, 2])),
            int(rng.choice([RECOMPUTE, RECOMPUTE, CACHE, CACHE_LLB, CACHE_DRAM])),
            int(rng.integers(2)),
            int(rng.choice([1, 1, 2, 2, 3, 4])),
        )

    return _random_runs(evaluator, rng, draw, partial(tileable, evaluator))


def random_own_bindings(evaluator: Evaluator, rng: np.random.Generator) -> tuple[Choice, ...] | None:
    """As `random_tiles` without caches, most sub-graphs with layers that have bindings of their own, some of them over
    fewer cores."""
    most = evaluator.network.batch

    def draw(first: int, stop: int, ways: list[int]) -> Choice:
        split_rows, split_columns = (int(rng.choice([1, 1, 1, 2])) for _ in range(2))
        choice = Choice(
            first,
            stop,
            int(rng.integers(1, most + 1)),
            split_rows,
            *ways,
            int(rng.choice([1, 1, 2, 3])),
            int(rng.choice([ROWS, ROWS, CHANNELS, CHANNEL_RING, COLUMNS])),
            int(rng.choice([1, 10, 20, 40])),
            int(rng.integers(2)),
            split_columns,
            RECOMPUTE,
            int(rng.integers(4) == 0),
            int(rng.choice([1, 1, 1, 1, 2])),
        )
        divisors = [d for d in range(1, choice.cores + 1) if choice.cores % d == 0]
        own = [
            other
            for other in product(divisors, repeat=3)
            if choice.cores % prod(other) == 0 and other != tuple(ways)
        ]
        over_all = [other for other in own if prod(other) == choice.cores]
        if not over_all or stop - first < 2:
            return choice
        runs, begin = [], first + int(rng.integers(2))
        while begin < stop and len(runs) < MOST_OWN:
            end = int(rng.integers(begin + 1, stop + 1))
            some = own if rng.integers(4) == 0 else over_all
            runs.append(OwnRun(begin, end, *some[rng.integers(len(some))]))
            begin = end + int(rng.integers(2))
        return choice.with_own_runs(runs)

    return _random_runs(evaluator, rng, draw, partial(tileable, evaluator))


def _random_runs(
    evaluator: Evaluator,
    rng: np.random.Generator,
    draw: Callable[[int, int, list[int]], Choice],
    fits: Callable[[Choice], bool],
) -> tuple[Choice, ...] | None:
    """Runs of random length over all layers, each as drawn with random ways; None where none fits in 100 draws."""
    cores, layers = evaluator.machine.cores, len(evaluator.network.layers)
    choices: list[Choice] = []
    first = 0
    while first < layers:
        for _ in range(100):
            stop = min(layers, first + int(rng.integers(1, 6)))
            ways = [int(rng.choice([w for w in (1, 2, 4, 8) if w <= cores])) for _ in range(3)]
            choice = draw(first, stop, ways)
            if choice.cores <= cores and fits(choice):
                choices.append(choice)
                first = stop
                break
        else:
            return None
    return tuple(choices)


def tileable(evaluator: Evaluator, choice: Choice) -> bool:
    """Whether every kind of instance of a choice can be lowered, by the estimate."""
    try:
        evaluator.templates.check(choice)
    except IllegalSchedule:
        return False
    machine, frames = evaluator.machine_table, evaluator.templates.frames.all_of(choice)
    return all(estimate(frame.table, machine, frame.choice).status == LEGAL for frame in frames)


def random_rules(rng: np.random.Generator) -> Rules:
    """Any of the rules for order, scopes, weights and prefetch."""
    return Rules(*(int(rng.integers(2)) for _ in range(4)))


def legal(evaluator: Evaluator, choices: tuple[Choice, ...], rules: Rules) -> bool:
    """Whether every instance can be lowered."""
    try:
        evaluator.evaluate(choices, rules)
    except IllegalSchedule:
        return False
    return True


def legal_draws(
    evaluator: Evaluator,
    rng: np.random.Generator,
    draw: Drawn = random_choices,
    attempts: int = 20,
    most: int = 2,
) -> Iterator[tuple[tuple[Choice, ...], Rules]]:
    """Up to `most` random schedules that can be lowered; at least one."""
    found = 0
    for _ in range(attempts):
        choices, rules = draw(evaluator, rng), random_rules(rng)
        if choices is not None and legal(evaluator, choices, rules):
            yield choices, rules
            found += 1
            if found == most:
                return
    assert found > 0


def checked_program(
    evaluator: Evaluator, choices: tuple[Choice, ...], rules: Rules
) -> tuple[Evaluation, Program]:
    """Cost and program of a schedule whose places are legal, whose decoded program takes the same time and counts the
    same, and in which nothing races."""
    plan = evaluator.arrange(choices, rules)
    check_arrangement(evaluator, choices, plan)
    evaluation = evaluator.evaluate(choices, rules)
    program = build_program(evaluator, choices, plan)
    timing = time_program(program, evaluator.machine)
    assert timing.makespan_cycles == evaluation.cycles
    assert timing.counts == evaluation.counts
    assert timing.inner == evaluation.inner
    assert find_races(program, evaluator.machine) == []
    return evaluation, program
