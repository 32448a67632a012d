"""All strategies on many networks and machines, cell by cell into a file, and the tables made of that file.

`python -m benchmarks.comparison --out cells.jsonl` appends a line of JSON for each (machine, network, strategy). Cells
that are there already are left out, so a run that was stopped goes on where it was; those that were out of time run
again where the limit is longer now. Every cell runs in a process of its own, with a limit in seconds.
`python -m benchmarks.comparison --table cells.jsonl` prints Markdown.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import _command
from benchmarks._cells import DONE, LATE, Cell, append_cells, exit_status, limited, read_lines
from benchmarks._strategies import ALL, LEARNED, learned, strategy_name
from env.problems import make_problem
from hwmodel.machines.machine import load_machine
from scheduling.bound import bound
from scheduling.errors import ScheduleError
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.strategies import name_parts, runs_on, solve

NETWORKS = (
    "squeezenet@4",
    "inception_v1@4",
    "densenet121@4",
    "resnet50@4",
    "mobilenet_v2@4",
    "bert_base@4",
    "vit_b16@4",
    "dlrm@4",
    "nasnet_cifar@4",
    "randwire@4",
    "lstm:sequence=10@4",
    "fsrcnn@1",
    "unet@1",
)
"""Networks with the batch of a cluster: one where an image is large."""

WARM_UP = "squeezenet"


class Key(NamedTuple):
    """What a cell is about."""

    machine: str
    network: str
    batch: int
    objective: str
    budget: int
    seed: int
    strategy: str


def main() -> int:
    """Exit status: 0 done, 2 bad input."""
    options = _parser().parse_args()
    if options.table is not None:
        return exit_status("comparison", lambda: print(markdown(read_cells(options.table)), end=""))
    return exit_status("comparison", lambda: run(options))


def _parser() -> argparse.ArgumentParser:
    parser = _command.parser(__file__, __doc__)
    parser.add_argument(
        "--networks", nargs="+", default=list(NETWORKS), metavar="NAME[@BATCH]", help="batch 4 unless given"
    )
    parser.add_argument("--machines", nargs="+", default=["stcp920"], metavar="NAME")
    parser.add_argument("--objective", choices=list(Objective), default=Objective.LATENCY, type=Objective)
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strategies", nargs="+", type=strategy_name, default=list(ALL), metavar="NAME")
    parser.add_argument("--seconds", type=float, default=120.0, help="limit of a cell (default 120)")
    parser.add_argument("--out", type=Path, default=Path("build/comparison.jsonl"), metavar="FILE")
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="print the tables of this file and run nothing"
    )
    return parser


def run(options: argparse.Namespace) -> None:
    """Run the cells that the file lacks."""
    cells = read_cells(options.out) if options.out.exists() else []
    known = {key_of(cell) for cell in cells if cell["status"] != LATE or cell["limit_s"] >= options.seconds}
    wanted = [
        Key(machine, *_network(name), str(options.objective), options.budget, options.seed, strategy)
        for machine in options.machines
        for name in options.networks
        for strategy in options.strategies
        if runs_on(strategy, load_machine(machine), (LEARNED,))
    ]
    missing = [key for key in wanted if key not in known]
    print(f"{len(wanted) - len(missing)} cells are in {options.out}, {len(missing)} to run", file=sys.stderr)
    if not missing:
        return
    warm_up(dict.fromkeys((key.machine, key.strategy) for key in missing))
    found = ((key, limited(partial(solved, key), options.seconds)) for key in missing)
    append_cells(options.out, found, _said)


def _said(key: Key, cell: Cell) -> str:
    found = f"{cell['cycles']:,} cycles" if cell["status"] == DONE else cell["status"]
    return f"{key.machine} {key.network}@{key.batch} {key.strategy}: {found}"


def _network(text: str) -> tuple[str, int]:
    name, separator, batch = text.partition("@")
    if separator and not (batch.isdecimal() and int(batch) > 0):
        raise ValueError(f"{text}: batch is {batch!r}, expected a whole number of at least 1")
    return name, int(batch) if separator else 4


def warm_up(pairs: Iterable[tuple[str, str]]) -> None:
    """Load or compile in this process what its children will use, so that no cell's seconds include that."""
    for machine, strategy in pairs:
        if name_parts(strategy, (LEARNED,))[0] != LEARNED:
            try:
                solve(strategy, Problem(*_parts(WARM_UP, machine), budget=8))
            except ScheduleError:
                continue  # the cell itself says what is wrong


