"""The options of the command, and the checks that need no file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

DEFAULT_MACHINE = "stcp920"
LEARNED = "learned"
LEARNED_DOES = "The trained policy's own decode with a small beam"
ALL = "all"
"""In place of names of strategies: every one."""
BASELINE = "layerwise"
BASELINE_BATCH = 2
OBJECTIVES = ("latency", "off_core", "energy", "edp")
TIMED = ("latency", "edp")
"""Objectives that cycles are part of."""
AUTO = "auto"
"""In place of a number of groups of heads: the best one."""
SEARCH, CPSAT = "search", "cpsat"
"""How orders of instructions are searched for."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for; `batch` and `machine` may be left open, and `strategies` is None for the usual ones.
    `head_groups` is a number or AUTO."""

    model: str
    machine: str | None
    batch: int | None
    objective: str
    strategies: tuple[str, ...] | None
    policy: Path | None
    budget: int
    seed: int
    out: Path | None
    force: bool
    verify: bool
    replay: Path | None
    prove: bool = False
    breakdown: bool = False
    order_instructions: str | None = None
    head_groups: int | str = 1


def parse(arguments: Sequence[str] | None) -> Options | None:
    """Options of a command line, None for --list; exits with status 2 and a message where one is wrong."""
    parser = _parser()
    found = parser.parse_args(arguments)
    if found.list:
        return None
    if found.model is None:
        parser.error("MODEL is missing: a name from --list or the path of an ONNX file")
    if found.replay is not None and found.strategies is not None:
        parser.error("--replay runs the schedule of a file, so --strategies has no meaning beside it")
    if found.replay is not None and found.head_groups == AUTO:
        parser.error(
            f"--replay runs the schedule of a file; expected the --head-groups that it was made with (head_groups in "
            f"summary.json), not {AUTO}"
        )
    if found.replay is not None and found.policy is not None:
        parser.error("--replay runs the schedule of a file, so --policy has no meaning beside it")
    if found.order_instructions is not None and found.objective not in TIMED:
        parser.error(f"--order-instructions changes cycles only, so it has no meaning for {found.objective}")
    if found.force and found.out is None:
        parser.error("--force has no meaning without --out")
    if (
        found.policy is not None
        and found.strategies is not None
        and not {LEARNED, ALL} & set(map(strategy_of, found.strategies))
    ):
        parser.error(f"--policy has no meaning without {LEARNED} among the strategies")
    return Options(
        model=found.model,
        machine=found.machine,
        batch=found.batch,
        objective=found.objective,
        strategies=found.strategies,
        policy=found.policy,
        budget=found.budget,
        seed=found.seed,
        out=found.out,
        force=found.force,
        verify=not found.no_verify,
        replay=found.replay,
        prove=found.prove,
        breakdown=found.breakdown,
        order_instructions=found.order_instructions,
        head_groups=found.head_groups,
    )


def strategy_of(name: str) -> str:
    """The strategy of a name that may have refinements behind it."""
    return name.partition("+")[0]


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


def _parser() -> _Parser:
    parser = _Parser(
        prog="oncore",
        description="Schedule a neural network on an accelerator by several strategies, compare them in a "
        "table, and check the kernels of the best against onnxruntime.",
        epilog="Exit status: 0 done, 1 verification failed, 2 bad input.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", help="zoo name (see --list) or path of an ONNX file"
    )
    parser.add_argument(
        "--machine", metavar="NAME", help=f"name or path of a YAML file (default {DEFAULT_MACHINE})"
    )
    parser.add_argument("--batch", type=_positive, metavar="N", help="images per cluster (default 1)")
    parser.add_argument(
        "--head-groups",
        type=_head_groups,
        default=1,
        metavar="N",
        help="cut every attention into so many groups of heads, each with layers of its own (default 1); "
        f"{AUTO} tries all that divide the heads",
    )
    parser.add_argument("--objective", choices=OBJECTIVES, default=OBJECTIVES[0], help="what to make small")
    parser.add_argument(
        "--strategies",
        type=_names,
        metavar="A,B,...",
        help="which to compare, or all (default: all but the long searches, and dp+all where kernels run one at a "
        "time; see --list); A+REFINEMENT refines what A finds, and A+all by all refinements",
    )
    parser.add_argument(
        "--policy", type=Path, metavar="FILE", help="policy of `learned` (default the shipped one)"
    )
    parser.add_argument(
        "--budget",
        type=_positive,
        default=300,
        metavar="N",
        help="schedules that each search strategy may simulate (default 300)",
    )
    parser.add_argument(
        "--seed", type=_natural, default=0, metavar="N", help="seed of searches and test data"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write schedule, kernels, trace and summary to DIR, which is made",
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier result in DIR")
    parser.add_argument("--no-verify", action="store_true", help="do not compare with onnxruntime")
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="run this schedule.json instead of strategies"
    )
    parser.add_argument(
        "--prove",
        action="store_true",
        help="say how far the order of layers is from the least memory and traffic of all",
    )
    parser.add_argument(
        "--breakdown", action="store_true", help="say what every cycle of the chosen schedule goes into"
    )
    parser.add_argument(
        "--order-instructions",
        choices=(SEARCH, CPSAT),
        metavar="HOW",
        help=f"search better orders of instructions for the kernels of the chosen schedule: {SEARCH} (list scheduling "
        f"and shifts) or {CPSAT} (also CP-SAT on windows; needs oncore[exact])",
    )
    parser.add_argument("--list", action="store_true", help="list models, machines and strategies, and exit")
    return parser


def _head_groups(text: str) -> int | str:
    if text == AUTO:
        return AUTO
    try:
        return _positive(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not {AUTO} and not a whole number of at least 1"
        ) from None


def _positive(text: str) -> int:
    return _at_least(1, text)


def _natural(text: str) -> int:
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return value


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of names separated by commas")
    return names
