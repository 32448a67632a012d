"""What the order of layers is worth on irregular networks: `python -m benchmarks orders --budgets 300`.

On the file's order stand `dp`; what annealing finds from there with the rest of the budget (cuts, splits, pieces,
rules); and the same from the best of `dp` and of the chains that orders are compared by (`scheduling.chains`), which
get half of the budget or 120 schedules. Over orders stand `dp_orders` and `annealing_orders` with the same budget. The
gain is that of the median of `annealing_orders` over the best of the medians on the file's order.

`--out FILE` appends a line of JSON for each (machine, network, budget, seed, way); what is there is left out, so
a run that was stopped goes on where it was. `--table FILE` prints Markdown: several seeds as median [least-greatest];
the columns behind compare the chains on the file's order with `annealing_orders`, of the first seed: kernels launched,
the peak of live tensors when whole layers run one by one in that order, bytes to and from DRAM.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import _command
from benchmarks._cells import DONE, LATE, Cell, append_cells, exit_status, limited_together, read_lines
from env.problems import make_problem
from hwmodel.machines.machine import Machine, load_machine
from scheduling.chains.best import schedules_of
from scheduling.chains.chain_search import ChainSearch, Priced, advance_together
from scheduling.chains.offered import candidates, cut_points
from scheduling.chains.order_costs import OrderCosts
from scheduling.exact.operator_graph import operator_graph, peak_bytes
from scheduling.layer_order import Order
from scheduling.problem import Problem, State, simulated_cost
from scheduling.strategies import solve
from scheduling.strategies.annealing import anneal
from scheduling.strategies.annealing_orders import MOST_RULED
from scheduling.strategies.dp import dp
from scheduling.strategies.graphturbo import graphturbo

CASES = ("inception_v1:16", "inception_v2:16", "randwire:4", "nasnet_cifar:4", "densenet121:4")

DP, ANNEALED, CHAINS, DP_ORDERS, FREE = "dp", "annealed", "chains", "dp_orders", "annealing_orders"
WAYS = (DP, ANNEALED, CHAINS, DP_ORDERS, FREE)
SEEDLESS = (DP, DP_ORDERS)
"""Ways that draw no random numbers: only the first seed is run."""


class Key(NamedTuple):
    """What a line is about; `l1` and `llb` are factors of the machine's sizes."""

    machine: str
    l1: float
    llb: float
    network: str
    batch: int
    budget: int
    seed: int
    way: str


def main() -> int:
    """Exit status: 0 done, 2 bad input."""
    options = _parser().parse_args()
    if options.table is not None:
        return exit_status("orders", lambda: print(markdown(read_cells(options.table)), end=""))
    return exit_status("orders", lambda: run(options))


def _parser() -> argparse.ArgumentParser:
    parser = _command.parser(__file__, __doc__)
    parser.add_argument("--cases", nargs="+", default=list(CASES), metavar="NETWORK:BATCH")
    parser.add_argument("--machine", default="stcp920", metavar="NAME")
    parser.add_argument("--l1", type=float, default=1.0, metavar="X", help="so many times as much L1")
    parser.add_argument("--llb", type=float, default=1.0, metavar="X", help="so many times as large an LLB")
    parser.add_argument("--budgets", nargs="+", type=int, default=[300], metavar="N")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seconds", type=float, default=1200.0, help="limit of a line (default 1200)")
    parser.add_argument("--out", type=Path, default=Path("build/orders.jsonl"), metavar="FILE")
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="print the table of this file, run nothing"
    )
    return parser


def run(options: argparse.Namespace) -> None:
    """Find what the file lacks, then print its table."""
    cells = read_cells(options.out) if options.out.exists() else []
    known = {key_of(cell) for cell in cells if cell["status"] != LATE or cell["limit_s"] >= options.seconds}
    varied(load_machine(options.machine), options.l1, options.llb)  # raises before anything runs
    wanted = [
        Key(options.machine, options.l1, options.llb, *_case(case), budget, seed, way)
        for case in options.cases
        for budget in options.budgets
        for seed in options.seeds
        for way in options.ways
        if way not in SEEDLESS or seed == options.seeds[0]
    ]
    missing = [key for key in wanted if key not in known]
    print(f"{len(wanted) - len(missing)} lines are in {options.out}, {len(missing)} to find", file=sys.stderr)
    append_cells(options.out, _found(missing, options.seconds), _said)
    print(markdown(read_cells(options.out)), end="")


def _found(keys: Sequence[Key], seconds: float) -> Iterator[tuple[Key, Cell]]:
    for _, same in groupby(keys, lambda key: key[:-2]):
        together = list(same)
        yield from limited_together(partial(finder, together[0]), together, seconds)


def _case(text: str) -> tuple[str, int]:
    network, _, batch = text.rpartition(":")
    if not network or not batch.isdecimal() or int(batch) < 1:
        raise ValueError(f"argument --cases: {text!r}, expected NETWORK:BATCH")
    return network, int(batch)


def _said(key: Key, cell: Cell) -> str:
    found = f"{cell['cycles']:,} cycles" if cell["status"] == DONE else cell["status"]
    return f"{key.network}:{key.batch}, {key.budget} schedules, seed {key.seed}, {key.way}: {found}"


def varied(machine: Machine, l1: float, llb: float) -> Machine:
    """The machine with so many times as much L1 and LLB."""
    factors = {name: factor for name, factor in (("l1", l1), ("llb", llb)) if factor != 1.0}
    return machine.varied(**factors) if factors else machine


