"""GraphTurbo's ladder on the STCP920: the contribution of each step, modelled beside published.

`python -m benchmarks ladder`. Ten configurations of the paper; throughput per image over the baseline, which stands
for TVM: layer by layer at TVM's batch. How far engines overlap without instruction scheduling is not published; the
rungs before it are given as a range, from no two instructions at one time to what in-order queues overlap by
themselves.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator

from benchmarks import _command
from benchmarks._graphturbo import (
    CALIBRATED,
    CONFIGURATIONS,
    INSTRUCTIONS,
    L1,
    LLB,
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


def main() -> None:
    """Print the ladder, then the order rung taken apart and other strategies."""
    parser = _command.parser(__file__, __doc__)
    parser.add_argument("--machine", default="stcp920", metavar="NAME", help="name or path (default stcp920)")
    parser.add_argument(
        "--strategies",
        nargs="*",
        default=["graphturbo+rings", "dp"],
        metavar="NAME",
        help="shown too, at the full batch (default graphturbo+rings dp)",
    )
    options = parser.parse_args()
    machine = load_machine(options.machine)
    ladder, apart, times, gains = [], [], [], []
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
        times.append([published.label, *_milliseconds(found)])
        gains.append([published.label, *_gains(found)])
        steps = [found.speed_up(strategy, published.batch) for _, strategy in APART]
        others = [found.speed_up(strategy, published.batch) for strategy in options.strategies]
        apart.append(
            [
                published.label,
                *(number(value, 2) for value in [*steps, modelled[INSTRUCTIONS], *others]),
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
            ],
            apart,
        )
    )
    print("Gain of a rung over the one before, modelled / published\n")
    print(render([Column("model", left=True), *(Column(name) for name in RUNGS)], gains))
    print("Milliseconds of a cluster for its batch, modelled / published\n")
    print(
        render(
            [
                Column("model", left=True),
                Column("baseline,\nTVM's batch"),
                *(Column(f"{name},\n{'TVM' if name in (LLB, L1) else 'full'} batch") for name in RUNGS),
            ],
            times,
        )
    )
    print(_utilisation(Configuration(CONFIGURATIONS[0], machine)))
    print(_verdict(errors))


def _range(found: Configuration, name: str, modelled: float) -> str:
    if name == INSTRUCTIONS:
        return f"{modelled:.2f}"
    return f"{found.rung(name, serial=True):.2f}-{modelled:.2f}"


def _milliseconds(found: Configuration) -> Iterator[str]:
    """Of the baseline and the rungs, which no other rate enters; a range where a rung is one."""
    batch = found.published.tvm_batch
    yield _pair(number(found.milliseconds(batch), 2), found.published_milliseconds(batch))
    for name, speed_up in zip(RUNGS, found.published.rungs, strict=True):
        batch = found.published.batch_of(name)
        text = number(found.milliseconds(batch, found.rung(name)), 2)
        if name != INSTRUCTIONS:
            text += f"-{number(found.milliseconds(batch, found.rung(name, serial=True)), 2)}"
        yield _pair(text, found.published_milliseconds(batch, speed_up))


def _gains(found: Configuration) -> Iterator[str]:
    """By how much each rung is faster than the one before, at both ends of the ranges."""
    before = [1.0, 1.0, 1.0]
    for name, published in zip(RUNGS, found.published.rungs, strict=True):
        modelled = found.rung(name)
        rung = [modelled if name == INSTRUCTIONS else found.rung(name, serial=True), modelled, published]
        *ends, theirs = (after / first for after, first in zip(rung, before, strict=True))
        yield _pair(f"{min(ends):.2f}-{max(ends):.2f}", theirs)
        before = rung


def _pair(modelled: str, published: float | None) -> str:
    return f"{modelled} / {'-' if published is None else f'{published:.2f}'}"


def _utilisation(found: Configuration) -> str:
    """Engines of ResNet-50's stages, layer by layer and in groups; the published first two stages are two groups each
    here."""
    lines = ["ResNet-50, matrix/vector engine busy, %, by rows of the maps that kernels end with"]
    for what, strategy, batch, published in (
        ("layer by layer", "layerwise", found.published.tvm_batch, "77/63, 71/58, 29/31, 17/20"),
        ("graphturbo", "graphturbo", found.published.batch, "83/64, 83/70, 78/52, 62/40"),
    ):
        shares = found.utilisation(strategy, batch).items()
        text = ", ".join(f"{rows}: {100 * m:.0f}/{100 * v:.0f}" for rows, (m, v) in shares)
        lines.append(f"{what}: {text}. Published for stages 1 to 4: {published}.")
    return "\n".join(lines) + "\n"


def _verdict(errors: dict[str, float]) -> str:
    inside = [label for label in CALIBRATED if abs(math.expm1(errors[label])) <= 0.25]
    squares = sum(errors[label] ** 2 for label in CALIBRATED) / len(CALIBRATED)
    return (
        f"Final speed-ups of {', '.join(CALIBRATED)}: root mean square of the log error {math.sqrt(squares):.2f}; "
        f"within 25 %: {', '.join(inside) or 'none'}."
    )


if __name__ == "__main__":
    _command.run(main)
