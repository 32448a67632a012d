"""Building a schedule decision by decision: phases, legal candidates, what each does, and the cost so far.

The environment and the search at inference both walk these states; nothing here changes once made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from env.features import C, Floats
from env.tables import FrontierTables
from scheduling.bound import bound
from scheduling.candidates.defaults import Defaults
from scheduling.candidates.estimate import Estimate
from scheduling.candidates.sliced import estimate_of
from scheduling.choice import Choice
from scheduling.evaluator import Evaluation
from scheduling.lowering.tiling import LEGAL
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.strategies.layerwise import layerwise
from scheduling.timeline.instance_order import BREADTH_FIRST, DEPTH_FIRST

SUBGRAPHS, INSTANCES, INSTRUCTIONS = "subgraphs", "instances", "instructions"
PHASES = (SUBGRAPHS, INSTANCES, INSTRUCTIONS)
DEFAULT_PHASES = (SUBGRAPHS, INSTANCES)

INSTANCE_RULES = tuple(
    Rules(order=order, prefetch=prefetch) for order in (DEPTH_FIRST, BREADTH_FIRST) for prefetch in (1, 2, 0)
)
"""Candidates of the instance order, the default first."""

INSTRUCTION_RULES = (1, 5, 10, 20, 30, 40, 60, 100, 140, 200)
"""Candidates of the instruction order of a sub-graph with pieces: a x RULE_SCALE; its own rule is the default."""


class State(NamedTuple):
    """Decisions so far: sub-graphs in order, rules once decided, and how many sub-graphs have their instruction order.

    `phase` is the phase of the next decision, None when the schedule is complete.
    """

    phase: str | None
    choices: tuple[Choice, ...]
    rules: Rules | None
    ordered: int

    @property
    def frontier(self) -> int:
        """The first layer that no sub-graph holds yet."""
        return self.choices[-1].stop if self.choices else 0


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """Candidates of a state and a row of features each."""

    decisions: tuple[Choice, ...] | tuple[Rules, ...]
    features: Floats


class Builder:
    """The decision process of one problem, with the phases that are decided (the others are left to default rules)."""

    def __init__(self, problem: Problem, phases: Sequence[str] = DEFAULT_PHASES) -> None:
        unknown = [phase for phase in phases if phase not in PHASES]
        if unknown or not phases:
            raise ValueError(f"phases are {list(phases)}, expected some of {', '.join(PHASES)}")
        self.problem = problem
        self.phases = tuple(phase for phase in PHASES if phase in phases)
        self.defaults = Defaults(problem.space)
        self.tables = FrontierTables(problem.space, self.defaults)
        self._layers = problem.space.layers

    def start(self) -> State:
        """The state before the first decision."""
        if SUBGRAPHS in self.phases:
            return State(SUBGRAPHS, (), None, 0)
        return self._settle(State(None, self.defaults.complete(()), None, 0))

    def options(self, state: State) -> Options:
        """Candidates of a state's decision; all are legal."""
        if state.phase == SUBGRAPHS:
            table = self.tables.at(state.frontier)
            return Options(table.choices, self.tables.features(table, state.choices))
        if state.phase == INSTANCES:
            return _instance_options()
        assert state.phase == INSTRUCTIONS
        return self._instruction_options(state.choices[state.ordered])

    def apply(self, state: State, decision: Choice | Rules) -> State:
        """The state after a decision."""
        if state.phase == SUBGRAPHS:
            assert isinstance(decision, Choice)
            choices = (*state.choices, decision)
            if decision.stop < self._layers:
                return State(SUBGRAPHS, choices, None, 0)
            return self._settle(State(None, choices, None, 0))
        if state.phase == INSTANCES:
            assert isinstance(decision, Rules)
            return self._settle(state._replace(rules=decision))
        assert isinstance(decision, Choice)
        choices = (*state.choices[: state.ordered], decision, *state.choices[state.ordered + 1 :])
        return self._settle(state._replace(choices=choices, ordered=state.ordered + 1))

    def schedule(self, state: State) -> tuple[tuple[Choice, ...], Rules]:
        """The decisions so far, completed by the default heuristic."""
        choices = state.choices
        if state.frontier < self._layers:
            choices = self.defaults.complete(choices)
        return choices, Rules() if state.rules is None else state.rules

    def evaluate(self, state: State) -> Evaluation:
        """Simulation of the completed schedule."""
        return self.problem.evaluator.evaluate(*self.schedule(state))

    def cost(self, state: State) -> float:
        """Cost of the completed schedule by the problem's objective."""
        return self.problem.objective.cost(self.evaluate(state))

    @cached_property
    def layerwise_cost(self) -> float:
        """Cost of the layer-by-layer schedule."""
        return self.problem.cost(*layerwise(self.problem))

    @cached_property
    def bound_cycles(self) -> int:
        """Cycles that no schedule can beat."""
        evaluator = self.problem.evaluator
        return bound(evaluator.network, evaluator.machine).cycles

    def _settle(self, state: State) -> State:
        """Move on to the next phase that has something to decide."""
        if state.rules is None and INSTANCES in self.phases:
            return state._replace(phase=INSTANCES)
        if INSTRUCTIONS in self.phases:
            for index in range(state.ordered, len(state.choices)):
                if state.choices[index].pieces > 1:
                    return state._replace(phase=INSTRUCTIONS, ordered=index)
        return state._replace(phase=None)

    def _instruction_options(self, choice: Choice) -> Options:
        """Rules for one sub-graph whose pieces still fit under them; its own rule is always there, first."""
        evaluator = self.problem.evaluator
        found: list[tuple[Choice, Estimate]] = []
        for rule in dict.fromkeys((choice.rule, *INSTRUCTION_RULES)):
            candidate = choice._replace(rule=rule)
            figures = estimate_of(evaluator, candidate)
            if figures.status == LEGAL:
                found.append((candidate, figures))
        if not found:
            return Options((choice,), self.tables.instruction_features((choice,), np.ones(1), choice))
        choices = tuple(candidate for candidate, _ in found)
        l1 = np.array([figures.l1_bytes for _, figures in found]) / evaluator.machine_table.l1_bytes
        return Options(choices, self.tables.instruction_features(choices, l1, choice))


def _instance_options() -> Options:
    features = np.zeros((len(INSTANCE_RULES), len(C)), np.float32)
    features[:, C["exists"]] = 1
    features[0, C["is_default"]] = 1
    for row, rules in enumerate(INSTANCE_RULES):
        features[row, C["breadth_first"]] = rules.order == BREADTH_FIRST
        features[row, C["prefetch"]] = rules.prefetch
    return Options(INSTANCE_RULES, features)


__all__ = [
    "DEFAULT_PHASES",
    "INSTANCES",
    "INSTRUCTIONS",
    "PHASES",
    "SUBGRAPHS",
    "Builder",
    "Options",
    "State",
]
