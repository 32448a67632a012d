"""Tiles and halo modes of FSRCNN on a single core, and what `depth_first` finds: `python -m benchmarks depth_first`."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from benchmarks import _command
from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from report.table import Column, render
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import CACHE, COLUMNS, RULE_SCALE, Choice
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluation, Evaluator
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.strategies import solve
from scheduling.timeline.arrangement import Arrangement

MODEL = "fsrcnn:last=conv,padding=none,activation=relu"
MACHINE = "meta_prototype_df"
TILES = ((60, 72), (4, 72))
MODES = ("cache", "cache_columns", "recompute")
REPEATS = 20

OTHERS = {
    ("cache", 60, 72): 42,
    ("cache", 4, 72): 36,
    ("cache_columns", 60, 72): 27,
    ("recompute", 60, 72): 13,
}
"""CPU seconds that DeFiNES's public code was measured to take for one of these schedules."""


def tiled(evaluator: Evaluator, mode: str, width: int, height: int) -> Choice:
    """All layers in one stack, its output in tiles of `width` columns and `height` rows."""
    layers = len(evaluator.network.layers)
    output = evaluator.network.tensors[evaluator.network.outputs[0]]
    high, wide = -(-output.rows // height), -(-output.columns // width)
    whole = Choice(0, layers, split_rows=high, keep_weights=1)
    if mode == "recompute":
        return whole._replace(split_columns=wide)
    streamed = whole._replace(pieces=wide, axis=COLUMNS)
    return streamed._replace(halo=CACHE) if mode == "cache" else streamed


def fitting(evaluator: Evaluator, choice: Choice) -> tuple[Choice, Evaluation]:
    """A choice with its pieces interleaved or, where that does not fit, one after the other. Raises IllegalSchedule."""
    try:
        return choice, evaluator.evaluate((choice,))
    except IllegalSchedule:
        serial = choice._replace(rule=RULE_SCALE * (choice.stop - choice.first + 2))
        return serial, evaluator.evaluate((serial,))


def main() -> None:
    """Print both tables."""
    _command.parser(__file__, __doc__).parse_args()
    evaluator = Evaluator(load_model(MODEL, 1, weights=False).network, load_machine(MACHINE))
    print(f"{MODEL} on {MACHINE}, one stack of {len(evaluator.network.layers)} layers\n")
    rows = []
    for mode in MODES:
        for width, height in TILES:
            choice, evaluation = fitting(evaluator, tiled(evaluator, mode, width, height))
            plan = evaluator.arrange((choice,), Rules())
            full, periodic = (_rate(evaluator, choice, plan, periodic) for periodic in (False, True))
            templates = evaluator.templates.of((choice,), plan)
            instructions = sum(len(template.lowered.rows) for template in templates)
            peak = max(template.lowered.plan.peak_bytes for template in templates)
            rows.append(
                [
                    f"{mode} {width}x{height}",
                    *_figures(evaluation),
                    f"{peak / 1024:.0f}",
                    str(len({template.index for template in templates})),
                    f"{instructions:,}",
                    f"{full:,.0f}",
                    f"{periodic:,.0f}",
                    str(OTHERS.get((mode, width, height), "")),
                ]
            )
    more = (
        "L1 KiB",
        "tile\ntypes",
        "instruc-\ntions",
        "a second\nin full",
        "with\nperiods",
        "DeFiNES\ns for one",
    )
    print(_table("mode, tile", rows, more))
    rows = []
    for objective in Objective:
        for name in ("layerwise", "dp", "depth_first"):
            problem = Problem(evaluator, CandidateSpace(evaluator), objective)
            found = solve(name, problem)
            stacks = "-".join(str(choice.stop) for choice in found.choices[:-1]) or "none"
            rows.append(
                [
                    f"{objective.value} {name}",
                    *_figures(found.evaluation),
                    stacks,
                    str(found.evaluations),
                    f"{found.seconds:.1f}",
                ]
            )
    print(_table("objective, strategy", rows, ("cuts", "schedules\nsimulated", "seconds")))


def _rate(evaluator: Evaluator, choice: Choice, plan: Arrangement, periodic: bool) -> float:
    """How often a second the schedule is simulated, the best of some. Raises ValueError if periods change a figure."""
    evaluator.periodic = periodic
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        found, _ = evaluator.simulate((choice,), plan)
        times.append(time.perf_counter() - started)
    evaluator.periodic = True
    if not np.array_equal(found.finish, evaluator.simulate((choice,), plan)[0].finish):
        raise ValueError(f"{choice}: with periods other cycles than in full")
    return 1 / min(times)


def _figures(evaluation: Evaluation) -> list[str]:
    counts = evaluation.counts
    return [
        f"{counts.macs / 1e9:.3f}",
        f"{counts.dram_bytes / 1e6:.3f}",
        f"{evaluation.cycles / 1e6:.3f}",
        f"{evaluation.energy_pj / 1e9:.3f}",
    ]


def _table(first: str, rows: Sequence[Sequence[str]], more: Sequence[str]) -> str:
    heads = ("GMAC", "DRAM MB", "Mcycles", "mJ", *more)
    return render([Column(first, left=True), *(Column(head) for head in heads)], rows)


if __name__ == "__main__":
    _command.run(main)
