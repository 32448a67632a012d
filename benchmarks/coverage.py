"""Which strategies schedule which named models on which machines: each schedule checked, or why there is none.

`python -m benchmarks.coverage --out coverage.jsonl` appends a line of JSON for each (machine, model, strategy); lines
that are there already are left out, so a run that was stopped goes on where it was. The strategies of a model on a
machine run in one process, one after the other, and share candidates and lowered templates; each has a limit in
seconds. What is late or refused with the full model schedules narrower versions of it, whose name the line says.
`python -m benchmarks.coverage --table coverage.jsonl` prints Markdown.

A schedule counts only if it passes `check_arrangement` (order, moves, places in the LLB); up to DECODED instructions it
is emitted as a program too, whose own time and counts must be those that were simulated.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from benchmarks import _command
from benchmarks._cells import DONE, LATE, Cell, append_cells, exit_status, limited_together, read_lines
from benchmarks._strategies import ALL, LEARNED, learned, strategy_name
from benchmarks.comparison import warm_up
from benchmarks.models import NARROW
from env.problems import make_problem
from graph.files.zoo import zoo_names
from hwmodel.errors import KernelError
from hwmodel.machines.machine import load_machine
from hwmodel.timing.flatten import time_program
from scheduling.emission.program import build_program
from scheduling.errors import ScheduleError
from scheduling.legality.arrangements import check_arrangement
from scheduling.objective import Objective
from scheduling.problem import Problem, Solution
from scheduling.strategies import runs_on, solve
from scheduling.strategies.layerwise import layerwise

MACHINES = ("stcp920", "edge_tcm", "rammer_v100", "tiny")
"""Those of which every strategy has to schedule every model that they can run."""

SMALLEST: dict[str, str] = {}
"""Versions for a machine that has no room for the narrow ones either."""

DECODED = 200_000
"""Instructions up to which a schedule's program is emitted and timed."""

KEPT_ROWS = 3_000_000
"""Lowered instructions that the strategies of a model hand on to each other."""


class Key(NamedTuple):
    """What a line is about; `network` is the version of the model."""

    machine: str
    model: str
    budget: int
    network: str
    strategy: str


