"""Which strategies schedule which named models on which machines: each schedule checked, or why there is none.

`python -m benchmarks.coverage --out coverage.jsonl` appends a line of JSON for each (machine, model, strategy); lines
that are there already are left out, so a run that was stopped goes on where it was. The strategies of a model on a
machine run in one process, one after the other, and share candidates and lowered templates; each has a limit in
seconds. What is late or refused with the full model schedules narrower versions of it, whose name the line says.
`python -m benchmarks.coverage --table coverage.jsonl` prints Markdown.

A schedule counts only if it passes `check_arrangement` (order, moves, places in the LLB); up to --decoded
instructions x cores it is emitted as a program too, whose own time and counts must be those that were simulated.
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

SMALLEST = {
    "bert_base": "bert_base:layers=1,width=32,heads=2,vocabulary=50,sequence=16",
    "bert_large": "bert_large:layers=1,width=32,heads=2,vocabulary=50,sequence=16",
    "conformer": "conformer:frames=32,layers=1,width=16",
    "dlrm": "dlrm:rows=100,tables=4,width=16,scale=0.1",
    "fsrcnn": "fsrcnn:rows=16,columns=16,d=32",
    "gpt": "gpt:layers=1,width=32,heads=2,vocabulary=50,sequence=16",
    "lstm": "lstm:sequence=4,width=16,vocabulary=50",
    "mobilenet_v2": "mobilenet_v2:size=32,width=0.25,classes=10",
    "nasnet_cifar": "nasnet_cifar:cells=1,filters=4,size=8",
    "nasnet_mobile": "nasnet_mobile:size=32,cells=1,filters=4,classes=10",
    "resnet18": "resnet18:size=32,width=0.125,classes=10",
    "resnet34": "resnet34:size=32,width=0.125,classes=10",
    "resnet50_v1": "resnet50_v1:size=32,width=0.125,classes=10",
    "resnet101": "resnet101:size=32,width=0.125,classes=10",
    "unet": "unet:rows=16,columns=16,width=4",
    "vit_b16": "vit_b16:size=16,patch=4,layers=1,width=32,heads=2,hidden=64,classes=10",
}
"""Versions for a machine that has no room for the narrow ones either."""

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
    parser.add_argument(
        "--decoded",
        type=int,
        default=400_000,
        metavar="N",
        help="instructions x cores up to which a schedule's program is timed by itself (default 400000)",
    )
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
    runs = {
        name: machine
        for machine in reversed(options.machines)
        for name in options.strategies
        if runs_on(name, load_machine(machine), (LEARNED,))
    }
    warm_up((machine, name) for name, machine in runs.items())
    for machine, name in pairs:
        wanted = [name for name in options.strategies if runs_on(name, load_machine(machine), (LEARNED,))]
        for network in versions(name):
            keys = [Key(machine, name, options.budget, network, strategy) for strategy in wanted]
            missing = [key for key in keys if not _settled(known.get(key), options.seconds)]
            make = partial(finder, machine, network, options.budget, options.decoded)
            found = limited_together(make, missing, options.seconds)
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


def finder(machine: str, network: str, budget: int, decoded: int) -> Callable[[Key], Cell]:
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
            checked[schedule] = check(problem, solution, decoded)
        figures = {"cycles": solution.evaluation.cycles, "kernels": solution.evaluation.kernels}
        return figures | {"seconds": seconds} | checked[schedule]

    return find


def check(problem: Problem, solution: Solution, decoded: int) -> Cell:
    """How many instructions a schedule has and whether its program was decoded, which it is up to so many times the
    machine's cores. Raises ScheduleError where it is not legal."""
    evaluator, choices = problem.reordered(solution.layer_order).evaluator, solution.choices
    plan = evaluator.arrange(choices, solution.rules)
    check_arrangement(evaluator, choices, plan)
    templates = evaluator.templates
    instructions = int(templates.store.places[templates.indices(choices, plan), 1].sum())
    if instructions * evaluator.machine.cores > decoded:
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
    """How many strategies have a legal schedule of each model (rows) on each machine (columns), for how many of them it
    is one of a narrower version, and what could not be done; of the last line about the same. Raises ValueError where
    budgets differ.
    """
    if len({cell["budget"] for cell in cells}) > 1:
        raise ValueError("lines of several budgets; expected one")
    last = list({key_of(cell): cell for cell in cells}.values())
    machines = list(dict.fromkeys(cell["machine"] for cell in cells))
    heads = ["model", *machines]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    notes = []
    for model in sorted({cell["model"] for cell in cells}):
        row = [model]
        for machine in machines:
            here = [cell for cell in last if (cell["model"], cell["machine"]) == (model, machine)]
            row.append(_legal(model, here))
            notes += [f"- {machine}, {note}" for note in _failures(here)]
        lines.append(f"| {' | '.join(row)} |")
    legal = [cell for cell in last if cell["status"] == DONE]
    decoded = sum(cell["decoded"] for cell in legal)
    parts = [
        "\n".join(lines),
        f"{len(legal):,} schedules are legal; {decoded:,} of them were emitted and timed too.",
    ]
    if notes:
        parts.append("Not done:\n\n" + "\n".join(notes))
    return "\n\n".join(parts) + "\n"


def _legal(model: str, cells: Sequence[Cell]) -> str:
    """Strategies with a legal schedule, of those that were run; `cells` are of one model and machine."""
    if not cells:
        return ""
    legal = {cell["strategy"] for cell in cells if cell["status"] == DONE}
    full = {cell["strategy"] for cell in cells if cell["status"] == DONE and cell["network"] == model}
    narrow = len(legal - full)
    text = f"{len(legal)}/{len({cell['strategy'] for cell in cells})}"
    return text + (", narrow" if narrow == len(legal) > 0 else f", {narrow} narrow" if narrow else "")


def _failures(cells: Sequence[Cell]) -> list[str]:
    """What could not be done and why, a line for each reason; what was late with one version and done with a narrower
    one is said by the table."""
    strategies = {cell["strategy"] for cell in cells}
    done = {cell["strategy"] for cell in cells if cell["status"] == DONE}
    found: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell["status"] != DONE and not (cell["status"] == LATE and cell["strategy"] in done):
            found.setdefault((cell["network"], cell["status"]), []).append(cell["strategy"])
    return [
        f"{network}, {'all strategies' if set(names) == strategies else ', '.join(names)}: {status}"
        for (network, status), names in found.items()
    ]


if __name__ == "__main__":
    _command.run(main)
