"""What layers with a binding of their own gain (`dp+bindings`): `python -m benchmarks bindings`.

Beside `dp`, `dp+configurations` (all configurations with one binding), and `dp` with other bindings for whole
sub-graphs, by the same search: `dp+bindings` owes what it has beyond that to several bindings. The columns behind are
of `dp+configurations+bindings`, which is compared with all of them that have one binding.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks import _command
from env.problems import make_problem
from report.table import Column, render
from scheduling.problem import Problem, State
from scheduling.refinements.bindings import with_bindings
from scheduling.strategies import solve
from scheduling.strategies.dp import dp

CASES = (
    ("stcp920", "resnet50", (1, 4, 16)),
    ("stcp920", "mobilenet_v2", (1, 4, 16)),
    ("stcp920", "densenet121", (1, 4, 16)),
    ("stcp920", "bert_base", (1, 8)),
    ("ascend_multi", "resnet50", (1,)),
)
BUDGET = 200

STRATEGIES = ("dp", "dp+configurations", "one binding", "dp+bindings", "dp+configurations+bindings")


def main() -> None:
    """Print a row for each network and batch."""
    _command.parser(__file__, __doc__).parse_args()
    rows = []
    for machine, network, batches in CASES:
        for batch in batches:
            problem = replace(make_problem(network, machine, batch), budget=BUDGET)
            row = [machine, network, str(batch)]
            cycles = []
            for name in STRATEGIES:
                choices, rules = _decided(name, problem)
                found = problem.evaluator.evaluate(choices, rules)
                cycles.append(found.cycles)
                row.append(f"{found.cycles / 1e6:.3f}")
            several = sum(choice.several_bindings for choice in choices)
            row += [f"{cycles[0] / cycles[-1]:.3f}", f"{min(cycles[:3]) / cycles[-1]:.3f}"]
            rows.append([*row, f"{several} of {len(choices)}", f"{found.counts.exchange_bytes / 1e6:.1f}"])
    columns = [Column("machine", left=True), Column("network", left=True), Column("batch")]
    columns += [Column(f"{name}\nMcycles") for name in STRATEGIES]
    columns += [Column("over\ndp"), Column("over all\nwith one"), Column("sub-graphs\nwith several")]
    print(f"budget {BUDGET}")
    print(render([*columns, Column("exchanged\nMB")], rows))


def _decided(name: str, problem: Problem) -> State:
    if name == "one binding":
        half = BUDGET // 2
        return with_bindings(replace(problem, budget=half), dp(replace(problem, budget=half)), apart=False)
    solution = solve(name, problem)
    return solution.choices, solution.rules


if __name__ == "__main__":
    _command.run(main)
