"""What core groups gain, kernels side by side where a machine lets them (`+cores`): `python -m benchmarks cores`.

Cycles over the bound and seconds of `dp` and `rammer`, by themselves and with the refinement `cores` behind them.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks import _command
from env.problems import make_problem
from report.table import Column, render
from scheduling.bound import bound
from scheduling.strategies import runs_on, solve

NETWORKS = {
    "rammer_v100": (
        "squeezenet",
        "inception_v1",
        "densenet121",
        "resnet18",
        "resnet50",
        "resnext29",
        "mobilenet_v2",
        "alexnet",
        "bert_base",
        "vit_b16",
        "dlrm",
        "lstm:sequence=10",
    ),
    "stcp920": ("squeezenet", "inception_v1", "mobilenet_v2", "resnet50"),
}
STRATEGIES = ("dp", "rammer", "dp+cores", "rammer+cores")
BATCH = 4
BUDGET = 60


def main() -> None:
    """Print a row for each network."""
    parser = _command.parser(__file__, __doc__)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--budget", type=int, default=BUDGET)
    options = parser.parse_args()
    rows = []
    for machine, networks in NETWORKS.items():
        for network in networks:
            rows.append(_row(machine, network, options.batch, options.budget))
    columns = [Column("machine", left=True), Column("network", left=True)]
    columns += [Column(f"{name}\n/ bound") for name in STRATEGIES] + [
        Column(f"{name}\ns") for name in STRATEGIES
    ]
    print(f"batch {options.batch}, budget {options.budget}")
    print(render([*columns, Column("sub-graphs"), Column("on fewer\ncores")], rows))


def _row(machine: str, network: str, batch: int, budget: int) -> list[str]:
    ratios, seconds = [], []
    for name in STRATEGIES:
        problem = replace(make_problem(network, machine, batch), budget=budget)
        evaluator = problem.evaluator
        if not runs_on(name, evaluator.machine):
            ratios.append("-")
            seconds.append("-")
            continue
        found = solve(name, problem)
        least = bound(evaluator.network, evaluator.machine).cycles
        ratios.append(f"{found.evaluation.cycles / least:.3f}")
        seconds.append(f"{found.seconds:.1f}")
        if name == "dp+cores":
            fewer = sum(choice.cores < evaluator.machine.cores for choice in found.choices)
            sizes = [str(len(found.choices)), str(fewer)]
    return [machine, network, *ratios, *seconds, *sizes]


if __name__ == "__main__":
    _command.run(main)