def main() -> int:
    """Exit status: 0 done, 2 bad input."""
    parser = _command.parser(__file__, __doc__)
    parser.add_argument("--models", nargs="+", default=[], metavar="NAME", help="default: all")
    parser.add_argument("--machines", nargs="+", default=list(MACHINES), metavar="NAME")
    parser.add_argument(
        "--budget", type=int, default=12, help="simulated schedules for each search (default 12)"
    )
    parser.add_argument("--strategies", nargs="+", type=strategy_name, default=list(ALL), metavar="NAME")
    parser.add_argument("--seconds", type=float, default=60.0, help="limit of a schedule (default 60)")
    parser.add_argument("--out", type=Path, default=Path("build/coverage.jsonl"), metavar="FILE")
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="print the tables of this file and run nothing"
    )
    options = parser.parse_args()
    if options.table is not None:
        return exit_status("coverage", lambda: print(markdown(read_cells(options.table)), end=""))
    return exit_status("coverage", lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """Find what the file lacks."""
    known = {key_of(c): c for c in read_cells(options.out)} if options.out.exists() else {}
    pairs = [(machine, name) for name in options.models or zoo_names() for machine in options.machines]
    warm_up(
        (machine, name)
        for machine in options.machines
        for name in options.strategies
        if runs_on(name, load_machine(machine), (LEARNED,))
    )
    for machine, name in pairs:
        wanted = [name for name in options.strategies if runs_on(name, load_machine(machine), (LEARNED,))]
        for network in versions(name):
            keys = [Key(machine, name, options.budget, network, strategy) for strategy in wanted]
            missing = [key for key in keys if not _settled(known.get(key), options.seconds)]
            found = limited_together(
                partial(finder, machine, network, options.budget), missing, options.seconds
            )
            append_cells(options.out, _noted(found, known), _said)
            wanted = [key.strategy for key in keys if known[key]["status"] != DONE]
            if not wanted:
                break


def versions(name: str) -> list[str]:
    """A model and its narrower versions, the full one first."""
    return list(dict.fromkeys((name, NARROW.get(name, name), SMALLEST.get(name, name))))


def _settled(cell: Cell | None, seconds: float) -> bool:
    return cell is not None and (cell["status"] != LATE or cell["limit_s"] >= seconds)


def _noted(found: Iterator[tuple[Key, Cell]], known: dict[Key, Cell]) -> Iterator[tuple[Key, Cell]]:
    for key, cell in found:
        known[key] = cell
        yield key, cell


def _said(key: Key, cell: Cell) -> str:
    found = f"{cell['cycles']:,} cycles" if cell["status"] == DONE else cell["status"]
    return f"{key.machine} {key.network} {key.strategy}: {found}"


def finder(machine: str, network: str, budget: int) -> Callable[[Key], Cell]:
    """What schedules a network by the strategy of a key and checks it, with candidates and templates for all keys.

    Raises ScheduleError where the network does not fit the machine at all, which no strategy has to find out again.
    """
    made = make_problem(network, machine)
    layerwise(made)
    checked: dict[object, Cell] = {}

    def find(key: Key) -> Cell:
        made.evaluator.trim(KEPT_ROWS)
        problem = Problem(made.evaluator, made.space, Objective.LATENCY, budget, 0)
        started = time.process_time()
        solution = solve(key.strategy, problem, learned(key.strategy))
        seconds = round(time.process_time() - started, 3)
        schedule = (solution.choices, solution.rules, solution.layer_order)
        if schedule not in checked:
            checked[schedule] = check(problem, solution)
        figures = {"cycles": solution.evaluation.cycles, "kernels": solution.evaluation.kernels}
        return figures | {"seconds": seconds} | checked[schedule]

    return find


def check(problem: Problem, solution: Solution) -> Cell:
    """How many instructions a schedule has and whether its program was decoded. Raises ScheduleError where it is not
    legal."""
    evaluator, choices = problem.reordered(solution.layer_order).evaluator, solution.choices
    plan = evaluator.arrange(choices, solution.rules)
    check_arrangement(evaluator, choices, plan)
    templates = evaluator.templates
    instructions = int(templates.store.places[templates.indices(choices, plan), 1].sum())
    if instructions > DECODED:
        return {"instructions": instructions, "decoded": False}
    try:
        timing = time_program(build_program(evaluator, choices, plan), evaluator.machine)
    except KernelError as error:
        raise ScheduleError(f"the program is wrong: {error}") from error
    simulated = solution.evaluation
    if (timing.makespan_cycles, timing.counts) != (simulated.cycles, simulated.counts):
        raise ScheduleError(
            f"the program takes {timing.makespan_cycles} cycles and moves {timing.counts.off_core_bytes} bytes, "
            f"simulated were {simulated.cycles} and {simulated.off_core_bytes}"
        )
    return {"instructions": instructions, "decoded": True}


def read_cells(path: Path) -> list[Cell]:
    """The lines of a file; ValueError names the one that is none."""
    return read_lines(path, key_of)


def key_of(cell: Cell) -> Key:
    """What a line is about."""
    return Key(*(cell[field] for field in Key._fields))


def markdown(cells: Sequence[Cell]) -> str:
    """For each machine a row for each model, and what is not in it; of the last line about the same. Raises ValueError
    where budgets differ.
    """
    if len({cell["budget"] for cell in cells}) > 1:
        raise ValueError("lines of several budgets; expected one")
    last = {key_of(cell): cell for cell in cells}.values()
    parts = []
    for machine in dict.fromkeys(cell["machine"] for cell in cells):
        mine = [cell for cell in last if cell["machine"] == machine]
        heads = ("model", "strategies", "as full model", "narrow", "decoded", "cycles", "slowest s")
        lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
        notes = []
        for model in sorted({cell["model"] for cell in mine}):
            here = [cell for cell in mine if cell["model"] == model]
            lines.append(_row(model, here))
            notes += _failures(model, here)
        parts.append(f"### {machine}\n\n" + "\n".join(lines) + "\n")
        if notes:
            parts.append("Not in the table:\n\n" + "\n".join(notes) + "\n")
    return "\n".join(parts)


def _row(model: str, cells: Sequence[Cell]) -> str:
    wanted = {cell["strategy"] for cell in cells}
    legal = [cell for cell in cells if cell["status"] == DONE]
    full = [cell for cell in legal if cell["network"] == model]
    narrow: dict[str, int] = {}
    for cell in legal:
        if cell["network"] != model:
            narrow[cell["network"]] = narrow.get(cell["network"], 0) + 1
    columns = (
        model,
        f"{len({cell['strategy'] for cell in legal})}/{len(wanted)}",
        str(len(full)),
        ", ".join(f"{count} `{network}`" for network, count in narrow.items()) or "-",
        str(sum(cell["decoded"] for cell in legal)),
        f"{min(c['cycles'] for c in full):,} to {max(c['cycles'] for c in full):,}" if full else "-",
        f"{max(cell['seconds'] for cell in legal):.1f}" if legal else "-",
    )
    return f"| {' | '.join(columns)} |"


def _failures(model: str, cells: Sequence[Cell]) -> list[str]:
    """What could not be done and why, a line for each reason; late ones whose narrow version was done are left out."""
    done = {cell["strategy"] for cell in cells if cell["status"] == DONE}
    strategies = {cell["strategy"] for cell in cells}
    found: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell["status"] != DONE and not (cell["status"] == LATE and cell["strategy"] in done):
            found.setdefault((cell["network"], cell["status"]), []).append(cell["strategy"])
    return [
        f"- {network}, {'all strategies' if set(names) == strategies else ', '.join(names)}: {status}"
        for (network, status), names in found.items()
    ]


if __name__ == "__main__":
    _command.run(main)
