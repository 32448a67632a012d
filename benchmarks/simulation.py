"""Time to simulate a lowered ResNet-50 schedule, and to lower it anew: `python -m benchmarks simulation`."""

from __future__ import annotations

import time

from benchmarks import _command
from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.candidates.defaults import Defaults
from scheduling.candidates.space import CandidateSpace
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules

BATCH = 16
REPEATS = 200


def main() -> None:
    """Print the figures; the first evaluation compiles and lowers and is not counted."""
    _command.parser(__file__, __doc__).parse_args()
    network = load_model("resnet50", BATCH, weights=False).network
    machine = load_machine("stcp920")
    evaluator = Evaluator(network, machine)
    choices = Defaults(CandidateSpace(evaluator)).complete(())
    plan = evaluator.arrange(choices, Rules())
    evaluator.simulate(choices, plan)
    started = time.perf_counter()
    for _ in range(REPEATS):
        evaluator.simulate(choices, plan)
    simulate_ms = (time.perf_counter() - started) / REPEATS * 1000
    started = time.perf_counter()
    for _ in range(REPEATS):
        evaluator.arrange(choices, Rules())
    arrange_ms = (time.perf_counter() - started) / REPEATS * 1000
    templates = evaluator.templates.of(choices, plan)
    rows = sum(len(template.lowered.rows) for template in templates)
    started = time.perf_counter()
    fresh = Evaluator(network, machine)
    fresh.evaluate(choices)
    lower_ms = (time.perf_counter() - started) * 1000
    print(f"ResNet-50, batch {BATCH}, stcp920: {len(templates)} kernels, {rows} instructions")
    print(f"  simulate a lowered schedule   {simulate_ms:8.3f} ms   (target 2 ms)")
    print(f"  order, scopes, LLB places     {arrange_ms:8.3f} ms")
    print(f"  lower all its kernels as well {lower_ms:8.1f} ms")


if __name__ == "__main__":
    _command.run(main)