def _parts(network: str, machine: str) -> tuple[Any, Any]:
    problem = make_problem(network, machine)
    return problem.evaluator, problem.space


def solved(key: Key) -> Cell:
    """Solve a fresh problem; raises ScheduleError where the network does not fit, or the strategy is not for it."""
    made = make_problem(key.network, key.machine, key.batch, key.objective)
    problem = Problem(made.evaluator, made.space, made.objective, key.budget, key.seed)
    # torch must not be loaded before this process was forked.
    solution = solve(key.strategy, problem, learned(key.strategy))
    evaluation = solution.evaluation
    least = bound(problem.evaluator.network, problem.evaluator.machine)
    return {
        "cycles": evaluation.cycles,
        "bound_cycles": least.cycles,
        "off_core_bytes": evaluation.off_core_bytes,
        "dram_bytes": evaluation.counts.dram_bytes,
        "compulsory_bytes": least.off_core_bytes,
        "energy_pj": evaluation.energy_pj,
        "kernels": evaluation.kernels,
        "evaluations": solution.evaluations,
        "seconds": round(solution.seconds, 3),
    }


def read_cells(path: Path) -> list[Cell]:
    """The cells of a file; ValueError names the line that is none."""
    return read_lines(path, key_of)


def key_of(cell: Cell) -> Key:
    """What a cell is about."""
    return Key(*(cell[field] for field in Key._fields))


def markdown(cells: Sequence[Cell]) -> str:
    """All machines in short; for each, cycles, off-core and DRAM bytes, seconds, what parts of `graphturbo` are worth.

    Of several cells about the same, the last one counts. Raises ValueError where objectives, budgets or seeds
    differ, since one table cannot tell them apart."""
    place = {name: k for k, name in enumerate(ALL)}
    latest = {key_of(cell): cell for cell in cells}.values()
    cells = sorted(latest, key=lambda cell: place.get(cell["strategy"], len(place)))
    for name in ("objective", "budget", "seed"):
        values = sorted({str(cell[name]) for cell in cells})
        if len(values) > 1:
            raise ValueError(f"the cells have {name} {', '.join(values)}, expected one for all")
    parts = [_summary(cells)]
    for machine in dict.fromkeys(cell["machine"] for cell in cells):
        mine = [cell for cell in cells if cell["machine"] == machine]
        parts.append(f"### {machine}\n")
        for title, value, digits in (
            ("Cycles over the bound", lambda cell: cell["cycles"] / cell["bound_cycles"], 2),
            ("Off-core bytes over the compulsory", lambda c: c["off_core_bytes"] / c["compulsory_bytes"], 2),
            ("DRAM bytes over the compulsory", lambda cell: cell["dram_bytes"] / cell["compulsory_bytes"], 2),
            ("Seconds", lambda cell: cell["seconds"], 1),
        ):
            parts.append(f"{title}:\n\n{_table(mine, value, digits, marked=title != 'Seconds')}")
        parts.append(_parts_of_graphturbo(mine))
        notes = _refusals(mine)
        if notes:
            parts.append("Not in the tables:\n\n" + "\n".join(notes) + "\n")
    return "\n".join(parts)


