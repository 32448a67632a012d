"""What the order of layers is worth on irregular networks: `python -m benchmarks orders --budget 300`.

On the file's order stands `dp`, and what annealing finds from there with the rest of the budget (cuts, splits, pieces,
rules); over orders `dp_orders` and `annealing_orders` with the same budget. Several seeds: median [least-greatest]. The
gain is that of the medians of `annealing_orders` over annealing on the file's order. The columns behind compare these
two, of the first seed: kernels launched, the peak of live tensors when whole layers run one by one in that order, bytes
to and from DRAM.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import NamedTuple

from benchmarks import _command
from env.problems import make_problem
from hwmodel.machines.machine import load_machine
from report.table import Column, render
from scheduling.exact.operator_graph import operator_graph, peak_bytes
from scheduling.layer_order import Order
from scheduling.problem import Problem, State
from scheduling.strategies import solve
from scheduling.strategies.annealing import anneal
from scheduling.strategies.dp import dp

CASES = ("inception_v1:16", "inception_v2:16", "randwire:4", "nasnet_cifar:4", "densenet121:4")


class Found(NamedTuple):
    """A schedule of a problem, and the seconds that finding it took."""

    order: Order
    state: State
    cycles: int
    seconds: float


def main() -> None:
    """Print a row for each network."""
    parser = _command.parser(__file__, __doc__)
    parser.add_argument("--cases", nargs="+", default=list(CASES), metavar="NETWORK:BATCH")
    parser.add_argument("--machine", default="stcp920", metavar="NAME")
    parser.add_argument("--l1", type=float, default=1.0, metavar="X", help="so many times as much L1")
    parser.add_argument("--llb", type=float, default=1.0, metavar="X", help="so many times as large an LLB")
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    options = parser.parse_args()
    machine = load_machine(options.machine)
    if (options.l1, options.llb) != (1.0, 1.0):
        machine = machine.varied(l1=options.l1, llb=options.llb)
    rows = []
    for case in options.cases:
        network, _, batch = case.rpartition(":")
        if not network or not batch.isdigit():
            parser.error(f"argument --cases: {case!r}, expected NETWORK:BATCH")
        problem = replace(make_problem(network, machine, int(batch)), budget=options.budget)
        rows.append([network, batch, str(problem.space.layers), *_row(problem, options.seeds)])
    columns = [Column("network", left=True), Column("batch"), Column("layers")]
    columns += [Column(f"{name}\nMcycles") for name in ("dp", "annealed", "dp_orders", "annealing_orders")]
    columns += [Column("gain"), Column("seconds"), Column("kernels"), Column("live\nMB"), Column("DRAM\nMB")]
    print(f"{machine.name}, budget {options.budget}, seeds {', '.join(map(str, options.seeds))}")
    print(render(columns, rows))


def _row(problem: Problem, seeds: Sequence[int]) -> list[str]:
    given = problem.evaluator.evaluate(*dp(problem)).cycles
    filed = [_on_the_file_order(replace(problem, seed=seed)) for seed in seeds]
    ruled = _found("dp_orders", problem)
    free = [_found("annealing_orders", replace(problem, seed=seed)) for seed in seeds]
    gain = median(one.cycles for one in filed) / median(one.cycles for one in free)
    pairs = [
        [one.format(value) for value in values]
        for one, values in zip(
            ("{:.0f}", "{:.1f}", "{:.1f}"),
            zip(_figures(problem, filed[0]), _figures(problem, free[0]), strict=True),
            strict=True,
        )
    ]
    return [
        f"{given / 1e6:.3f}",
        _spread(filed),
        f"{ruled.cycles / 1e6:.3f}",
        _spread(free),
        f"{gain:.3f}",
        f"{median(one.seconds for one in free):.0f}",
        *(f"{before} -> {after}" for before, after in pairs),
    ]


def _on_the_file_order(problem: Problem) -> Found:
    """`dp`, then annealing with the rest of the budget."""
    started, before = time.perf_counter(), problem.evaluator.evaluations
    state = dp(problem)
    left = problem.budget - (problem.evaluator.evaluations - before)
    if left > 1:
        state = anneal(replace(problem, budget=left), state)
    cycles = problem.evaluator.evaluate(*state).cycles
    return Found((), state, cycles, time.perf_counter() - started)


def _found(name: str, problem: Problem) -> Found:
    solution = solve(name, problem)
    state = solution.choices, solution.rules
    return Found(solution.layer_order, state, solution.evaluation.cycles, solution.seconds)


def _figures(problem: Problem, found: Found) -> tuple[float, float, float]:
    """Kernels, live MB at the peak of the order, MB to and from DRAM."""
    evaluation = problem.reordered(found.order).evaluator.evaluate(*found.state)
    network = problem.evaluator.network
    graph = operator_graph(network, problem.evaluator.machine.element_bytes)
    live = peak_bytes(graph, found.order or range(len(network.layers)))
    return evaluation.kernels, live / 1e6, evaluation.counts.dram_bytes / 1e6


def _spread(found: Sequence[Found]) -> str:
    cycles = sorted(one.cycles / 1e6 for one in found)
    middle = f"{median(cycles):.3f}"
    return middle if cycles[0] == cycles[-1] else f"{middle} [{cycles[0]:.3f}-{cycles[-1]:.3f}]"


if __name__ == "__main__":
    _command.run(main)
