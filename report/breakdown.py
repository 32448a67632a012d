"""Where the time of a schedule goes, by sub-graph and layer: the parts of its critical path
(hwmodel.timing.breakdown)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graph.counts import layer_macs
from hwmodel.programs.isa import Op, Program
from hwmodel.timing.breakdown import IDEAL, PARTS, breakdown
from hwmodel.timing.flatten import Ints, Timing
from hwmodel.timing.instruction_cost import instruction_cost
from report.copies import copy_layers
from report.decisions import first_node, last_node, shortened
from report.table import Column, number, render
from scheduling.choice import Choice
from scheduling.evaluator import Evaluator
from scheduling.lowering.rows import C_TENSOR
from scheduling.templates import Template
from scheduling.timeline.arrangement import Arrangement

SHOWN_PARTS = (*PARTS[: IDEAL + 1], "recomputed", *PARTS[IDEAL + 1 :])
"""As hwmodel.timing.breakdown.PARTS, with the ideal cycles of what a layer computes more than once (halos) set
apart."""

RECOMPUTED = IDEAL + 1

_HEADERS = {
    "ideal": "ideal",
    "recomputed": "recom-\nputed",
    "under_use": "under-\nuse",
    "issue_drain": "issue,\ndrain",
    "port_stalls": "ports",
    "vector": "vector",
    "engine_wait": "engine\nwait",
    "dram": "DRAM",
    "llb": "LLB",
    "exchange": "ex-\nchange",
    "startup": "start-\nup",
    "launch": "launch",
}

_SHOWN_LAYERS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Breakdown:
    """Cycles of the makespan by layer and SHOWN_PARTS, (L, 12); a kernel's launch is in its sub-graph's first layer,
    a load in the first layer of the sub-graph that reads it, a copy of weights in their layer, one of a tensor in the
    layer that made it. All of them sum to the makespan. `homes` (L,) is the sub-graph of each layer."""

    layers: tuple[str, ...]
    choices: tuple[Choice, ...]
    nodes: tuple[tuple[str, str], ...]
    homes: Ints
    cycles: Ints

    @property
    def makespan_cycles(self) -> int:
        """Cycles of the schedule."""
        return int(self.cycles.sum())

    def of_subgraph(self, index: int) -> Ints:
        """(12,) cycles of a sub-graph."""
        return np.asarray(self.cycles[self.homes == index].sum(axis=0))


def schedule_breakdown(
    evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement, program: Program, timing: Timing
) -> Breakdown:
    """The breakdown of a schedule's program, timed by itself."""
    network, count = evaluator.network, len(evaluator.network.layers)
    homes = np.empty(count, np.int64)
    for index, choice in enumerate(choices):
        homes[choice.first : choice.stop] = index
    layer_of = _layers(evaluator, choices, plan, program)
    layers = np.array([layer_of[at.step][at.index] for at in timing.flat.positions], np.int64)
    cycles = np.zeros((count, len(PARTS)), np.int64)
    np.add.at(cycles, layers, breakdown(program, evaluator.machine, timing))
    done = _executed_macs(evaluator, program, layer_of)
    useful = np.array([network.batch * layer_macs(network, layer) for layer in network.layers], np.int64)
    again = np.array(
        [
            int(ideal) * (int(all_of) - int(once)) // int(all_of) if all_of > once else 0
            for ideal, all_of, once in zip(cycles[:, IDEAL], done, useful, strict=True)
        ],
        np.int64,
    )
    shown = np.insert(cycles, RECOMPUTED, again, axis=1)
    shown[:, IDEAL] -= again
    return Breakdown(
        tuple(layer.name for layer in network.layers),
        tuple(choices),
        tuple((first_node(network, choice), last_node(network, choice)) for choice in choices),
        homes,
        shown,
    )


def breakdown_table(found: Breakdown) -> str:
    """Shares of each sub-graph's cycles by part, then the layers that most cycles are spent on."""
    columns = (
        Column("#"),
        Column("first node", left=True),
        Column("last node", left=True),
        Column("cycles"),
        *(Column(f"{_HEADERS[name]}\n%") for name in SHOWN_PARTS),
    )
    rows = [
        [str(index), shortened(first), shortened(last), *_cells(found.of_subgraph(index))]
        for index, (first, last) in enumerate(found.nodes)
    ]
    rows.append(["", "all", "", *_cells(found.cycles.sum(axis=0))])
    return render(columns, rows) + "\n" + _layer_table(found)


