"""ScheduleEnv: one episode builds one schedule for one network, machine and objective."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from env.building import DEFAULT_PHASES, Builder, Options, State
from env.features import MOST_ACTIONS
from env.observation import CANDIDATES, CONTEXT, Context, observation_space, padded
from env.problems import make_problem
from env.results import describe
from graph.network import Network
from hwmodel.machines.machine import Machine
from scheduling.evaluator import Evaluation
from scheduling.objective import Objective
from scheduling.problem import Problem

REWARD_SCALE = 10.0
"""Rewards are the decrease of log(cost) times this."""

ILLEGAL_REWARD = -1.0
"""Reward of an action that is masked out."""

Observation = dict[str, NDArray[np.float32]]


class Episodes:
    """What stays the same over the episodes of one problem."""

    def __init__(self, problem: Problem, phases: Sequence[str]) -> None:
        self.builder = Builder(problem, phases)
        self.context = Context(self.builder, self.builder.evaluate(self.builder.start()))


class ScheduleEnv(gymnasium.Env[Observation, np.int64]):
    """`oncore/Schedule-v0`; docs/environment.md describes actions, observations and rewards.

    The problem is made of `network` (a Network, a zoo name or a path), `machine`, `batch` and `objective`. With
    `choose`, each reset asks it for the episodes of a problem instead, with the environment's random generator.
    """

    def __init__(
        self,
        network: Network | str = "squeezenet",
        machine: Machine | str = "stcp920",
        batch: int = 1,
        objective: Objective | str = Objective.LATENCY,
        phases: Sequence[str] = DEFAULT_PHASES,
        choose: Callable[[np.random.Generator], Episodes] | None = None,
    ) -> None:
        self.observation_space: spaces.Space[Any] = observation_space()
        self.action_space = spaces.Discrete(MOST_ACTIONS)
        self._choose = choose
        self._episodes: Episodes | None = None
        if choose is None:
            self._episodes = Episodes(make_problem(network, machine, batch, objective), phases)
        self._state: State | None = None
        self._options: Options | None = None
        self._evaluation: Evaluation | None = None
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start a schedule. `info` has the cost of the default heuristic's schedule.

        Raises gymnasium.error.Error where the phases leave nothing to decide.
        """
        super().reset(seed=seed)
        if self._choose is not None:
            self._episodes = self._choose(self.np_random)
        episodes = self._current()
        self._steps = 0
        self._move(episodes.builder.start())
        if self._options is None:
            raise gymnasium.error.Error(
                "the phases leave nothing to decide for this network: expected one more phase"
            )
        return self._observe(), {"default_cost": episodes.context.first_cost}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take a candidate; the reward is the decrease of log(cost of the completed schedule) x REWARD_SCALE."""
        episodes = self._current()
        builder = episodes.builder
        if self._state is None or self._options is None:
            raise gymnasium.error.ResetNeeded(
                "the episode has not been started or is over: call reset() first"
            )
        self._steps += 1
        truncated = self._steps >= self.most_steps
        index = int(action)
        offered = len(self._options.decisions)
        if not 0 <= index < offered:
            reason = f"action {index} is masked out: {offered} candidates are offered, from 0 on"
            return self._observe(), ILLEGAL_REWARD, False, truncated, {"illegal_action": reason}
        before = self._cost()
        self._move(builder.apply(self._state, self._options.decisions[index]))
        reward = REWARD_SCALE * math.log(before / self._cost())
        terminated = self._options is None
        info: dict[str, Any] = {}
        if terminated:
            assert self._evaluation is not None
            info = describe(builder, self._state, self._evaluation, episodes.context.first_cost)
        return self._observe(), reward, terminated, truncated and not terminated, info

    def action_masks(self) -> NDArray[np.bool_]:
        """(A,) True for the candidates that are offered now."""
        masks = np.zeros(MOST_ACTIONS, np.bool_)
        masks[: 0 if self._options is None else len(self._options.decisions)] = True
        return masks

    @property
    def most_steps(self) -> int:
        """Steps, illegal actions counted, after which an episode is truncated."""
        return 64 + 4 * self._current().builder.problem.space.layers

    @property
    def problem(self) -> Problem:
        """The problem of this episode."""
        return self._current().builder.problem

    def schedule(self) -> tuple[Any, Any]:
        """The sub-graphs and rules decided so far, completed by the default heuristic."""
        assert self._state is not None
        return self._current().builder.schedule(self._state)

    def _current(self) -> Episodes:
        if self._episodes is None:
            raise gymnasium.error.ResetNeeded("the environment has no problem yet: call reset() first")
        return self._episodes

    def _cost(self) -> float:
        assert self._evaluation is not None
        return self._current().builder.problem.objective.cost(self._evaluation)

    def _move(self, state: State) -> None:
        builder = self._current().builder
        self._state = state
        self._evaluation = builder.evaluate(state)
        self._options = builder.options(state) if state.phase is not None else None

    def _observe(self) -> Observation:
        assert self._state is not None and self._evaluation is not None
        context = self._current().context.vector(self._state, self._options, self._evaluation)
        return {CANDIDATES: padded(self._options), CONTEXT: context}
