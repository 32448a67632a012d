"""FSRCNN on meta_prototype_df, layer by layer and depth first, beside what DeFiNES (HPCA 2023) gives for it.

The published figures are those of its public code. Energy here counts what that code counts: multiply-accumulates,
every memory for each operand, DRAM. What is not the same is said under the tables. The last table has what the
strategy `depth_first` finds, beside the best published schedule.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks import _command
from graph.importer import load_model
from graph.network import Network
from hwmodel.machines.machine import Machine, load_machine
from hwmodel.timing.breakdown import PARTS, breakdown
from hwmodel.timing.energy import energy_parts_pj, inner_parts_pj
from hwmodel.timing.flatten import time_program
from report.table import Column, render
from scheduling.candidates.estimate import estimate
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import CACHE, COLUMNS, RECOMPUTE, ROWS, RULE_SCALE, Choice
from scheduling.emission.program import build_program
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluation, Evaluator
from scheduling.lowering.tiling import LEGAL
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.strategies import solve

MODEL = "fsrcnn:last=conv,padding=none,activation=relu"
MACHINE = "meta_prototype_df"

Choices = tuple[Choice, ...]


class Published(NamedTuple):
    """What DeFiNES gives for a schedule."""

    energy_mj: float
    mcycles: float
    gmac: float
    dram_mb: float


PUBLISHED = {
    "layer by layer": Published(20.265, 29.008, 8.363, 205.2),
    "recompute, tile 60x72": Published(2.361, 22.777, 9.120, 9.08),
    "horizontal cached, tile 60x72": Published(2.221, 21.346, 8.688, 8.95),
    "cached, tile 60x72": Published(2.155, 20.188, 8.363, 8.85),
    "cached, tile 4x72": Published(1.814, 18.485, 8.363, 8.85),
}
"""By schedule; a tile is columns x rows of the output."""

BEST = "cached, tile 4x72"
"""The published schedule that needs the least energy, and the fewest cycles."""

PIECE_BY_PIECE = 10 * RULE_SCALE
"""Order rule of tiles: a piece goes through all layers before the next one begins."""

OVERLAPPED = RULE_SCALE // 2
"""Order rule of single layers: the next piece is loaded while the engine works on this one."""


def main() -> None:
    """Print the tables and the notes."""
    _command.parser(__file__, __doc__).parse_args()
    network = load_model(MODEL, 1).network
    machine = load_machine(MACHINE)
    evaluator = Evaluator(network, machine)
    found: dict[str, tuple[Evaluation, float]] = {}
    for name, choose in SCHEDULES.items():
        try:
            choices = choose(evaluator)
            evaluation = evaluator.evaluate(choices, Rules())  # compiles what is not compiled yet
            again = Evaluator(network, machine)
            started = time.perf_counter()
            again.evaluate(choices, Rules())
            found[name] = evaluation, time.perf_counter() - started
        except IllegalSchedule as error:
            print(f"{name}: {error}")
    print(comparison(found))
    print(energies({name: evaluation for name, (evaluation, _) in found.items()}, machine))
    print(cycles(evaluator, tuple(found)))
    print(notes(network, machine, {name: evaluation for name, (evaluation, _) in found.items()}))
    print(f"\n{searched(evaluator)}")


def layer_by_layer(evaluator: Evaluator) -> Choices:
    """Every layer alone, in the largest pieces that fit whose rows fill the engine's."""
    table, machine = evaluator.table, evaluator.machine_table
    choices = []
    for layer, of in enumerate(evaluator.network.layers):
        rows = evaluator.network.tensors[of.output].rows
        for steps in range(-(-rows // machine.f_rows), 0, -1):
            pieces = -(-rows // (steps * machine.f_rows))
            choice = Choice(layer, layer + 1, pieces=pieces, rule=OVERLAPPED)
            if estimate(table, machine, choice).status == LEGAL:
                break
        choices.append(choice)
    return tuple(choices)


def depth_first(tile_columns: int, tile_rows: int, halo: int, pieces: bool) -> Callable[[Evaluator], Choices]:
    """All layers in one sub-graph: a stripe of rows after the other, each in pieces along its columns or, without
    `pieces`, tiles of which each is made from its input alone."""

    def choose(evaluator: Evaluator) -> Choices:
        output = evaluator.network.tensors[evaluator.network.outputs[0]]
        stripes, across = -(-output.rows // tile_rows), -(-output.columns // tile_columns)
        whole = Choice(0, len(evaluator.network.layers), split_rows=stripes, halo=halo, keep_weights=1)
        if pieces:
            return (whole._replace(axis=COLUMNS, pieces=across, rule=PIECE_BY_PIECE),)
        return (whole._replace(split_columns=across),)

    return choose


SCHEDULES: dict[str, Callable[[Evaluator], Choices]] = {
    "layer by layer": layer_by_layer,
    "recompute, tile 60x72": depth_first(60, 72, RECOMPUTE, False),
    "horizontal cached, tile 60x72": depth_first(60, 72, RECOMPUTE, True),
    "cached, tile 60x72": depth_first(60, 72, CACHE, True),
    "cached, tile 4x72": depth_first(4, 72, CACHE, True),
}


def comparison(found: dict[str, tuple[Evaluation, float]]) -> str:
    """Measured beside published; deviations in percent."""
    figures = ("mJ", "Mcycles", "GMAC", "DRAM MB")
    heads = [Column(f"{name}\n{part}") for name in figures for part in ("here", "published", "%")]
    rows = []
    for name, (evaluation, seconds) in found.items():
        here = (
            evaluation.energy_pj / 1e9,
            evaluation.cycles / 1e6,
            evaluation.counts.macs / 1e9,
            evaluation.counts.dram_bytes / 1e6,
        )
        cells = []
        for value, other in zip(here, PUBLISHED.get(name, (None,) * 4), strict=True):
            cells.append(f"{value:.3f}")
            cells += ["", ""] if other is None else [f"{other:.3f}", f"{100 * (value / other - 1):+.1f}"]
        rows.append([name, *cells, f"{seconds:.2f}"])
    return render([Column("schedule", left=True), *heads, Column("seconds\nto simulate")], rows)


def energies(found: dict[str, Evaluation], machine: Machine) -> str:
    """Millijoules of every memory and of the multiply-accumulates."""
    parts = {
        name: {**energy_parts_pj(of.counts, machine), **inner_parts_pj(of.inner, machine)}
        for name, of in found.items()
    }
    names = [part for part in next(iter(parts.values())) if any(of[part] for of in parts.values())]
    rows = [[part, *(f"{of[part] / 1e9:.4f}" for of in parts.values())] for part in names]
    return render([Column("mJ of", left=True), *(Column(_lines(name)) for name in parts)], rows)


def cycles(evaluator: Evaluator, names: tuple[str, ...]) -> str:
    """What the cycles went into, in millions, along the critical path of the decoded kernels."""
    columns = []
    for name in names:
        choices = SCHEDULES[name](evaluator)
        program = build_program(evaluator, choices, evaluator.arrange(choices, Rules()))
        timing = time_program(program, evaluator.machine)
        columns.append(breakdown(program, evaluator.machine, timing).sum(axis=0) / 1e6)
    rows = [
        [part, *(f"{column[index]:.3f}" for column in columns)]
        for index, part in enumerate(PARTS)
        if any(column[index] for column in columns)
    ]
    return render([Column("Mcycles of", left=True), *(Column(_lines(name)) for name in names)], rows)


def _lines(name: str) -> str:
    return name.replace(", ", "\n")


def notes(network: Network, machine: Machine, found: dict[str, Evaluation]) -> str:
    """Layer by layer by arithmetic: what every map costs once out and once in; and the ratio to the best tile."""
    maps = [of.channels * of.rows * of.columns for of in network.tensors]
    outputs, inputs = sum(maps[1:]), sum(maps[:-1])
    weights = sum(layer.weight.size for layer in network.layers if layer.weight is not None)
    excess = PUBLISHED["layer by layer"].dram_mb * 1e6 - outputs - inputs - weights
    price = machine.energy
    return (
        f"Layer by layer, every map goes out once ({outputs / 1e6:.2f} MB) and in once ({inputs / 1e6:.2f} MB), the "
        f"weights in\nonce ({weights / 1e6:.3f} MB): {(outputs + inputs + weights) / 1e6:.2f} MB. DeFiNES counts "
        f"{excess / 1e6:.1f} MB more, which at {price.dram_read_pj_per_byte:g} pJ a byte is\n"
        f"{excess * price.dram_read_pj_per_byte / 1e9:.2f} mJ.\n"
        f"Energy layer by layer over the best depth-first one: {_ratio([of.energy_pj for of in found.values()]):.2f}, "
        f"published {_ratio([of.energy_mj for of in PUBLISHED.values()]):.2f}."
    )


def interleaved(evaluator: Evaluator) -> Evaluation:
    """The best published tiles, with pieces of successive layers one after the other."""
    choices = tuple(choice._replace(rule=RULE_SCALE) for choice in SCHEDULES[BEST](evaluator))
    return evaluator.evaluate(choices, Rules())


def searched(evaluator: Evaluator) -> str:
    """The best published schedule, as published and as it is simulated here, and what `depth_first` finds."""
    published = PUBLISHED[BEST]
    here = {
        "piece by piece": evaluator.evaluate(SCHEDULES[BEST](evaluator), Rules()),
        "pieces interleaved": interleaved(evaluator),
    }
    rows = [[f"{BEST}, published", f"{published.energy_mj:.3f}", f"{published.mcycles:.3f}", "", "", ""]]
    rows += [[f"{BEST}, {how}", *_costs(of), "", "", ""] for how, of in here.items()]
    for objective in (Objective.ENERGY, Objective.LATENCY):
        found = solve("depth_first", Problem(evaluator, CandidateSpace(evaluator), objective))
        rows.append(
            [
                f"depth_first, least {objective.value}",
                *_costs(found.evaluation),
                "; ".join(_tile(evaluator.network, choice) for choice in found.choices),
                str(found.evaluations),
                f"{found.seconds:.0f}",
            ]
        )
    heads = ("mJ", "Mcycles", "layers of a stack: tile", "schedules\nsimulated", "seconds")
    return render([Column("schedule", left=True), *(Column(head) for head in heads)], rows)


def _costs(of: Evaluation) -> tuple[str, str]:
    return f"{of.energy_pj / 1e9:.3f}", f"{of.cycles / 1e6:.3f}"


def _tile(network: Network, choice: Choice) -> str:
    """Layers of a stack, and the columns x rows of a part of its output."""
    output = network.tensors[network.layers[choice.stop - 1].output]
    pieces = {axis: choice.pieces if choice.axis == axis else 1 for axis in (ROWS, COLUMNS)}
    columns = -(-output.columns // (choice.split_columns * pieces[COLUMNS]))
    rows = -(-output.rows // (choice.split_rows * pieces[ROWS]))
    return f"{choice.first + 1}-{choice.stop}: {columns}x{rows}"


def _ratio(energy: Sequence[float]) -> float:
    return energy[0] / min(energy[1:])


if __name__ == "__main__":
    _command.run(main)
