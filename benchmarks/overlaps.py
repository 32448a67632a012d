"""Where rows of tiles keep what they share, and cores that share columns: `python -m benchmarks overlaps`.

A network is cut into stacks of as many layers, each run in the same tiles, with what rows of tiles share made again or
cached in L1, in the LLB or in DRAM. `NETWORK` is deep: the overlaps of all its layers are more than a core's L1 holds.
"""

from __future__ import annotations

from typing import NamedTuple

from benchmarks import _command
from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from report.table import Column, render
from scheduling.choice import CACHE, CACHE_DRAM, CACHE_LLB, COLUMNS, RECOMPUTE, RULE_SCALE, Choice
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluation, Evaluator
from scheduling.lowering.planning import kept_bytes

NETWORK = "dmcnn_vd"

MODES = {
    "made again": RECOMPUTE,
    "cached in l1": CACHE,
    "cached in llb": CACHE_LLB,
    "cached in dram": CACHE_DRAM,
}


class Case(NamedTuple):
    """Tiles of `width` columns and `height` rows on `cores` cores that share the columns of a row of tiles."""

    machine: str
    width: int
    height: int
    cores: int
    stacks: tuple[int, ...]  # layers of a stack


CASES = (
    Case("meta_prototype_df", 4, 32, 1, (20, 10, 7, 5)),
    Case("stcp920", 16, 32, 1, (10, 5)),
    Case("stcp920", 16, 32, 8, (10, 5)),
)


def main() -> None:
    """Print a row for each stack and mode that fits."""
    _command.parser(__file__, __doc__).parse_args()
    rows = []
    for case in CASES:
        evaluator = Evaluator(load_model(NETWORK, 1, weights=False).network, load_machine(case.machine))
        for layers in case.stacks:
            for mode, halo in MODES.items():
                choices = stacks(evaluator, case, layers, halo)
                try:
                    evaluation = fitting(evaluator, choices)
                    cached = max(evaluator.templates.shared_cache_bytes(choice) for choice in choices)
                except IllegalSchedule:
                    continue
                where = f"{case.machine}, {case.width}x{case.height}, {case.cores}"
                rows.append([where, str(layers), mode, *_figures(evaluation), f"{cached / 1024:.0f}"])
    heads = ("GMAC", "DRAM MB", "LLB MB", "Mcycles", "mJ", "cache KiB")
    first = [
        Column("machine, tile, cores", left=True),
        Column("layers\nof a stack"),
        Column("overlaps", left=True),
    ]
    print(f"{NETWORK}, batch 1")
    print(render([*first, *(Column(head) for head in heads)], rows))


def stacks(evaluator: Evaluator, case: Case, layers: int, halo: int) -> tuple[Choice, ...]:
    """The network in stacks of `layers` layers, streamed along the columns; weights stay where those of a stack fit."""
    network, weights = evaluator.network, evaluator.machine.memories.weights.bytes
    output = network.tensors[network.outputs[0]]
    found = []
    for first in range(0, len(network.layers), layers):
        stack = Choice(
            first,
            min(first + layers, len(network.layers)),
            split_rows=-(-output.rows // case.height),
            ways_rows=case.cores,
            pieces=-(-output.columns // (case.width * case.cores)),
            axis=COLUMNS,
            halo=halo,
        )
        fits = kept_bytes(evaluator.table, stack, evaluator.machine.element_bytes) <= weights
        found.append(stack._replace(keep_weights=int(fits)))
    return tuple(found)


def fitting(evaluator: Evaluator, choices: tuple[Choice, ...]) -> Evaluation:
    """Stacks with their pieces interleaved or, where that does not fit, one after the other. Raises IllegalSchedule."""
    try:
        return evaluator.evaluate(choices)
    except IllegalSchedule:
        serial = max(RULE_SCALE * (choice.stop - choice.first + 2) for choice in choices)
        return evaluator.evaluate(tuple(choice._replace(rule=serial) for choice in choices))


def _figures(evaluation: Evaluation) -> list[str]:
    counts = evaluation.counts
    return [
        f"{counts.macs / 1e9:.2f}",
        f"{counts.dram_bytes / 1e6:.1f}",
        f"{counts.llb_bytes / 1e6:.1f}",
        f"{evaluation.cycles / 1e6:.2f}",
        f"{evaluation.energy_pj / 1e9:.2f}",
    ]


if __name__ == "__main__":
    _command.run(main)
