"""Anytime curves: the least cost that strategies know after so many simulated schedules, over several seeds.

Costs are multiples of the bound. `python -m benchmarks.anytime --networks densenet121 --plot curves.svg`
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks._svg import Band, svg
from env.problems import make_problem
from scheduling.bound import bound
from scheduling.objective import Objective
from scheduling.strategies import STRATEGIES
from scheduling.strategies.anytime import Curve, anytime, cost_after

NAMES = ("graphturbo", "greedy", "dp", "lookahead", "beam", "random", "annealing", "genetic", "portfolio")
CHECKPOINTS = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)


def main() -> None:
    """Print a table for each network, and draw its curves if asked to."""
    parser = argparse.ArgumentParser(prog="anytime")
    parser.add_argument("--networks", nargs="+", default=["squeezenet", "inception_v1"], metavar="NAME")
    parser.add_argument("--machine", default="stcp920", metavar="NAME")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--objective", choices=list(Objective), default=Objective.LATENCY, type=Objective)
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument(
        "--strategies", nargs="+", choices=list(STRATEGIES), default=list(NAMES), metavar="NAME"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.svg", help="several networks get their names in it"
    )
    options = parser.parse_args()
    for network in options.networks:
        title = f"{network}, batch {options.batch}, {options.machine}, {options.objective}"
        curves = measure(network, options)
        print_table(title, curves, options.budget)
        if options.plot is not None:
            path = options.plot
            if len(options.networks) > 1:
                path = path.with_stem(f"{path.stem}_{network.replace('/', '_')}")
            path.write_text(svg(title, "simulated schedules", "cost over the bound", bands(curves)))
            print(f"curves in {path}\n", flush=True)


def measure(network: str, options: argparse.Namespace) -> dict[str, list[Curve]]:
    """Curves of each strategy for each seed, as multiples of the bound."""
    problem = make_problem(network, options.machine, options.batch, options.objective)
    least = bound(problem.evaluator.network, problem.evaluator.machine).of(problem.objective)
    curves: dict[str, list[Curve]] = {}
    for name in options.strategies:
        runs = [
            anytime(name, replace(problem, budget=options.budget, seed=seed))[1] for seed in options.seeds
        ]
        curves[name] = [tuple((at, cost / least) for at, cost in curve) for curve in runs]
    return curves


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
    last = max(at for runs in curves.values() for curve in runs for at, _ in curve)
    found = []
    for name, runs in curves.items():
        x = sorted({last, *(at for curve in runs for at, _ in curve)})
        costs = [[cost_after(curve, at) for curve in runs] for at in x]
        found.append(
            Band(name, x, [min(c) for c in costs], [median(c) for c in costs], [max(c) for c in costs])
        )
    return found


if __name__ == "__main__":
    main()
