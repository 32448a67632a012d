"""`graphturbo` and its variants: the published heuristic (OSDI'23), which is the default heuristic here.

Grouping and splits are those of `scheduling.candidates.defaults`. `dfs` emits instances by a ready stack, `bfs`
sub-graph by sub-graph. The plain variants lack the cross-layer instruction scheduling that is the paper's last step.
Inferred, what that means: plain runs an instance layer by layer, each layer's weights loaded when the layer before has
ended, and loads them anew for every instance; scheduled, pieces of successive layers interleave where that is faster in
isolation, and weights are loaded ahead, across kernels too, and stay.
"""

from __future__ import annotations

from scheduling.candidates.defaults import Defaults
from scheduling.choice import Choice
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.timeline.arrangement import WEIGHTS_RELOADED
from scheduling.timeline.instance_order import BREADTH_FIRST, DEPTH_FIRST


def graphturbo(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """The published grouping, depth-first order, instruction scheduling: the default heuristic."""
    return _scheduled(problem), Rules(order=DEPTH_FIRST)


def graphturbo_bfs(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """The published grouping, breadth-first order, with instruction scheduling."""
    return _scheduled(problem), Rules(order=BREADTH_FIRST)


def graphturbo_dfs_plain(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """The published grouping, depth-first order, without instruction scheduling."""
    return _plain(problem), Rules(order=DEPTH_FIRST, weights=WEIGHTS_RELOADED, prefetch=0)


def graphturbo_bfs_plain(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """The published grouping, breadth-first order, without instruction scheduling."""
    return _plain(problem), Rules(order=BREADTH_FIRST, weights=WEIGHTS_RELOADED, prefetch=0)


def _plain(problem: Problem) -> tuple[Choice, ...]:
    choices = Defaults(problem.space).complete((), interleave=False)
    return tuple(choice._replace(overlap=0) for choice in choices)


def _scheduled(problem: Problem) -> tuple[Choice, ...]:
    return Defaults(problem.space).complete(())
