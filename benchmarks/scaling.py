"""How import and scheduling grow with the number of ONNX nodes: `python -m benchmarks scaling`.

A decoder stack of growing depth; each size in a process of its own, so that peak memory is its own. Seconds are of
processor time, which other work on the machine does not change much.
"""

from __future__ import annotations

import multiprocessing
import resource
import time

from benchmarks import _command
from env.problems import make_problem
from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.strategies import STRATEGIES

NODES = (1_000, 2_000, 5_000, 10_000)
MODEL = "gpt:width=256,heads=4,sequence=64,vocabulary=1000,layers={}"
STRATEGY_NAMES = ("layerwise", "graphturbo")


def main() -> None:
    """Print a row for each size."""
    parser = _command.parser(__file__, __doc__)
    parser.add_argument("--nodes", nargs="+", type=int, default=list(NODES), metavar="N")
    options = parser.parse_args()
    small, large = (_nodes(layers) for layers in (1, 2))
    print(f"{'nodes':>7} {'layers':>7} {'import s':>9}", *(f"{f'{name} s':>13}" for name in STRATEGY_NAMES),
          f"{'peak MB':>9}")  # fmt: skip
    context = multiprocessing.get_context("spawn")
    for wanted in options.nodes:
        layers = max(1, -(-(wanted - small) // (large - small)) + 1)
        with context.Pool(1) as pool:
            row = pool.apply(measure, (layers,))
        print(row, flush=True)


def _nodes(layers: int) -> int:
    return len(load_model(MODEL.format(layers), weights=False).folded.nodes)


def measure(layers: int) -> str:
    """One row: nodes, layers, seconds of processor time and peak memory."""
    make_problem("squeezenet", load_machine("tiny"), 1)  # imports what is imported once
    for name in STRATEGY_NAMES:
        warm = make_problem(MODEL.format(1), load_machine("stcp920"), 1)
        warm.cost(*STRATEGIES[name](warm))
    started = time.process_time()
    model = load_model(MODEL.format(layers), weights=False)
    seconds = [time.process_time() - started]
    for name in STRATEGY_NAMES:
        started = time.process_time()
        problem = make_problem(model.network, load_machine("stcp920"))
        problem.cost(*STRATEGIES[name](problem))
        seconds.append(time.process_time() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    cells = [f"{seconds[0]:9.2f}", *(f"{value:13.2f}" for value in seconds[1:])]
    return " ".join(
        [f"{len(model.folded.nodes):7}", f"{len(model.network.layers):7}", *cells, f"{peak:9.0f}"]
    )


if __name__ == "__main__":
    _command.run(main)
