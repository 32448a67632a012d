"""Quality of the shipped policy on networks that it was not trained on, beside every strategy.

Prints cycles of every network, batch, machine and strategy relative to `dp`, wins and losses of the policy, and the
geometric means with which the strategies compare.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from agents.inference import decode, load_policy
from agents.instances import REFERENCES
from benchmarks import _command
from env.problems import make_problem
from hwmodel.machines.machine import load_machine
from scheduling.problem import Problem
from scheduling.strategies import STRATEGIES

NETWORKS = ("inception_v1", "inception_v2", "squeezenet", "densenet121")
BATCHES = (4, 16)
MACHINES: tuple[dict[str, float], ...] = ({}, {"l1": 0.5, "llb": 0.5}, {"dram_bandwidth": 2.0, "launch": 0.5})
OTHERS = ("greedy", "lookahead", "dp", "annealing")
COLUMNS = ("graphturbo*", *OTHERS, "learned_greedy", "learned")


def main() -> None:
    """Print the table."""
    parser = _command.parser(__file__, __doc__)
    parser.add_argument("--policy", type=Path, metavar="FILE")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES), metavar="N")
    parser.add_argument("--seed", type=int, default=0, help="of annealing (default 0)")
    parser.add_argument("--beam", type=int, default=4)
    options = parser.parse_args()
    policy = load_policy(options.policy)
    print(f"policy: seed {policy.header['training']['seed']}, beam {options.beam}; annealing: 300 schedules,")
    print(f"seed {options.seed}. Cycles over dp's (less is better); graphturbo*: the best of four variants.")
    print(
        f"{'network':13} {'batch':>5} {'machine':24} {'dp cycles':>11}",
        *(f"{c:>14}" for c in COLUMNS),
        "decode s",
    )
    logs: dict[str, list[float]] = {name: [] for name in COLUMNS}
    slowest = 0.0
    machine = load_machine("stcp920")
    for factors in MACHINES:
        varied = machine.varied(**factors)
        for network in options.networks:
            for batch in options.batches:
                problem = make_problem(network, varied, batch)
                costs, seconds = measure(problem, options)
                slowest = max(slowest, seconds)
                label = machine_label(factors)
                cells = (f"{costs[name] / costs['dp']:14.3f}" for name in COLUMNS)
                print(
                    f"{network:13} {batch:5} {label:24} {costs['dp']:11.0f}",
                    *cells,
                    f"{seconds:8.2f}",
                    flush=True,
                )
                for name in COLUMNS:
                    logs[name].append(math.log(costs["learned"] / costs[name]))
    print(f"\nlearned over the others ({len(logs['dp'])} cases; below 1: learned is faster)")
    for name in COLUMNS[:-1]:
        ratios = logs[name]
        wins = sum(value < -1e-9 for value in ratios)
        losses = sum(value > 1e-9 for value in ratios)
        mean = math.exp(sum(ratios) / len(ratios))
        print(
            f"  {name:15} geometric mean {mean:.4f}, worst {math.exp(max(ratios)):.3f}, {wins} won, {losses} lost"
        )
    print(f"slowest decode: {slowest:.2f} s (candidate tables shared with dp)")


def machine_label(factors: dict[str, float]) -> str:
    """What a machine of MACHINES is called in a table."""
    return " ".join(f"{key}x{value:g}" for key, value in factors.items()) or "stcp920"


def measure(problem: Problem, options: argparse.Namespace) -> tuple[dict[str, float], float]:
    """Cost by every column, and the seconds of the beam decode once the candidate tables are there."""
    policy = load_policy(options.policy)
    costs = {"graphturbo*": min(problem.cost(*STRATEGIES[name](problem)) for name in REFERENCES)}
    for name in OTHERS:
        costs[name] = problem.cost(*STRATEGIES[name](problem))
    costs["learned_greedy"] = problem.cost(*decode(policy, problem, beam=1))
    started = time.perf_counter()
    decisions = decode(policy, problem, beam=options.beam)
    seconds = time.perf_counter() - started
    costs["learned"] = problem.cost(*decisions)
    return costs, seconds


if __name__ == "__main__":
    _command.run(main)
