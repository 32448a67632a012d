"""Strategies: each a named, deterministic way to decide a whole schedule (docs/strategies.md)."""

from __future__ import annotations

import time

from hwmodel.machines.machine import Machine
from scheduling.errors import ScheduleError
from scheduling.layer_order import Order
from scheduling.problem import Arrange, Decide, Problem, Solution
from scheduling.strategies.annealing import annealing
from scheduling.strategies.annealing_orders import annealing_orders
from scheduling.strategies.beam import beam
from scheduling.strategies.bindings import configured_bindings, dp_bindings
from scheduling.strategies.channel_splits import dp_channels
from scheduling.strategies.configured import configured
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
from scheduling.strategies.rings import dp_rings, graphturbo_rings
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
    "graphturbo_rings": graphturbo_rings,
    "greedy": greedy,
    "dp": dp,
    "dp_rings": dp_rings,
    "dp_channels": dp_channels,
    "dp_bindings": dp_bindings,
    "configured": configured,
    "configured_bindings": configured_bindings,
    "lookahead": lookahead,
    "beam": beam,
    "random": random_search,
    "annealing": annealing,
    "genetic": genetic,
    "portfolio": portfolio,
}
"""By name, in the order in which tables print them."""


ARRANGING: dict[str, Arrange] = {
    "dp_orders": dp_orders,
    "annealing_orders": annealing_orders,
    "least_memory": least_memory,
    "least_traffic": least_traffic,
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
    "configured",
    "beam",
    "random",
    "genetic",
    "portfolio",
    "annealing_orders",
    "least_memory",
    "least_traffic",
)
"""Those that together take longer than all others; they are run when they are asked for."""


WIDER = ("graphturbo_rings", "dp_rings", "dp_channels", "dp_bindings", "configured_bindings")
"""Those that may keep an output in a ring of channels, split a sub-graph over channels or bind its layers apart,
decisions that no other strategy has yet; run when they are asked for, since a table compares what plays the same
game."""


def strategy_names() -> tuple[str, ...]:
    """All names that `solve` takes, in the order in which tables print them."""
    return (*STRATEGIES, *ARRANGING, *CONCURRENT)


def runs_on(name: str, machine: Machine) -> bool:
    """Whether a strategy can schedule for a machine: one of CONCURRENT needs kernels that run concurrently."""
    return machine.concurrent_kernels or name not in CONCURRENT


DEFAULT = tuple(name for name in strategy_names() if name not in (*LONG, *WIDER))
"""What is run where nobody says which."""


def solve(name: str, problem: Problem) -> Solution:
    """Run a strategy and simulate what it decides. Raises ScheduleError for a name that is not in strategy_names(),
    UnsupportedDecision where it does not run on the machine, and IllegalSchedule where the network does not fit the
    machine at all."""
    evaluator = problem.evaluator
    simulated = evaluator.evaluations
    started = time.perf_counter()
    if name in STRATEGIES or name in CONCURRENT:
        order: Order = ()
        choices, rules = {**STRATEGIES, **CONCURRENT}[name](problem)
    elif name in ARRANGING:
        order, choices, rules = ARRANGING[name](problem)
    else:
        raise ScheduleError(f"unknown strategy {name!r}; there are {', '.join(strategy_names())}")
    spent = max(1, evaluator.evaluations - simulated)
    evaluation = problem.reordered(order).evaluator.evaluate(choices, rules)
    return Solution(name, choices, rules, evaluation, spent, time.perf_counter() - started, order)
