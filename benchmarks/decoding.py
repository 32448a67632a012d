"""Seconds that the shipped policy's decode takes with a small beam: problems made anew, compiled code warm.

On the machines of the held-out benchmark.
"""

from __future__ import annotations

import os
from statistics import median
from time import perf_counter, process_time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from agents.inference import Policy, decode, load_policy
from benchmarks import _command
from benchmarks.held_out import BATCHES, MACHINES, machine_label
from env.problems import make_problem
from hwmodel.machines.machine import Machine, load_machine

NETWORKS = ("squeezenet", "inception_v1", "inception_v2", "densenet121", "resnet50", "vgg19")
BEAM = 4
REPEATS = 5


def main() -> None:
    """Print least and median seconds of several decodes of each network, and the least processor time."""
    _command.parser(__file__, __doc__).parse_args()
    machine = load_machine("stcp920")
    policy = load_policy()
    decode(policy, make_problem("squeezenet", machine, 2), beam=BEAM)  # compiles
    print(f"beam {BEAM}, {REPEATS} decodes each; seconds")
    print("network       batch  machine                     least  median  processor")
    slowest = 0.0
    for factors in MACHINES:
        varied = machine.varied(**factors)
        for name in NETWORKS:
            for batch in BATCHES:
                wall, used = measure(policy, varied, name, batch)
                slowest = max(slowest, median(wall))
                print(
                    f"{name:12}  {batch:5}  {machine_label(factors):25}  {min(wall):6.2f}  {median(wall):6.2f}"
                    f"  {min(used):9.2f}",
                    flush=True,
                )
    print(f"slowest median: {slowest:.2f} s")


def measure(policy: Policy, machine: Machine, network: str, batch: int) -> tuple[list[float], list[float]]:
    """Seconds of several decodes, by the clock and of processor time."""
    wall, used = [], []
    for _ in range(REPEATS):
        problem = make_problem(network, machine, batch)
        before, before_used = perf_counter(), process_time()
        decode(policy, problem, beam=BEAM)
        wall.append(perf_counter() - before)
        used.append(process_time() - before_used)
    return wall, used


if __name__ == "__main__":
    _command.run(main)
