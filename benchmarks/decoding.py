"""Seconds that the shipped policy's decode takes with a small beam: problems made anew, compiled code warm."""

from __future__ import annotations

from statistics import median
from time import perf_counter, process_time

from agents.inference import decode, load_policy
from env.problems import make_problem
from hwmodel.machines.machine import load_machine

NETWORKS = ("squeezenet", "inception_v1", "inception_v2", "densenet121", "resnet50", "vgg19")
BATCHES = (4, 16)
BEAM = 4
REPEATS = 5


def main() -> None:
    """Print least and median seconds of several decodes of each network, and the least processor time."""
    machine = load_machine("stcp920")
    policy = load_policy()
    decode(policy, make_problem("squeezenet", machine, 2), beam=BEAM)  # compiles
    print(f"stcp920, beam {BEAM}, {REPEATS} decodes each; seconds")
    print("network       batch   least  median  processor")
    for name in NETWORKS:
        for batch in BATCHES:
            wall, used = [], []
            for _ in range(REPEATS):
                problem = make_problem(name, machine, batch)
                before, before_used = perf_counter(), process_time()
                decode(policy, problem, beam=BEAM)
                wall.append(perf_counter() - before)
                used.append(process_time() - before_used)
            print(
                f"{name:12}  {batch:5}  {min(wall):6.2f}  {median(wall):6.2f}  {min(used):9.2f}", flush=True
            )


if __name__ == "__main__":
    main()
