"""How busy the engines and links are while each sub-graph runs.

A sub-graph's cycles are those by which its kernels made the schedule longer, so they add up to the makespan. What is
busy in them is counted, for whichever sub-graph it works: weights of the next one may be loaded meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graph.counts import layer_macs
from hwmodel.programs.isa import Op, Program
from hwmodel.timing import resources
from hwmodel.timing.flatten import Ints, Timing
from report.decisions import first_node, last_node, shortened
from report.table import Column, number, render
from scheduling.choice import Choice
from scheduling.evaluator import Evaluator
from scheduling.timeline.arrangement import Arrangement

Floats = NDArray[np.float64]

BUSY = ("matrix", "vector", "dma", "dram", "llb", "launch")
"""matrix, vector, dma: engines, the mean of all cores, launches apart. dram, llb: links, the busier direction. launch:
matrix engines that a launch holds."""

_HEADERS = {
    "matrix": "matrix",
    "vector": "vector",
    "dma": "DMA",
    "dram": "DRAM",
    "llb": "LLB",
    "launch": "launch",
}


@dataclass(frozen=True, slots=True, eq=False)
class Utilisation:
    """`cycles` (S,) of S sub-graphs, the shares of them (S, 6) for which each of BUSY is, and useful
    multiply-accumulates over the peak of all cores in them (S,); the same of the whole schedule in the last row of
    each, (S + 1)."""

    nodes: tuple[tuple[str, str], ...]
    cycles: Ints
    busy: Floats
    macs: Floats


def utilisation(
    evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement, program: Program, timing: Timing
) -> Utilisation:
    """How busy a schedule's program keeps the machine, timed by itself."""
    network, machine = evaluator.network, evaluator.machine
    times, _ = evaluator.simulate(choices, plan)
    edges = np.concatenate(([0], np.maximum.accumulate(times.finish)))
    edges[-1] = times.makespan
    windows = _busy_windows(program, timing, machine.cores, edges)
    homes, count = np.asarray(plan.subgraph), len(choices)
    held = np.zeros((count + 1, windows.shape[1]))
    np.add.at(held, homes, windows)
    cycles = np.zeros(count + 1, np.int64)
    np.add.at(cycles, homes, np.diff(edges))
    held[count], cycles[count] = windows.sum(axis=0), times.makespan
    macs = np.array(
        [sum(layer_macs(network, layer) for layer in network.layers[c.first : c.stop]) for c in choices],
        float,
    )
    macs = np.append(macs, macs.sum()) * network.batch
    least = np.maximum(cycles, 1)
    dram, llb = held[:, 3:5].max(axis=1), held[:, 5:7].max(axis=1)
    busy = np.stack([*held[:, :3].T, dram, llb, held[:, 7]], axis=1) / least[:, None]
    return Utilisation(
        tuple((first_node(network, choice), last_node(network, choice)) for choice in choices),
        cycles,
        busy,
        macs / (least * machine.peak_macs_per_cycle * machine.cores),
    )


def utilisation_table(found: Utilisation) -> str:
    """One row for each sub-graph, then the whole schedule."""
    columns = (
        Column("#"),
        Column("first node", left=True),
        Column("last node", left=True),
        Column("cycles"),
        Column("MACs of\npeak %"),
        *(Column(f"{_HEADERS[name]}\nbusy %") for name in BUSY),
    )
    names = [(str(index), *nodes) for index, nodes in enumerate(found.nodes)] + [("", "all", "")]
    rows = [
        [
            index,
            shortened(first),
            shortened(last),
            number(int(cycles)),
            number(100 * float(macs), 1),
            *(number(100 * float(share), 1) for share in shares),
        ]
        for (index, first, last), cycles, macs, shares in zip(
            names, found.cycles, found.macs, found.busy, strict=True
        )
    ]
    return render(columns, rows)


def utilisation_summary(found: Utilisation) -> dict[str, object]:
    """The same for summary.json: shares from 0 to 1, of all and of each sub-graph."""
    rows = [
        {
            "cycles": int(cycles),
            "macs_of_peak": float(macs),
            **{f"{name}_busy": float(share) for name, share in zip(BUSY, shares, strict=True)},
        }
        for cycles, macs, shares in zip(found.cycles, found.macs, found.busy, strict=True)
    ]
    return {
        "all": rows[-1],
        "subgraphs": [
            {"first_node": first, "last_node": last, **row}
            for (first, last), row in zip(found.nodes, rows, strict=False)
        ],
    }


def _busy_windows(program: Program, timing: Timing, cores: int, edges: Ints) -> Floats:
    """(windows, 8) cycles between successive edges for which are busy: matrix, vector and DMA engines (means of the
    cores), DRAM reads and writes, LLB reads and writes, matrix engines with launches."""
    flat = timing.flat
    owner = np.repeat(np.arange(len(flat.latency)), np.diff(flat.resource_ptr))
    launches = np.array(
        [
            at.index < len(kernel.instructions) and kernel.instructions[at.index].op is Op.LAUNCH
            for at in flat.positions
            for kernel in (program.kernels[program.steps[at.step].kernel],)
        ],
        bool,
    )[owner]
    engines = (resources.MATRIX, resources.VECTOR, resources.DMA)
    links = (resources.DRAM_READ, resources.DRAM_WRITE, resources.LLB_READ, resources.LLB_WRITE)
    every = range(cores)
    columns = [
        *((~launches, [resources.engine(core, kind) for core in every]) for kind in engines),
        *((~launches, [resources.link(cores, kind)]) for kind in links),
        (launches, [resources.engine(core, resources.MATRIX) for core in every]),
    ]
    busy = np.zeros((len(edges) - 1, len(columns)))
    for column, (counted, chosen) in enumerate(columns):
        for resource in chosen:
            held = np.flatnonzero(counted & (flat.resource_index == resource))
            busy[:, column] += np.diff(
                _busy_until(timing.start[owner[held]], flat.resource_hold[held], edges)
            )
        busy[:, column] /= len(chosen)
    return busy


def _busy_until(start: Ints, hold: Ints, times: Ints) -> Ints:
    """(times,) cycles of a resource's holds, which follow one another, before each time."""
    if not len(start):
        return np.zeros_like(times)
    done = np.concatenate(([0], np.cumsum(hold)))
    begun = np.searchsorted(start, times, side="left")
    last = np.maximum(begun - 1, 0)
    running = np.minimum(hold[last], times - start[last])
    return np.where(begun > 0, done[last] + running, 0)
