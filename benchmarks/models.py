"""Every model by name: its size, its import time, and the error of its kernels against onnxruntime.

`python -m benchmarks.models --out models.jsonl` appends a line of JSON for each finding about a model: its sizes, each
execution. Those that are there already are left out, so a run that was stopped goes on where it was. Each is found in a
process of its own with a limit in seconds. `python -m benchmarks.models --table models.jsonl` prints Markdown.

Sizes are those at batch 1; kernels are executed, and compared, at batch 2, of a narrow version where the full one would
take minutes. Which strategies schedule which model is another benchmark (coverage).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from benchmarks import _command
from benchmarks._cells import DONE, Cell, append_cells, exit_status, limited, read_lines
from benchmarks._strategies import LEARNED, learned
from benchmarks.comparison import warm_up
from env.problems import make_problem
from graph.counts import macs_per_image, weight_elements_total
from graph.files.zoo import zoo_names
from graph.importer import load_model
from graph.network import Network
from hwmodel.machines.machine import Machine, load_machine
from report.verify import verify
from scheduling.emission.program import build_program, program_weights
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.strategies import solve

EXECUTED = ("layerwise", "graphturbo", "dp", LEARNED)
"""Strategies whose kernels are executed."""

SIZES, EXECUTE = "sizes", "execute"

NARROW = {
    "bert_base": "bert_base:layers=2,width=128,heads=4,vocabulary=1000",
    "bert_large": "bert_large:layers=2,width=128,heads=4,vocabulary=1000",
    "conformer": "conformer:frames=96,layers=2,width=32",
    "deepspeech2": "deepspeech2:frames=24,layers=2,width=16",
    "dmcnn_vd": "dmcnn_vd:rows=48,columns=64,width=16",
    "fsrcnn": "fsrcnn:rows=48,columns=64",
    "gpt": "gpt:layers=2,width=128,heads=4,vocabulary=1000",
    "lstm": "lstm:sequence=8,width=64,vocabulary=1000",
    "mc_cnn": "mc_cnn:rows=48,columns=64,width=16",
    "nasnet_cifar": "nasnet_cifar:cells=1,filters=8",
    "nasnet_mobile": "nasnet_mobile:size=64,cells=1,filters=16",
    "randwire": "randwire:channels=16,nodes=12,size=64",
    "resnet18": "resnet18:size=64,width=0.25",
    "resnet34": "resnet34:size=64,width=0.25",
    "resnet50_v1": "resnet50_v1:size=64,width=0.25",
    "resnet101": "resnet101:size=64,width=0.25",
    "resnext29": "resnext29:cardinality=4,width=16",
    "mobilenet_v2": "mobilenet_v2:size=96,width=0.5",
    "seq2seq": "seq2seq:source=6,target=6,layers=2,width=32,vocabulary=200",
    "unet": "unet:rows=64,columns=64,width=16",
    "vit_b16": "vit_b16:size=64,layers=2,width=128,heads=4,hidden=256",
}


class Finding(NamedTuple):
    """What a line is about: `part` is SIZES (of no strategy) or EXECUTE."""

    machine: str
    model: str
    budget: int
    part: str
    strategy: str


def main() -> int:
    """Exit status: 0 done, 2 bad input."""
    parser = _command.parser(__file__, __doc__)
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help="default: all")
    parser.add_argument("--machine", default="stcp920", metavar="NAME")
    parser.add_argument(
        "--budget", type=int, default=20, help="simulated schedules for each search (default 20)"
    )
    parser.add_argument(
        "--strategies", nargs="+", choices=EXECUTED, default=list(EXECUTED), metavar="NAME",
        help=f"of {', '.join(EXECUTED)}",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=900.0, help="limit of a finding (default 900)")
    parser.add_argument("--out", type=Path, default=Path("build/models.jsonl"), metavar="FILE")
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="print the table of this file and run nothing"
    )
    options = parser.parse_args()
    if options.table is not None:
        return exit_status("models", lambda: print(markdown(read_cells(options.table)), end=""))
    return exit_status("models", lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """Find what the file lacks."""
    known = {finding_of(cell) for cell in read_cells(options.out)} if options.out.exists() else set()
    wanted = [
        finding
        for name in options.names or zoo_names()
        for finding in _findings(name, options.machine, options.budget, options.strategies)
    ]
    missing = [finding for finding in wanted if finding not in known]
    print(
        f"{len(wanted) - len(missing)} findings are in {options.out}, {len(missing)} to go", file=sys.stderr
    )
    if not missing:
        return
    warm_up(dict.fromkeys((finding.machine, finding.strategy) for finding in missing if finding.strategy))
    append_cells(
        options.out,
        ((finding, _found(finding, options.seconds)) for finding in missing),
        lambda finding, cell: " ".join((finding.model, *finding[3:], cell["status"])),
    )


def _findings(name: str, machine: str, budget: int, strategies: Sequence[str]) -> Iterator[Finding]:
    yield Finding(machine, name, budget, SIZES, "")
    for strategy in strategies:
        yield Finding(machine, name, budget, EXECUTE, strategy)


def _found(finding: Finding, seconds: float) -> Cell:
    """What is found out; `network` is the version of the model that is executed."""
    machine, name = load_machine(finding.machine), finding.model
    if finding.part == SIZES:
        return limited(partial(sizes, name, machine), seconds)
    network = NARROW.get(name, name)
    found = limited(partial(errors, network, machine, finding.budget, finding.strategy), seconds)
    return {"network": network} | found


def sizes(name: str, machine: Machine) -> Cell:
    """Sizes of the full model, and the seconds of processor time that its structure takes to import."""
    started = time.process_time()
    model = load_model(name, weights=False)
    seconds = time.process_time() - started
    network = model.network
    return {
        "nodes": len(model.folded.nodes),
        "layers": len(network.layers),
        "macs": macs_per_image(network),
        "weights": weight_elements_total(network),
        "largest_bytes": largest_bytes(network, machine),
        "import_seconds": round(seconds, 3),
    }


def errors(name: str, machine: Machine, budget: int, strategy: str) -> Cell:
    """Errors of a strategy's kernels at batch 2 against onnxruntime, and whether they are within their limits."""
    model = load_model(name, batch=2)
    made = make_problem(model.network, machine)
    problem = Problem(made.evaluator, made.space, Objective.LATENCY, budget, 0)
    solution = solve(strategy, problem, learned(strategy))
    evaluator = problem.evaluator
    program = build_program(evaluator, solution.choices, evaluator.arrange(solution.choices, solution.rules))
    result = verify(model, program, machine, program_weights(model.network))
    native = None if result.native is None else result.native.max_relative_error
    return {"fp32": result.fp32.max_relative_error, "native": native, "passed": result.passed}


