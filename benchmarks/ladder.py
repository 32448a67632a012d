"""GraphTurbo's ladder on the STCP920: the contribution of each step, modelled beside published.

`python -m benchmarks ladder`. Ten configurations of the paper; throughput per image over the baseline, which stands
for TVM: layer by layer at TVM's batch. How far engines overlap without instruction scheduling is not published; the
rungs before it are given as a range, from no two instructions at one time to what in-order queues overlap by
themselves.
"""

from __future__ import annotations

import argparse
import math
import sys

from benchmarks._graphturbo import (
    CALIBRATED,
    CONFIGURATIONS,
    INSTRUCTIONS,
    RUNGS,
    Configuration,
)
from hwmodel.machines.machine import load_machine
from report.table import Column, number, render

APART = (
    ("batch", "l1_first"),
    ("+ splits", "graphturbo_bfs_plain"),
    ("+ depth first", "graphturbo_dfs_plain"),
)
"""What the order rung is made of, one after the other, all at the full batch: the L1 rung, splits with breadth-first
order, depth-first order."""


_PUBLISHED = "Published for stages 1 to 4: 83/64, 83/70, 78/52, 62/40.\n"


def main() -> None:
    """Print the ladder, then the order rung taken apart and other strategies."""
    parser = argparse.ArgumentParser(prog="ladder")
    parser.add_argument("--machine", default="stcp920", metavar="NAME", help="name or path (default stcp920)")
    parser.add_argument(
        "--strategies",
        nargs="*",
        default=["graphturbo_rings", "dp"],
        metavar="NAME",
        help="shown too, at the full batch (default graphturbo_rings dp)",
    )
    options = parser.parse_args()
    machine = load_machine(options.machine)
    ladder, apart = [], []
    errors: dict[str, float] = {}
    for published in CONFIGURATIONS:
        print(f"{published.label} ...", file=sys.stderr, flush=True)
        found = Configuration(published, machine)
        modelled = {name: found.rung(name) for name in RUNGS}
        final = published.rungs[RUNGS.index(INSTRUCTIONS)]
        errors[published.label] = math.log(modelled[INSTRUCTIONS] / final)
        stitch = found.speed_up("stitch", published.tvm_batch)
        ladder.append(
            [
                published.label,
                f"{published.tvm_batch}/{published.batch}",
                f"{number(found.baseline_rate())} / {number(published.tvm_rate)}",
                *(
                    _pair(_range(found, name, modelled[name]), value)
                    for name, value in zip(RUNGS, published.rungs, strict=True)
                ),
                f"{100 * (modelled[INSTRUCTIONS] / final - 1):+.0f}",
                _pair(f"{stitch:.2f}", published.astitch),
            ]
        )
        steps = [found.speed_up(strategy, published.batch) for _, strategy in APART]
        others = [found.speed_up(strategy, published.batch) for strategy in options.strategies]
        milliseconds = found.cycles_per_image("graphturbo", published.batch) * published.batch
        milliseconds /= machine.clock_ghz * 1e6
        final_rate = published.tvm_rate * final / machine.clusters
        apart.append(
            [
                published.label,
                *(number(value, 2) for value in [*steps, modelled[INSTRUCTIONS], *others]),
                f"{number(milliseconds, 2)} / {number(1e3 * published.batch / final_rate, 2)}",
            ]
        )
    print(
        f"{machine.name}: images a second over layer by layer at TVM's batch, modelled / published over TVM\n"
    )
    print(
        render(
            [
                Column("model", left=True),
                Column("batch"),
                Column("baseline\nper second"),
                *(Column(name) for name in RUNGS),
                Column("final\n%"),
                Column("stitch /\nAStitch"),
            ],
            ladder,
        )
    )
    print(
        "All at the full batch: what the order rung is made of, and other strategies, over the same baseline\n"
    )
    print(
        render(
            [
                Column("model", left=True),
                *(Column(name) for name, _ in APART),
                Column("graphturbo"),
                *(Column(name) for name in options.strategies),
                Column("ms of graphturbo,\nmodelled / published"),
            ],
            apart,
        )
    )
    print(_utilisation(Configuration(CONFIGURATIONS[0], machine)))
    print(_verdict(errors))


def _range(found: Configuration, name: str, modelled: float) -> str:
    if name == INSTRUCTIONS:
        return f"{modelled:.2f}"
    return f"{found.rung(name, serial=True):.2f}-{modelled:.2f}"


def _pair(modelled: str, published: float | None) -> str:
    return f"{modelled} / {'-' if published is None else f'{published:.2f}'}"


def _utilisation(found: Configuration) -> str:
    """Engines of ResNet-50's stages; the published first two are two groups each here."""
    shares = list(found.utilisation("graphturbo", found.published.batch).items())
    text = ", ".join(f"{rows}: {100 * m:.0f}/{100 * v:.0f}" for rows, (m, v) in shares)
    return f"ResNet-50, matrix/vector engine busy, %, by rows of the maps that groups end with: {text}.\n{_PUBLISHED}"


def _verdict(errors: dict[str, float]) -> str:
    inside = [label for label in CALIBRATED if abs(math.expm1(errors[label])) <= 0.25]
    squares = sum(errors[label] ** 2 for label in CALIBRATED) / len(CALIBRATED)
    return (
        f"Final speed-ups of {', '.join(CALIBRATED)}: root mean square of the log error {math.sqrt(squares):.2f}; "
        f"within 25 %: {', '.join(inside) or 'none'}."
    )


if __name__ == "__main__":
    main()
