"""All strategies on several networks and machines: cycles over the bound, bytes over the compulsory, seconds.

Compulsory are the bytes of inputs, weights and outputs, once each. Every strategy gets a fresh problem.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict

from benchmarks import _command
from benchmarks._strategies import strategy_name
from env.problems import make_problem
from hwmodel.machines.machine import load_machine
from scheduling.bound import bound
from scheduling.errors import IllegalSchedule
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.strategies import COMPOSED, runs_on, solve, strategy_names

NETWORKS = ("resnet50", "squeezenet", "inception_v1", "bert_base")
COLUMNS = f"{'cycles':>12} {'/ bound':>8} {'off-core':>9} {'DRAM':>7} {'seconds':>8} {'schedules':>9}"

Ratios = tuple[float, float, float]
"""Cycles over the bound, off-core and DRAM bytes over the compulsory."""


def main() -> None:
    """Print a table for each network and machine, then the geometric means."""
    parser = _command.parser(__file__, __doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--machines", nargs="+", default=["stcp920"], metavar="NAME")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--objective", choices=list(Objective), default=Objective.LATENCY, type=Objective)
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--strategies", nargs="+", type=strategy_name, default=[*strategy_names(), *COMPOSED], metavar="NAME"
    )
    options = parser.parse_args()
    found: dict[str, list[Ratios]] = defaultdict(list)
    warm_up(options)
    for machine in options.machines:
        for network in options.networks:
            print(
                f"{network}, batch {options.batch}, {machine}, objective {options.objective}\n{'':30} {COLUMNS}"
            )
            for name in (name for name in options.strategies if runs_on(name, load_machine(machine))):
                try:
                    found[name].append(measure(name, problem_of(network, machine, options)))
                except IllegalSchedule as error:
                    print(f"does not fit: {error}")
                    break
            print()
    print(f"geometric means\n{'':30} {'':12} {'/ bound':>8} {'off-core':>9} {'DRAM':>7}")
    for name, ratios in found.items():
        cycles, off_core, dram = (geometric_mean(column) for column in zip(*ratios, strict=True))
        print(f"{name:30} {'':12} {cycles:8.3f} {off_core:9.3f} {dram:7.3f}")


def problem_of(network: str, machine: str, options: argparse.Namespace) -> Problem:
    """A fresh problem with the limits asked for."""
    problem = make_problem(network, machine, options.batch, options.objective)
    return Problem(problem.evaluator, problem.space, problem.objective, options.budget, options.seed)


def warm_up(options: argparse.Namespace) -> None:
    """Load compiled code, so that no strategy's seconds include that."""
    for name in (name for name in options.strategies if runs_on(name, load_machine("stcp920"))):
        problem = make_problem("squeezenet")
        solve(name, Problem(problem.evaluator, problem.space, budget=16))


def measure(name: str, problem: Problem) -> Ratios:
    """Run a strategy, print its row and return its ratios."""
    least = bound(problem.evaluator.network, problem.evaluator.machine)
    solution = solve(name, problem)
    evaluation = solution.evaluation
    compulsory = least.off_core_bytes
    ratios = (
        evaluation.cycles / least.cycles,
        evaluation.off_core_bytes / compulsory,
        evaluation.counts.dram_bytes / compulsory,
    )
    cells = "{:8.3f} {:9.3f} {:7.3f}".format(*ratios)
    print(
        f"{name:30} {evaluation.cycles:12,} {cells} {solution.seconds:8.2f} {solution.evaluations:9}",
        flush=True,
    )
    return ratios


def geometric_mean(values: tuple[float, ...]) -> float:
    """The geometric mean of positive numbers."""
    return math.exp(sum(map(math.log, values)) / len(values))


if __name__ == "__main__":
    _command.run(main)