def largest_bytes(network: Network, machine: Machine) -> int:
    """Bytes of the inputs and the output of the layer that needs most, one image, without weights."""
    tensors = network.tensors
    return machine.element_bytes * max(
        sum(tensors[t].elements for t in {*layer.inputs, layer.output}) for layer in network.layers
    )


def read_cells(path: Path) -> list[Cell]:
    """The lines of a file; ValueError names the one that is none."""
    return read_lines(path, finding_of)


def finding_of(cell: Cell) -> Finding:
    """What a line is about."""
    return Finding(*(cell[field] for field in Finding._fields))


def markdown(cells: Sequence[Cell]) -> str:
    """A row for each model whose sizes are known, of the last line about each finding. Raises ValueError where machines
    or budgets differ.
    """
    if len({(cell["machine"], cell["budget"]) for cell in cells}) > 1:
        raise ValueError("lines of several machines or budgets; expected one of each in a table")
    last = {finding_of(cell): cell for cell in cells}
    heads = ("model", "nodes", "layers", "GMAC", "weights M", "largest layer MB", "import s", "fp32 error",
             "fp16 error", "executed")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    notes = []
    for name in sorted({cell["model"] for cell in cells}):
        mine = [cell for cell in last.values() if cell["model"] == name]
        notes += [
            f"- {name}, {c['part']} {c['strategy']}: {c['status']}" for c in mine if c["status"] != DONE
        ]
        notes += [
            f"- {name}, {c['strategy']}: beyond its limit, fp32 {c['fp32']:.1e}"
            for c in mine
            if not c.get("passed", True)
        ]
        size = next((cell for cell in mine if cell["part"] == SIZES and cell["status"] == DONE), None)
        if size is not None:
            lines.append(_row(size, [cell for cell in mine if cell["part"] != SIZES]))
    ending = f"\nNot in the table:\n\n{chr(10).join(notes)}\n" if notes else ""
    return "\n".join(lines) + "\n" + ending


def _row(size: Cell, others: Sequence[Cell]) -> str:
    name = size["model"]
    executed = [cell for cell in others if cell["status"] == DONE]
    worst = [
        f"{max(found):.1e}" if (found := [cell[kind] for cell in executed if cell[kind] is not None]) else "-"
        for kind in ("fp32", "native")
    ]
    versions = ", ".join(f"`{network}`" for network in dict.fromkeys(cell["network"] for cell in executed))
    columns = (
        name,
        f"{size['nodes']:,}",
        f"{size['layers']:,}",
        f"{size['macs'] / 1e9:.3f}",
        f"{size['weights'] / 1e6:.2f}",
        f"{size['largest_bytes'] / 1e6:.2f}",
        f"{size['import_seconds']:.2f}",
        *worst,
        versions or "-",
    )
    return f"| {' | '.join(columns)} |"


if __name__ == "__main__":
    _command.run(main)