def breakdown_summary(found: Breakdown) -> dict[str, object]:
    """The breakdown for summary.json: cycles by part, of all, of each sub-graph and each layer (zeros left out)."""
    return {
        "cycles": found.makespan_cycles,
        "parts": _named(found.cycles.sum(axis=0), zeros=True),
        "subgraphs": [
            {
                "first_node": first,
                "last_node": last,
                "parts": _named(found.of_subgraph(index), zeros=True),
                "layers": {
                    found.layers[layer]: _named(found.cycles[layer], zeros=False)
                    for layer in np.flatnonzero(found.homes == index).tolist()
                    if found.cycles[layer].any()
                },
            }
            for index, (first, last) in enumerate(found.nodes)
        ],
    }


def _layers(
    evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement, program: Program
) -> list[list[int]]:
    """The layer that each instruction, and then each system copy, of every step is for."""
    templates = evaluator.templates.of(choices, plan)
    times, _ = evaluator.simulate(choices, plan)
    copies = evaluator.system_copies(choices, plan)
    layer_of_copy = copy_layers(evaluator, plan, copies)
    known: dict[int, list[int]] = {}
    found = []
    for step, template in enumerate(templates):
        of_template = known.get(template.index)
        if of_template is None:
            choice = choices[plan.subgraph[step]]
            of_template = known[template.index] = _instruction_layers(evaluator, choice, template)
        copied = [layer_of_copy[job] for job in copies.job[times.copy_of == step].tolist()]
        launch = program.steps[step]
        if len(of_template) != len(program.kernels[launch.kernel].instructions):
            raise ValueError(f"step {step} of the program is not that of the schedule")
        found.append(of_template + copied)
    return found


def _instruction_layers(evaluator: Evaluator, choice: Choice, template: Template) -> list[int]:
    network, table = evaluator.network, evaluator.table
    reader: dict[int, int] = {}
    for layer in range(choice.stop - 1, choice.first - 1, -1):
        for tensor in network.layers[layer].inputs:
            reader[tensor] = layer
    local = template.lowered.geometry.tensor.tolist()
    found = []
    for tensor in (local[index] for index in template.lowered.rows[:, C_TENSOR].tolist()):
        made_by = int(table.producer[tensor])
        found.append(made_by if choice.first <= made_by < choice.stop else reader[tensor])
    return found


def _executed_macs(evaluator: Evaluator, program: Program, layer_of: Sequence[Sequence[int]]) -> Ints:
    """(L,) multiply-accumulates of every layer in all steps."""
    macs: dict[str, list[int]] = {}
    done = np.zeros(len(evaluator.network.layers), np.int64)
    for step, launch in enumerate(program.steps):
        kernel = program.kernels[launch.kernel]
        if kernel.name not in macs:
            macs[kernel.name] = [
                instruction_cost(evaluator.machine, kernel.symbols, instruction).counts.macs
                if instruction.op in (Op.CONV, Op.MATMUL)
                else 0
                for instruction in kernel.instructions
            ]
        count = len(kernel.instructions)
        np.add.at(done, np.array(layer_of[step][:count], np.int64), np.array(macs[kernel.name], np.int64))
    return done


def _cells(cycles: Ints) -> list[str]:
    total = int(cycles.sum())
    shares = [number(100 * int(part) / total, 1) if part else "-" for part in cycles]
    return [number(total), *shares]


def _layer_table(found: Breakdown) -> str:
    total, sums = found.makespan_cycles, found.cycles.sum(axis=1)
    most = sorted(range(len(sums)), key=lambda layer: (-int(sums[layer]), layer))[:_SHOWN_LAYERS]
    columns = (
        Column("#"),
        Column("layer", left=True),
        Column("cycles"),
        Column("% of\nall"),
        Column("of which %", left=True),
    )
    rows = []
    for layer in most:
        own = found.cycles[layer]
        parts = sorted(np.flatnonzero(own).tolist(), key=lambda part: (-int(own[part]), part))[:4]
        text = ", ".join(
            f"{SHOWN_PARTS[part]} {100 * int(own[part]) / int(sums[layer]):.0f}" for part in parts
        )
        rows.append(
            [
                str(int(found.homes[layer])),
                shortened(found.layers[layer]),
                number(int(sums[layer])),
                number(100 * int(sums[layer]) / total, 1),
                text,
            ]
        )
    return render(columns, rows)


def _named(cycles: Ints, *, zeros: bool) -> dict[str, int]:
    return {name: int(part) for name, part in zip(SHOWN_PARTS, cycles, strict=True) if zeros or part}
