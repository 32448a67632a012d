"""Strategies: each a named, deterministic way to decide a whole schedule (docs/strategies.md).

Behind a strategy's name may stand refinements (`scheduling.refinements`), each behind a `+`: `dp+rings`, `rammer+all`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType

from hwmodel.machines.machine import Machine
from scheduling.errors import ScheduleError, UnsupportedDecision
from scheduling.layer_order import Order
from scheduling.problem import Arrange, Decide, Problem, Solution
from scheduling.refinements import ALL, REFINEMENTS, refined, weights
from scheduling.strategies.annealing import annealing
from scheduling.strategies.annealing_orders import annealing_orders
from scheduling.strategies.beam import beam
from scheduling.strategies.depth_first import depth_first
from scheduling.strategies.dp import dp
from scheduling.strategies.dp_orders import dp_orders
from scheduling.strategies.genetic import genetic
from scheduling.strategies.graphturbo import (
    graphturbo,
    graphturbo_bfs,
    graphturbo_bfs_plain,
    graphturbo_dfs_plain,
)
from scheduling.strategies.greedy import greedy
from scheduling.strategies.l1_first import l1_first
from scheduling.strategies.layerwise import layerwise
from scheduling.strategies.least_memory import least_memory
from scheduling.strategies.least_traffic import least_traffic
from scheduling.strategies.llb_first import llb_first
from scheduling.strategies.lookahead import lookahead
from scheduling.strategies.portfolio import portfolio
from scheduling.strategies.rammer import rammer, rammer_barriers, rammer_base
from scheduling.strategies.random_search import random_search
from scheduling.strategies.stitch import stitch

STRATEGIES: dict[str, Decide] = {
    "layerwise": layerwise,
    "llb_first": llb_first,
    "l1_first": l1_first,
    "stitch": stitch,
    "depth_first": depth_first,
    "graphturbo_bfs_plain": graphturbo_bfs_plain,
    "graphturbo_dfs_plain": graphturbo_dfs_plain,
    "graphturbo_bfs": graphturbo_bfs,
    "graphturbo": graphturbo,
    "greedy": greedy,
    "dp": dp,
    "lookahead": lookahead,
    "beam": beam,
    "random": random_search,
    "annealing": annealing,
    "genetic": genetic,
}
"""By name, in the order in which tables print them."""


ARRANGING: dict[str, Arrange] = {
    "dp_orders": dp_orders,
    "annealing_orders": annealing_orders,
    "least_memory": least_memory,
    "least_traffic": least_traffic,
    "portfolio": portfolio,
}
"""Strategies that decide the order of the layers too."""


CONCURRENT: dict[str, Decide] = {
    "rammer_base": rammer_base,
    "rammer_barriers": rammer_barriers,
    "rammer": rammer,
}
"""Strategies that pack kernels side by side: only for machines that run kernels concurrently."""


LONG = (
    "depth_first",
    "beam",
    "random",
    "genetic",
    "portfolio",
    "annealing_orders",
    "least_memory",
    "least_traffic",
)
"""Those that together take longer than all others; they are run when they are asked for."""


COMPOSED = (
    "graphturbo+rings",
    "dp+rings",
    "dp+channels",
    "dp+bindings",
    "dp+configurations",
    "dp+configurations+bindings",
    "dp+all",
    "depth_first+all",
)
"""Strategies with refinements that tables show; DEFAULT_REFINED also runs where nobody says which."""


def strategy_names() -> tuple[str, ...]:
    """All names that `solve` takes, in the order in which tables print them."""
    return (*STRATEGIES, *ARRANGING, *CONCURRENT)


def description(name: str) -> str:
    """What a strategy of strategy_names() does, in a line: the first one of its function's documentation."""
    text = ({**STRATEGIES, **ARRANGING, **CONCURRENT}[name].__doc__ or "").strip()
    return text.partition("\n")[0].rstrip(".")


def name_parts(name: str, beside: Collection[str] = ()) -> tuple[str, tuple[str, ...]]:
    """The strategy of a name, and the refinements behind it. `beside` are strategies besides those of strategy_names().
    Raises ScheduleError for what does not exist."""
    strategy, *refinements = name.split("+")
    known = (*strategy_names(), *beside)
    if strategy not in known:
        raise ScheduleError(f"no strategy is called {strategy!r}, expected one of {', '.join(known)}")
    for refinement in refinements:
        if refinement not in (*REFINEMENTS, ALL):
            raise ScheduleError(
                f"{name}: no refinement is called {refinement!r}, expected {', '.join(REFINEMENTS)} or {ALL}"
            )
    return strategy, tuple(refinements)


def with_refinements(
    name: str, machine: Machine, beside: Collection[str] = ()
) -> tuple[str, tuple[str, ...]]:
    """As `name_parts`, with `all` replaced by the refinements that fit the machine. Raises UnsupportedDecision for what
    the machine cannot run, too."""
    strategy, refinements = name_parts(name, beside)
    if strategy in CONCURRENT and not machine.concurrent_kernels:
        raise UnsupportedDecision(
            f"{name} packs kernels side by side, and {machine.name} runs one kernel at a time"
        )
    found: list[str] = []
    for refinement in refinements:
        if refinement == ALL:
            found += weights(machine)
            continue
        if not REFINEMENTS[refinement].fits(machine):
            raise UnsupportedDecision(
                f"{name}: {refinement} needs {REFINEMENTS[refinement].needs}, which {machine.name} has not"
            )
        found.append(refinement)
    return strategy, tuple(found)


def runs_on(name: str, machine: Machine, beside: Collection[str] = ()) -> bool:
    """Whether a strategy, maybe with refinements, can schedule for a machine. Raises ScheduleError for a name that does
    not exist."""
    try:
        with_refinements(name, machine, beside)
    except UnsupportedDecision:
        return False
    return True


DEFAULT = tuple(name for name in strategy_names() if name not in LONG)
"""What is run where nobody says which, beside DEFAULT_REFINED on machines that it is quick for."""

DEFAULT_REFINED = "dp+all"


def quick_to_refine(machine: Machine) -> bool:
    """Whether all refinements of a schedule take seconds. Where kernels run side by side they take up to a minute, most
    of it in `cores`, which makes one program of the schedule."""
    return not machine.concurrent_kernels


def solve(name: str, problem: Problem, beside: Mapping[str, Decide] = MappingProxyType({})) -> Solution:
    """Run a strategy, maybe with refinements, and simulate what it decides.

    With refinements the strategy may simulate half of the budget; they share what it leaves (`refined`). `beside` are
    strategies besides those of strategy_names().
    Raises ScheduleError for a name that does not exist, UnsupportedDecision for what the machine cannot run, and
    IllegalSchedule where the network does not fit the machine at all.
    """
    evaluator = problem.evaluator
    strategy, refinements = with_refinements(name, evaluator.machine, beside)
    simulated = evaluator.evaluations
    started = time.perf_counter()
    part = replace(problem, budget=(problem.budget + 1) // 2) if refinements else problem
    order: Order = ()
    if strategy in ARRANGING:
        order, choices, rules = ARRANGING[strategy](part)
    else:
        choices, rules = {**STRATEGIES, **CONCURRENT, **beside}[strategy](part)
    arranged = problem.reordered(order)
    if refinements:
        left = problem.budget - (evaluator.evaluations - simulated)
        choices, rules = refined(replace(arranged, budget=left), (choices, rules), refinements)
    spent = max(1, evaluator.evaluations - simulated)
    evaluation = arranged.evaluator.evaluate(choices, rules)
    return Solution(name, choices, rules, evaluation, spent, time.perf_counter() - started, order)
