"""Moves: random changes of one decision of a schedule, for searches that walk from schedule to schedule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scheduling.choice import Choice
from scheduling.problem import Problem, State
from scheduling.refinements.prefetch import PREFETCH
from scheduling.rules import Rules
from scheduling.strategies.drawing import drawn
from scheduling.strategies.options import Options
from scheduling.timeline.arrangement import WEIGHTS_RELOADED, WEIGHTS_RESIDENT
from scheduling.timeline.instance_order import BREADTH_FIRST, DEPTH_FIRST

KINDS = np.array([0.30, 0.15, 0.15, 0.35, 0.05])
"""Shares of the moves: a cut shifts, goes, comes; a sub-graph gets another choice; another rule."""


def neighbour(problem: Problem, options: Options, random: np.random.Generator, state: State) -> State:
    """A legal schedule that differs in one decision: a cut moved, taken away or added, another choice for a
    sub-graph, or another rule; the same one where luck finds none."""
    for _ in range(64):
        choices, rules = state
        kind = drawn(random, KINDS)
        at = int(random.integers(len(choices)))
        parts: list[tuple[int, int]]
        if kind == 4:
            return choices, _other_rules(random, rules)
        one = choices[at]
        if kind == 3:
            new = _pick(options, random, one.first, one.stop)
            if new is not None and new != one:
                return (*choices[:at], new, *choices[at + 1 :]), rules
            continue
        if kind == 2:
            if one.stop - one.first < 2:
                continue
            cut = _cut(problem, random, one.first, one.stop)
            parts, rest = [(one.first, cut), (cut, one.stop)], at + 1
        else:
            if at + 1 == len(choices):
                continue
            two = choices[at + 1]
            rest = at + 2
            if kind == 1:
                parts = [(one.first, two.stop)]
            else:
                cut = _cut(problem, random, one.first, two.stop)
                if cut == one.stop:
                    continue
                parts = [(one.first, cut), (cut, two.stop)]
        options.begin(parts)
        picked = [_pick(options, random, a, b) for a, b in parts]
        found = [choice for choice in picked if choice is not None]
        if len(found) == len(picked):
            return (*choices[:at], *found, *choices[rest:]), rules
    return state


def _other_rules(random: np.random.Generator, rules: Rules) -> Rules:
    """Rules that differ in the order, in whether weights stay, or in how far ahead they are loaded."""
    kind = random.integers(3)
    if kind == 0:
        return replace(rules, order=BREADTH_FIRST if rules.order == DEPTH_FIRST else DEPTH_FIRST)
    if kind == 1:
        kept = rules.weights == WEIGHTS_RESIDENT
        return replace(rules, weights=WEIGHTS_RELOADED if kept else WEIGHTS_RESIDENT)
    other = [ahead for ahead in PREFETCH if ahead != rules.prefetch]
    return replace(rules, prefetch=int(random.choice(other)))


def _cut(problem: Problem, random: np.random.Generator, first: int, stop: int) -> int:
    """A layer strictly between two, the likelier the fewer bytes cross there."""
    weight = 1.0 / (1.0 + problem.space.border_bytes[first + 1 : stop].astype(np.float64))
    return first + 1 + drawn(random, weight / weight.sum())


def _pick(options: Options, random: np.random.Generator, first: int, stop: int) -> Choice | None:
    """An option for a run of layers, the likelier the less its additive cost."""
    found = options.of(first, stop)
    if not found:
        return None
    return found[min(len(found) - 1, int(random.geometric(0.4)) - 1)].choice
