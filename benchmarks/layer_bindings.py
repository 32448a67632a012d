"""What more than two bindings in a sub-graph could gain, estimated: `python -m benchmarks layer_bindings`.

For the sub-graphs of `dp+configurations+bindings`, each layer by itself in every binding over the sub-graph's cores
takes as long as its busiest engine: matrix, vector, or the DMA queue that loads its weights. From that follow the best
times of a sub-graph with one border between two bindings, with two borders, and with borders anywhere; once as if
sending a tensor to the other binding took no time, which nothing can be better than, and once with the time that each
core needs to get what it reads. Other engines and tensors that layers besides the next one read are left out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks import _command
from env.problems import make_problem
from report.table import Column, render
from scheduling.candidates.configurations import times
from scheduling.candidates.estimate import estimate
from scheduling.choice import CHANNEL_RING, RECOMPUTE, ROWS, Choice
from scheduling.evaluator import Evaluator
from scheduling.lowering.tiling import LEGAL
from scheduling.refinements.bindings import Ways, bindings
from scheduling.strategies import solve

CASES = (
    ("stcp920", "mobilenet_v2", 1),
    ("stcp920", "mobilenet_v2", 4),
    ("stcp920", "resnet50", 4),
    ("stcp920", "densenet121", 1),
    ("stcp920", "bert_base", 1),
    ("ascend_multi", "resnet50", 1),
)
BUDGET = 60

PIECES = (1, 8, 28)
"""Of a layer by itself, the fewest that fit."""

Times = NDArray[np.float64]


def main() -> None:
    """Print a row for each network: how much of its time better bindings could save."""
    _command.parser(__file__, __doc__).parse_args()
    rows = []
    for machine, network, batch in CASES:
        problem = replace(make_problem(network, machine, batch), budget=BUDGET)
        choices = solve("dp+configurations+bindings", problem).choices
        rows.append(
            [
                machine,
                network,
                str(batch),
                *(f"{100 * part:.2f}" for part in gains(problem.evaluator, choices)),
            ]
        )
    columns = [Column("machine", left=True), Column("network", left=True), Column("batch")]
    for sending in ("free", "timed"):
        columns += [Column(f"two borders %\nsending {sending}"), Column(f"any borders %\nsending {sending}")]
    print(f"budget {BUDGET}")
    print(render(columns, rows))


def gains(evaluator: Evaluator, choices: tuple[Choice, ...]) -> list[float]:
    """Parts of the time of all sub-graphs in isolation that two borders, and borders anywhere, save beyond one: with
    sending as if it took no time, then with its time."""
    cycles = times(evaluator, np.array(choices, np.int64)).tolist()
    saved = [0.0, 0.0, 0.0, 0.0]
    for choice, took in zip(choices, cycles, strict=True):
        layers = choice.stop - choice.first
        if layers < 2 or choice.halo != RECOMPUTE or choice.slices > 1:
            continue
        every = [w for w in bindings(choice.cores) if choice.split_batch * w[0] <= evaluator.network.batch]
        alone = np.array(
            [[_layer_cycles(evaluator, choice, layer, w) for w in every] for layer in _layers(choice)]
        )
        if not np.isfinite(alone.min(axis=1)).all():
            continue
        sent = np.array(
            [[_sent_cycles(evaluator, choice, layer, w) for w in every] for layer in _layers(choice)]
        )
        for k, sending in enumerate((np.zeros_like(sent), sent)):
            one, *more = (best_cycles(alone, sending, borders) for borders in (1, 2, layers - 1))
            for j, fewer in enumerate(more):
                saved[2 * k + j] += took * (one - fewer) / max(one, 1.0)
    return [part / sum(cycles) for part in saved]


def best_cycles(alone: Times, sending: Times, borders: int) -> float:
    """Least sum of `alone` (layers, bindings) where the binding changes at most `borders` times, each for the time of
    `sending` (layers, bindings) the layer before the border to the binding behind it."""
    best = np.full((borders + 1, alone.shape[1]), np.inf)
    best[0] = alone[0]
    for layer in range(1, len(alone)):
        changed = best.min(axis=1)[:, None] + sending[layer - 1]
        best[1:] = np.minimum(best[1:], changed[:-1])
        best += alone[layer]
    return float(best.min())


def _layers(choice: Choice) -> range:
    return range(choice.first, choice.stop)


def _layer_cycles(evaluator: Evaluator, choice: Choice, layer: int, ways: Ways) -> float:
    """Cycles of a layer's busiest engine in all instances of a sub-graph; infinite where it does not fit by itself."""
    axis = ROWS if choice.axis == CHANNEL_RING else choice.axis
    alone = choice.with_own_runs([])._replace(first=layer, stop=layer + 1, axis=axis, keep_weights=0)
    alone = alone._replace(ways_batch=ways[0], ways_rows=ways[1], ways_channels=ways[2])
    for pieces in (choice.pieces, *PIECES):
        found = estimate(evaluator.table, evaluator.machine_table, alone._replace(pieces=pieces))
        if found.status == LEGAL:
            weights = found.weight_bytes / ways[2] / evaluator.machine_table.dma_bytes * choice.instances
            return float(max(found.matrix, found.vector, weights))
    return float("inf")


def _sent_cycles(evaluator: Evaluator, choice: Choice, layer: int, ways: Ways) -> float:
    """Cycles in which each core gets the images and rows that it needs of a layer's output, all channels."""
    network, machine = evaluator.network, evaluator.machine_table
    tensor, parts = network.tensors[network.layers[layer].output], ways[0] * ways[1]
    elements = network.batch * tensor.rows * tensor.columns * tensor.channels
    return (
        elements * machine.element_bytes / parts / machine.exchange
        + machine.dma_startup * parts * choice.instances
    )


if __name__ == "__main__":
    _command.run(main)
