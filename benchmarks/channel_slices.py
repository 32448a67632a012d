"""What slices over channels gain (`dp_channels`): `python -m benchmarks channel_slices`.

Beside `dp` and `dp_rings`, and `dp` with the cuts of `dp_channels`, since part of what that gains is finding these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from benchmarks import _command
from env.problems import make_problem
from report.table import Column, render
from scheduling.problem import Problem
from scheduling.strategies.channel_splits import cuts_of_slices, dp_channels
from scheduling.strategies.dp import best_chain, candidates, dp
from scheduling.strategies.moves import State
from scheduling.strategies.rings import dp_rings

CASES = (
    ("edge_tcm", 1, ("bert_base", "vit_b16", "resnet50", "alexnet", "mobilenet_v2")),
    ("tpu_like", 1, ("bert_base", "vit_b16", "resnet50")),
    ("stcp920", 8, ("bert_base", "vit_b16", "resnet50", "gpt")),
)
BUDGET = 200


def main() -> None:
    """Print a row for each network on each machine."""
    _command.parser(__file__, __doc__).parse_args()
    rows = []
    for machine, batch, networks in CASES:
        for network in networks:
            problem = replace(make_problem(network, machine, batch), budget=BUDGET)
            row = [machine, network, str(batch)]
            for strategy in STRATEGIES.values():
                state = strategy(problem)
                found = problem.evaluator.evaluate(*state)
                row += [f"{found.cycles / 1e6:.2f}", f"{found.counts.dram_bytes / 1e6:.0f}"]
            rows.append(row)
    columns = [Column("machine", left=True), Column("network", left=True), Column("batch")]
    columns += [Column(f"{name}\n{unit}") for name in STRATEGIES for unit in ("Mcycles", "DRAM MB")]
    print(f"budget {BUDGET}")
    print(render(columns, rows))


def _same_cuts(problem: Problem) -> State:
    half = replace(problem, budget=problem.budget // 2)
    return best_chain(half, dp(half), cuts_of_slices, candidates)


STRATEGIES: dict[str, Callable[[Problem], State]] = {
    "dp": dp,
    "dp, same cuts": _same_cuts,
    "dp_channels": dp_channels,
    "dp_rings": dp_rings,
}

if __name__ == "__main__":
    _command.run(main)
