"""Speed of the timing simulator: nanoseconds an instruction, by how many cores an instruction runs on."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from benchmarks import _command
from hwmodel.timing.recurrence import simulate
from hwmodel.timing.resources import LLB_READ, engine, link, resource_count

INSTRUCTIONS = 5000
REPEATS = 200


def nanoseconds(cores: int, instructions: int = INSTRUCTIONS, repeats: int = REPEATS) -> float:
    """The least time of several runs.

    Each instruction is on one engine of all cores and has two waits; a transfer is on a link too.
    """
    rng = np.random.default_rng(0)
    holds, waits, ptr, wait_ptr = list[int](), list[int](), [0], [0]
    for i in range(instructions):
        kind = int(rng.integers(3))
        holds += [engine(core, kind) for core in range(cores)]
        if kind == 2:
            holds.append(link(cores, LLB_READ))
        waits += rng.integers(max(0, i - 20), i, 2).tolist() if i else []
        ptr.append(len(holds))
        wait_ptr.append(len(waits))
    latency = rng.integers(1, 100, instructions)
    index = np.array(holds, np.int64)
    hold = rng.integers(1, 100, index.size)
    start, finish = np.zeros_like(latency), np.zeros_like(latency)
    arrays = (np.array(ptr, np.int64), index, hold, np.array(wait_ptr, np.int64), np.array(waits, np.int64))
    best = float("inf")
    for _ in range(repeats):
        free = np.zeros(resource_count(cores), np.int64)
        before = perf_counter()
        simulate(latency, *arrays, free, start, finish)
        best = min(best, perf_counter() - before)
    return best / instructions * 1e9


def main() -> None:
    """Print the table."""
    _command.parser(__file__, __doc__).parse_args()
    print("cores  ns/instruction")
    for cores in (1, 2, 4, 8):
        print(f"{cores:5}  {nanoseconds(cores):14.1f}")


if __name__ == "__main__":
    _command.run(main)