def finder(key: Key) -> Callable[[Key], Cell]:
    """What finds the lines that differ from this one in seed and way; they share what was lowered."""
    machine = varied(load_machine(key.machine), key.l1, key.llb)
    problem = replace(make_problem(key.network, machine, key.batch), budget=key.budget)
    return partial(_line, problem)


def _line(problem: Problem, key: Key) -> Cell:
    problem = replace(problem, seed=key.seed)
    evaluator, started = problem.evaluator, time.perf_counter()
    order, state = _DECIDED[key.way](problem)
    seconds = time.perf_counter() - started
    evaluation = problem.reordered(order).evaluator.evaluate(*state)
    network = evaluator.network
    graph = operator_graph(network, evaluator.machine.element_bytes)
    return {
        "cycles": evaluation.cycles,
        "layers": len(network.layers),
        "seconds": round(seconds, 1),
        "kernels": evaluation.kernels,
        "live_bytes": peak_bytes(graph, order or range(len(network.layers))),
        "dram_bytes": evaluation.counts.dram_bytes,
    }


def _annealed(problem: Problem) -> tuple[Order, State]:
    """`dp`, then annealing with the rest of the budget."""
    before = problem.evaluator.evaluations
    return (), _annealed_from(problem, dp(problem), before)


def _chains(problem: Problem) -> tuple[Order, State]:
    """`dp` and the chains that orders are compared by, then annealing with the rest of the budget."""
    evaluator = problem.evaluator
    before, state = evaluator.evaluations, graphturbo(problem)
    file = tuple(range(problem.space.layers))
    given = Priced(simulated_cost(problem, *state), file, state)
    scale = evaluator.evaluate(*state)
    searches = [ChainSearch(problem, given, schedules_of(problem, cut_points, candidates, scale))]
    most = min(problem.budget // 2, MOST_RULED)
    searches[0].advance(most // 2)
    costs = OrderCosts(problem, scale)
    searches.append(costs.search(costs.cheapest(file)))
    advance_together(searches, most - (evaluator.evaluations - before))
    return (), _annealed_from(problem, min(search.best for search in searches).state, before)


def _annealed_from(problem: Problem, state: State, before: int) -> State:
    """After annealing with what is left of the budget since so many schedules were simulated."""
    left = problem.budget - (problem.evaluator.evaluations - before)
    return anneal(replace(problem, budget=left), state) if left > 1 else state


def _solved(name: str, problem: Problem) -> tuple[Order, State]:
    solution = solve(name, problem)
    return solution.layer_order, (solution.choices, solution.rules)


_DECIDED: dict[str, Callable[[Problem], tuple[Order, State]]] = {
    DP: partial(_solved, DP),
    ANNEALED: _annealed,
    CHAINS: _chains,
    DP_ORDERS: partial(_solved, DP_ORDERS),
    FREE: partial(_solved, FREE),
}


def read_cells(path: Path) -> list[Cell]:
    """The lines of a file; raises ValueError where one is none."""
    return read_lines(path, key_of)


def key_of(cell: Cell) -> Key:
    """What a line is about."""
    return Key(*(cell[field] for field in Key._fields))


def markdown(cells: Sequence[Cell]) -> str:
    """A table with a row for each network, machine and budget."""
    found = {key_of(cell): cell for cell in cells if cell["status"] == DONE}
    names = [f"`{name}`" if name not in (ANNEALED, CHAINS) else name for name in WAYS]
    heads = ["network, batch", "machine", "layers", "budget", *names, "gain", "kernels", "live MB", "DRAM MB"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    rows = dict.fromkeys(key[:-2] for key in sorted(found))
    for row in rows:
        machine, l1, llb, network, batch, budget = row
        of = {
            way: [cell for key, cell in found.items() if (*key[:-2], key.way) == (*row, way)] for way in WAYS
        }
        name = "".join([machine, *(f", {n} x {x:g}" for n, x in (("L1", l1), ("LLB", llb)) if x != 1.0)])
        layers = str(next(cell["layers"] for cells in of.values() for cell in cells))
        spreads = [_spread([cell["cycles"] for cell in of[way]]) for way in WAYS]
        lines.append(
            f"| {' | '.join([f'{network}, {batch}', name, layers, str(budget), *spreads, *_gains(of)])} |"
        )
    return "\n".join(lines) + "\n"


def _gains(of: dict[str, list[Cell]]) -> list[str]:
    """The gain, and what changes with the order; a dash for what was not found."""
    filed = [median(cell["cycles"] for cell in of[way]) for way in (ANNEALED, CHAINS) if of[way]]
    if not filed or not of[FREE]:
        return ["-"] * 4
    gain = f"{min(filed) / median(cell['cycles'] for cell in of[FREE]):.3f}"
    if not of[CHAINS]:
        return [gain, *["-"] * 3]
    pairs = []
    for field, unit in (("kernels", "{:.0f}"), ("live_bytes", "{:.1f}"), ("dram_bytes", "{:.1f}")):
        scale = 1 if field == "kernels" else 1e6
        pairs.append(" -> ".join(unit.format(of[way][0][field] / scale) for way in (CHAINS, FREE)))
    return [gain, *pairs]


def _spread(cycles: Sequence[int]) -> str:
    """Median [least-greatest] in millions."""
    if not cycles:
        return "-"
    ordered = sorted(number / 1e6 for number in cycles)
    middle = f"{median(ordered):.3f}"
    return middle if ordered[0] == ordered[-1] else f"{middle} [{ordered[0]:.3f}-{ordered[-1]:.3f}]"


if __name__ == "__main__":
    _command.run(main)
