"""What slices over channels gain (`dp+channels`): `python -m benchmarks channel_slices`.

Beside `dp` and `dp+rings`, and `dp` with the cuts of `dp+channels`, since part of what that gains is finding these.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks import _command
from env.problems import make_problem
from report.table import Column, render
from scheduling.chains.best import best_chain
from scheduling.chains.offered import candidates
from scheduling.problem import Problem, State
from scheduling.refinements.channels import cuts_of_slices
from scheduling.strategies import solve
from scheduling.strategies.dp import dp

CASES = (
    ("edge_tcm", 1, ("bert_base", "vit_b16", "resnet50", "alexnet", "mobilenet_v2")),
    ("tpu_like", 1, ("bert_base", "vit_b16", "resnet50")),
    ("stcp920", 8, ("bert_base", "vit_b16", "resnet50", "gpt")),
)
BUDGET = 200
SAME_CUTS = "dp, same cuts"
STRATEGIES = ("dp", SAME_CUTS, "dp+channels", "dp+rings")


def main() -> None:
    """Print a row for each network on each machine."""
    _command.parser(__file__, __doc__).parse_args()
    rows = []
    for machine, batch, networks in CASES:
        for network in networks:
            problem = replace(make_problem(network, machine, batch), budget=BUDGET)
            row = [machine, network, str(batch)]
            for name in STRATEGIES:
                found = problem.evaluator.evaluate(*_decided(name, problem))
                row += [f"{found.cycles / 1e6:.2f}", f"{found.counts.dram_bytes / 1e6:.0f}"]
            rows.append(row)
    columns = [Column("machine", left=True), Column("network", left=True), Column("batch")]
    columns += [Column(f"{name}\n{unit}") for name in STRATEGIES for unit in ("Mcycles", "DRAM MB")]
    print(f"budget {BUDGET}")
    print(render(columns, rows))


def _decided(name: str, problem: Problem) -> State:
    if name == SAME_CUTS:
        half = replace(problem, budget=problem.budget // 2)
        return best_chain(half, dp(half), cuts_of_slices, candidates)
    solution = solve(name, problem)
    return solution.choices, solution.rules


if __name__ == "__main__":
    _command.run(main)
