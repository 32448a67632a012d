"""Anytime curves: the least cost that strategies know after so many simulated schedules and seconds, several seeds.

Costs are multiples of the bound. `python -m benchmarks.anytime --networks densenet121 --plot curves.svg`. With
`--record FILE.json` every run is kept: its curve, and its schedule as a schedule file would have it. `--replay
FILE.json` runs nothing but replays those schedules, and says whether each costs what its curve ends with. Strategies
that note no schedules on the way, `learned` and heuristics, have one point: their own schedule at the end.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import _command
from benchmarks._strategies import learned, strategy_name
from benchmarks._svg import Band, svg
from env.problems import make_problem
from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.bound import bound
from scheduling.evaluator import Evaluator
from scheduling.objective import Objective
from scheduling.problem import Problem, Solution
from scheduling.schedule import make_schedule
from scheduling.schedule_file import Schedule
from scheduling.stored.replay import replay, schedule_network
from scheduling.strategies.anytime import Curve, Point, anytime, cost_after, cost_within

NAMES = ("graphturbo", "greedy", "dp", "lookahead", "beam", "random", "annealing", "genetic", "portfolio")
SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
FORMAT = "oncore-anytime-1"
CHECKPOINTS = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)


def main() -> int:
    """Print tables for each network, draw and record its curves if asked to. Exit status: 1 where a replay differs."""
    parser = _command.parser(__file__, __doc__)
    parser.add_argument("--networks", nargs="+", default=["squeezenet", "inception_v1"], metavar="NAME")
    parser.add_argument("--machine", default="stcp920", metavar="NAME")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--objective", choices=list(Objective), default=Objective.LATENCY, type=Objective)
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--strategies", nargs="+", type=strategy_name, default=list(NAMES), metavar="NAME")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.svg", help="several networks get their names in it"
    )
    parser.add_argument("--record", type=Path, metavar="FILE.json", help="keep every run there")
    parser.add_argument(
        "--replay", type=Path, metavar="FILE.json", help="check the runs of a record, and run nothing"
    )
    options = parser.parse_args()
    if options.replay is not None:
        return validate(options.replay)
    runs: list[dict[str, Any]] = []
    for network in options.networks:
        title = f"{network}, batch {options.batch}, {options.machine}, {options.objective}"
        curves = measure(network, options, runs)
        print_table(title, curves, options.budget)
        print_seconds(curves)
        if options.plot is not None:
            path = options.plot
            if len(options.networks) > 1:
                path = path.with_stem(f"{path.stem}_{network.replace('/', '_')}")
            path.write_text(svg(title, "simulated schedules", "cost over the bound", bands(curves)))
            print(f"curves in {path}\n", flush=True)
    if options.record is not None:
        options.record.write_text(json.dumps({"format": FORMAT, "runs": runs}) + "\n", encoding="utf-8")
        print(f"{len(runs)} runs in {options.record}")
    return 0


def measure(network: str, options: argparse.Namespace, runs: list[dict[str, Any]]) -> dict[str, list[Curve]]:
    """Curves of each strategy for each seed, as multiples of the bound; the runs themselves are added to `runs`."""
    curves: dict[str, list[Curve]] = {name: [] for name in options.strategies}
    for name in options.strategies:
        for seed in options.seeds:
            # A fresh problem each time: no run profits from what another one has lowered.
            problem = make_problem(network, options.machine, options.batch, options.objective)
            least = bound(problem.evaluator.network, problem.evaluator.machine).of(problem.objective)
            solution, curve = anytime(name, replace(problem, budget=options.budget, seed=seed), learned(name))
            curves[name].append(tuple(point._replace(cost=point.cost / least) for point in curve))
            about = {"network": network, "machine": options.machine, "batch": options.batch}
            limits = {"objective": str(options.objective), "budget": options.budget, "seed": seed}
            kept = {"bound": least, "curve": curve, "schedule": schedule_of(problem, solution)}
            runs.append(about | limits | {"strategy": name} | kept)
    return curves


def schedule_of(problem: Problem, solution: Solution) -> dict[str, Any]:
    """A solution as the content of a schedule file."""
    evaluator = problem.reordered(solution.layer_order).evaluator
    made = make_schedule(
        evaluator,
        solution.choices,
        solution.rules,
        evaluator.network.model_hash,
        solution.strategy,
        bool(solution.layer_order),
    )
    return made.model_dump(mode="json")


def validate(path: Path) -> int:
    """Replay every schedule of a record; 0 where all cost what their curves end with, and curves only fall."""
    record = json.loads(path.read_text(encoding="utf-8"))
    if record.get("format") != FORMAT:
        raise SystemExit(f"{path}: format is {record.get('format')!r}, expected {FORMAT!r}")
    wrong = 0
    for run in record["runs"]:
        network = load_model(run["network"], run["batch"], weights=False).network
        schedule = Schedule.model_validate_json(json.dumps(run["schedule"]))
        evaluator = Evaluator(schedule_network(network, schedule), load_machine(run["machine"]))
        cost = Objective(run["objective"]).cost(replay(evaluator, schedule))
        curve = [Point(*point) for point in run["curve"]]
        falls = all(a.cost > b.cost and a.simulated < b.simulated for a, b in pairwise(curve))
        right = cost == curve[-1].cost and falls and curve[-1].simulated <= run["budget"]
        wrong += not right
        print(
            f"{run['network']} {run['strategy']} seed {run['seed']}: {cost:,.0f}, {'as recorded' if right else 'WRONG'}"
        )
    print(f"{len(record['runs'])} runs, {wrong} wrong")
    return int(wrong > 0)


def print_seconds(curves: dict[str, list[Curve]]) -> None:
    """Median of the seeds at some seconds."""
    last = max(curve[-1].seconds for runs in curves.values() for curve in runs)
    checkpoints = [at for at in SECONDS if at < 3 * last]
    print("cost over the bound after so many seconds, median")
    print(f"{'strategy':20}", *(f"{at:>10g}" for at in checkpoints))
    for name, runs in curves.items():
        costs = (median(cost_within(curve, at) for curve in runs) for at in checkpoints)
        print(f"{name:20}", *(f"{cost:>10.3f}" for cost in costs), flush=True)
    print()


def print_table(title: str, curves: dict[str, list[Curve]], budget: int) -> None:
    """Median of the seeds at some numbers of simulated schedules, with the least and the greatest where they differ."""
    checkpoints = [at for at in CHECKPOINTS if at < budget] + [budget]
    seeds = len(next(iter(curves.values())))
    print(f"{title}: cost over the bound after so many schedules, median [least-greatest] of {seeds} seeds")
    print(f"{'strategy':20}", *(f"{at:>20,}" for at in checkpoints))
    for name, runs in curves.items():
        print(
            f"{name:20}",
            *(f"{_cell([cost_after(c, at) for c in runs]):>20}" for at in checkpoints),
            flush=True,
        )
    print()


def _cell(costs: Sequence[float]) -> str:
    low, high = min(costs), max(costs)
    return f"{median(costs):.3f}" if low == high else f"{median(costs):.3f} [{low:.3f}-{high:.3f}]"


def bands(curves: dict[str, list[Curve]]) -> list[Band]:
    """The curves of each strategy as one band."""
    last = max(point.simulated for runs in curves.values() for curve in runs for point in curve)
    found = []
    for name, runs in curves.items():
        x = sorted({last, *(point.simulated for curve in runs for point in curve)})
        costs = [[cost_after(curve, at) for curve in runs] for at in x]
        found.append(
            Band(name, x, [min(c) for c in costs], [median(c) for c in costs], [max(c) for c in costs])
        )
    return found


if __name__ == "__main__":
    _command.run(main)
