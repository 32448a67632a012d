"""The table of a schedule's sub-graphs: what was decided, and where the time goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwmodel.programs.isa import Op
from hwmodel.timing.bursts import rounded_bytes
from report.copies import copy_layers
from report.decisions import binding_text, first_node, last_node, pieces_text, shortened, split_text
from report.table import Column, number, render
from scheduling.choice import Choice
from scheduling.evaluator import Evaluator
from scheduling.lowering.rows import (
    C_ENGINE,
    C_HOLD,
    C_LINK,
    C_LINK_HOLD,
    C_OP,
    DMA,
    LINK_DRAM_READ,
    LINK_DRAM_WRITE,
    LINK_LLB_READ,
    LINK_LLB_WRITE,
    MATRIX,
    N_DRAM_READ,
    N_DRAM_WRITE,
    VECTOR,
)
from scheduling.lowering.tables import Ints
from scheduling.templates import Template
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.residence import Residence
from scheduling.timeline.weight_places import weight_bytes

_COLUMNS = (
    Column("#"),
    Column("first node", left=True),
    Column("last node", left=True),
    Column("layers"),
    Column("split", left=True),
    Column("cores by", left=True),
    Column("pieces", left=True),
    Column("reads\nfrom", left=True),
    Column("writes\nto", left=True),
    Column("weights\nfrom", left=True),
    Column("cycles"),
    Column("limited\nby", left=True),
    Column("DRAM\nMB"),
    Column("L1 peak\nKiB"),
)


@dataclass(frozen=True, slots=True)
class Subgraph:
    """One sub-graph of a schedule, all its instances together.

    `cycles` are those by which its kernels made the schedule longer, so they add up to the makespan.
    `limiting_engine` was busy longest, `limiting_share` of the cycles: matrix, vector, dma, launch, or dram
    or llb where the DMA mostly waits for that link. Scopes are LLB, DRAM, both, or - where there is nothing.
    """

    choice: Choice
    first_node: str
    last_node: str
    cores_by: str
    reads_from: str
    writes_to: str
    weights_from: str
    cycles: int
    limiting_engine: str
    limiting_share: float
    dram_bytes: int
    l1_peak_bytes: int


def subgraphs(evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement) -> list[Subgraph]:
    """Every sub-graph of an arrangement, in the order of the layers."""
    times, _ = evaluator.simulate(choices, plan)
    templates = evaluator.templates.of(choices, plan)
    advance = np.diff(np.maximum.accumulate(times.finish), prepend=0)
    advance[-1] += times.makespan - advance.sum()  # of copies that end after all kernels
    residence = Residence(evaluator.table, choices, plan)
    copied = np.zeros(len(evaluator.network.layers), np.int64)
    copies, burst = evaluator.system_copies(choices, plan), evaluator.machine_table.dram_burst
    layers = np.array(copy_layers(evaluator, plan, copies), np.int64)
    np.add.at(copied, layers[copies.job], [rounded_bytes(size, burst) for size in copies.size_bytes.tolist()])
    steps_of = plan.packed.step if len(plan.packed.step) else np.arange(len(templates))
    launches = np.diff(steps_of, prepend=-1) > 0  # the first of a step pays for all
    return [
        _subgraph(
            evaluator,
            choice,
            plan,
            [templates[k] for k in steps.tolist()],
            int(advance[steps].sum()),
            int(launches[steps].sum()),
            int(copied[choice.first : choice.stop].sum()),
            _read_in_llb(evaluator, choice, plan, residence, steps),
        )
        for index, choice in enumerate(choices)
        for steps in [np.flatnonzero(plan.subgraph == index)]
    ]


def subgraph_table(found: Sequence[Subgraph]) -> str:
    """One row for each sub-graph."""
    return render(
        _COLUMNS,
        [
            [
                str(index),
                shortened(item.first_node),
                shortened(item.last_node),
                str(item.choice.stop - item.choice.first),
                split_text(item.choice),
                item.cores_by,
                pieces_text(item.choice),
                item.reads_from,
                item.writes_to,
                item.weights_from,
                number(item.cycles),
                f"{item.limiting_engine} {100 * item.limiting_share:.0f}%",
                number(item.dram_bytes / 1e6, 2),
                number(item.l1_peak_bytes / 1024),
            ]
            for index, item in enumerate(found)
        ],
    )


def _subgraph(
    evaluator: Evaluator,
    choice: Choice,
    plan: Arrangement,
    templates: Sequence[Template],
    cycles: int,
    launches: int,
    copied_bytes: int,
    read_in_llb: Sequence[int],
) -> Subgraph:
    network = evaluator.network
    exits = evaluator.templates.borders(choice.first, choice.stop)[1]
    sizes = {
        layer: weight_bytes(evaluator.table, layer, evaluator.machine.element_bytes)
        for layer in range(choice.first, choice.stop)
    }
    weighted = [layer for layer, size in sizes.items() if size]
    engine, busy = _limiting(templates, launches * evaluator.machine.launch_cycles)
    return Subgraph(
        choice=choice,
        first_node=first_node(network, choice),
        last_node=last_node(network, choice),
        cores_by=binding_text(network, choice),
        reads_from=_scope(read_in_llb),
        writes_to=_scope(plan.in_llb[exits].tolist()),
        weights_from=_scope([int(plan.staged[layer]) for layer in weighted]),
        cycles=cycles,
        limiting_engine=engine,
        limiting_share=min(1.0, busy / cycles) if cycles else 0.0,
        dram_bytes=copied_bytes
        + sum(int(t.lowered.counts[N_DRAM_READ] + t.lowered.counts[N_DRAM_WRITE]) for t in templates),
        l1_peak_bytes=max(int(t.lowered.plan.peak_bytes) for t in templates),
    )


def _read_in_llb(
    evaluator: Evaluator, choice: Choice, plan: Arrangement, residence: Residence, steps: Ints
) -> list[int]:
    """For each tensor that enters a sub-graph, and each of its instances if it moves, whether it is read in the LLB."""
    entries = evaluator.templates.borders(choice.first, choice.stop)[0].tolist()
    found = [int(plan.in_llb[tensor]) for tensor in entries if tensor not in residence.moved]
    moved = [tensor for tensor in entries if tensor in residence.moved]
    return found + [residence.place(k, tensor).in_llb for tensor in moved for k in steps.tolist()]


def _scope(in_llb: Sequence[int]) -> str:
    if not in_llb:
        return "-"
    if all(in_llb):
        return "LLB"
    return "both" if any(in_llb) else "DRAM"


def _limiting(templates: Sequence[Template], launch_cycles: int) -> tuple[str, int]:
    """The engine that is busy longest, and its cycles; for the DMA, the link that it mostly waits for."""
    busy = dict.fromkeys(("launch", "matrix", "vector", "dma", "dram", "llb"), 0)
    busy["launch"] = launch_cycles
    names = {MATRIX: "matrix", VECTOR: "vector", DMA: "dma"}
    links = {
        LINK_DRAM_READ: "dram",
        LINK_DRAM_WRITE: "dram",
        LINK_LLB_READ: "llb",
        LINK_LLB_WRITE: "llb",
    }
    for template in templates:
        rows = template.lowered.rows
        launch = rows[:, C_OP] == int(Op.LAUNCH)
        for engine, name in names.items():
            busy[name] += int(rows[(rows[:, C_ENGINE] == engine) & ~launch, C_HOLD].sum())
        for link, name in links.items():
            busy[name] += int(rows[rows[:, C_LINK] == link, C_LINK_HOLD].sum())
    most = max(("launch", "matrix", "vector", "dma"), key=busy.__getitem__)
    if most == "dma":
        slowest = max(("dram", "llb"), key=busy.__getitem__)
        if 2 * busy[slowest] >= busy["dma"]:
            return slowest, busy["dma"]
    return most, busy[most]