def _summary(cells: Sequence[Cell]) -> str:
    """Cycles over the bound on each machine, the mean over the networks that all strategies finished there, and on how
    many of them a strategy needs the fewest cycles."""
    machines = list(dict.fromkeys(cell["machine"] for cell in cells))
    strategies = list(dict.fromkeys(cell["strategy"] for cell in cells))
    texts: dict[tuple[str, str], str] = {}
    heads = ["strategy"]
    for machine in machines:
        mine = [cell for cell in cells if cell["machine"] == machine]
        found = _values(mine, lambda cell: cell["cycles"] / cell["bound_cycles"])
        here = {cell["strategy"] for cell in mine}
        whole = [column for column in _columns(mine) if all((name, *column) in found for name in here)]
        heads.append(f"{machine}, {len(whole)} networks")
        least = {column: min(found[name, *column] for name in here) for column in whole}
        for name in here if whole else ():
            own = [found[name, *column] for column in whole]
            best = sum(found[name, *column] == least[column] for column in whole)
            texts[name, machine] = f"{_mean(own):.2f} ({best})"
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name in strategies:
        lines.append(f"| `{name}` | {' | '.join(texts.get((name, machine), '-') for machine in machines)} |")
    return "\n".join(lines) + "\n"


def _refusals(cells: Sequence[Cell]) -> list[str]:
    """What could not be done and why, a line for each reason."""
    strategies = {cell["strategy"] for cell in cells}
    found: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell["status"] not in (DONE, LATE):
            found.setdefault((cell["network"], cell["status"]), []).append(cell["strategy"])
    return [
        f"- {network}, {'all strategies' if set(names) == strategies else ', '.join(names)}: {status}"
        for (network, status), names in found.items()
    ]


def _columns(cells: Sequence[Cell]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((cell["network"], cell["batch"]) for cell in cells))


def _values(cells: Sequence[Cell], value: Any) -> dict[tuple[str, str, int], float]:
    return {
        (cell["strategy"], cell["network"], cell["batch"]): float(value(cell))
        for cell in cells
        if cell["status"] == DONE
    }


def _table(cells: Sequence[Cell], value: Any, digits: int, *, marked: bool) -> str:
    """Rows of strategies, columns of networks that any of them finished; the least of a column is bold. The mean is the
    geometric one, of those that finished all."""
    found = _values(cells, value)
    columns = [column for column in _columns(cells) if any(key[1:] == column for key in found)]
    strategies = [
        name
        for name in dict.fromkeys(cell["strategy"] for cell in cells)
        if any((name, *column) in found for column in columns)
    ]
    late = {(c["strategy"], c["network"], c["batch"]) for c in cells if c["status"] == LATE}
    heads = ["strategy", *(f"{network} x {batch}" for network, batch in columns), "mean"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name in strategies:
        row = [f"`{name}`"]
        for column in columns:
            own = found.get((name, *column))
            if own is None:
                row.append("late" if (name, *column) in late else "-")
                continue
            text = f"{own:.{digits}f}"
            least = min(found[other, *column] for other in strategies if (other, *column) in found)
            row.append(f"**{text}**" if marked and own == least else text)
        own_row = [found[name, *column] for column in columns if (name, *column) in found]
        row.append(f"{_mean(own_row):.{digits}f}" if len(own_row) == len(columns) else "-")
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _parts_of_graphturbo(cells: Sequence[Cell]) -> str:
    """How many times faster instruction scheduling and depth-first order of instances make `graphturbo`."""
    cycles = _values(cells, lambda cell: cell["cycles"])
    lines = []
    for title, without in (
        ("instruction scheduling", "graphturbo_dfs_plain"),
        ("depth-first order of instances", "graphturbo_bfs"),
    ):
        row = [title]
        for column in _columns(cells):
            pair = cycles.get((without, *column)), cycles.get(("graphturbo", *column))
            row.append("-" if None in pair else f"{pair[0] / pair[1]:.2f}")  # type: ignore[operator]
        lines.append(f"| {' | '.join(row)} |")
    heads = ["times faster by", *(f"{network} x {batch}" for network, batch in _columns(cells))]
    return "\n".join([f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *lines]) + "\n"


def _mean(values: Sequence[float]) -> float:
    return math.exp(sum(math.log(max(value, 1e-3)) for value in values) / len(values))


if __name__ == "__main__":
    _command.run(main)
