"""Schedules from a policy: greedy, best of several samples, and beam search scored by the simulator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.errors import PolicyError
from agents.pacing import Pacing
from agents.policy_file import parse_policy, read_policy
from agents.scorer import Scorer
from agents.simulations import Simulations
from env.building import DEFAULT_PHASES, SUBGRAPHS, Builder, Options, State
from env.features import Floats
from env.observation import Context
from env.tables import FrontierTable
from scheduling.choice import Choice
from scheduling.evaluator import Evaluation
from scheduling.problem import Problem
from scheduling.problem import State as Schedule
from scheduling.rules import Rules

__all__ = ["Policy", "PolicyError", "decode", "load_policy"]

SHIPPED = "default.safetensors"
BEAM_OFFERS = 4
"""Most likely candidates of each state that a beam looks at, besides what the policy would never take."""

LEAST_LIKELY = 0.01
"""Candidates less likely than this are not looked at by a beam, except the most likely one."""

THREADS = 2
"""That make candidate tables."""

Logits = NDArray[np.float32]
Described = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A trained scorer and how it was trained."""

    scorer: Scorer
    header: dict[str, Any]

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases that it was trained to decide."""
        return tuple(self.header["training"].get("phases", DEFAULT_PHASES))

    def describe(self, options: Options) -> Described:
        """What the scorer makes of candidates in whatever context."""
        with torch.inference_mode():
            return self.scorer.describe(torch.from_numpy(options.features).unsqueeze(0))

    def log_probabilities(self, described: Described, context: NDArray[np.float32]) -> Logits:
        """(A,) of the candidates."""
        with torch.inference_mode():
            logits = self.scorer.score_described(*described, torch.from_numpy(context).unsqueeze(0))
            return np.asarray(torch.log_softmax(logits[0], dim=0).numpy(), np.float32)


def load_policy(path: Path | None = None) -> Policy:
    """The policy of a file, or the one that ships with oncore. Raises PolicyError with one line."""
    if path is not None:
        return Policy(*read_policy(path))
    file = files("configs.policies").joinpath(SHIPPED)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise PolicyError(f"configs/policies/{SHIPPED}: cannot be read ({error.strerror})") from error
    return Policy(*parse_policy(data, SHIPPED))


def decode(policy: Policy, problem: Problem, beam: int = 4, samples: int = 0) -> Schedule:
    """The best schedule among the policy's own decodes: greedy, `samples` random ones (seeded by the problem's seed),
    and a beam search of at most this width (1: none) that keeps the states whose default completion costs least.

    Simulates at most the problem's budget of schedules, each once: for a small one the beam is narrower, and in the end
    the most likely decisions are taken as they are. Raises IllegalSchedule where the network does not fit the machine
    at all, ValueError for a budget below 1.
    """
    if problem.budget < 1:
        raise ValueError(f"the budget is {problem.budget}, expected at least 1 schedule")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _Search(policy, problem).run(beam, samples)
    finally:
        torch.set_num_threads(threads)


class _Search:
    def __init__(self, policy: Policy, problem: Problem) -> None:
        self.policy = policy
        self.builder = Builder(problem, policy.phases)
        self.seed = problem.seed
        self.simulations = Simulations(self.builder)
        self._before: dict[State, State] = {}
        self._known: dict[State, tuple[Options, Logits]] = {}
        self._tables: dict[int, Future[FrontierTable]] = {}
        self._described: dict[int, tuple[Floats, Described]] = {}  # by the identity of the features beside it

    @cached_property
    def context(self) -> Context:
        """Simulates the default schedule."""
        first = self.simulations.evaluation(self.builder.start())
        assert first is not None
        return Context(self.builder, first)

    def run(self, beam: int, samples: int) -> Schedule:
        found = None
        if beam > 1:
            with ThreadPoolExecutor(THREADS) as pool:
                found = self._beams(beam, pool)
        best = self._walk(self.builder.start(), None)
        if found is not None:
            best = self._better(best, found)
        rng = np.random.default_rng(self.seed)
        for _ in range(samples):
            if self.simulations.left:
                best = self._better(best, self._walk(self.builder.start(), rng))
        return self.simulations.schedule(best)

    def _better(self, a: State, b: State) -> State:
        """The cheaper one; `a` where neither can be simulated any more."""
        cost = self.simulations.cost(a)
        return b if self.simulations.cost(b) < cost else a

    def _seen(self, state: State) -> Evaluation:
        """What the policy sees of a state's cost: where nothing is left to simulate, that of the last state before it
        that was simulated. The first state always is."""
        found = self.simulations.evaluation(state)
        while found is None:
            state = self._before[state]
            found = self.simulations.known(state)
        return found

    def _likely(self, state: State) -> tuple[Options, Logits]:
        known = self._known.get(state)
        if known is None:
            if state.phase == SUBGRAPHS and state.frontier in self._tables:
                self._tables[state.frontier].result()
            options = self.builder.options(state)
            context = self.context.vector(state, options, self._seen(state))
            known = self._known[state] = (
                options,
                self.policy.log_probabilities(self._describe(options), context),
            )
        return known

    def _describe(self, options: Options) -> Described:
        """Kept, since states with the same frontier and split before it have the same array of features."""
        known = self._described.get(id(options.features))
        if known is None:
            known = self._described[id(options.features)] = options.features, self.policy.describe(options)
        return known[1]

    def _prepare(self, pool: ThreadPoolExecutor, states: Iterable[State]) -> None:
        """Begin with the candidate tables of these states; compiled code leaves the interpreter lock alone."""
        for state in states:
            if state.phase == SUBGRAPHS and state.frontier not in self._tables:
                self._tables[state.frontier] = pool.submit(self.builder.tables.at, state.frontier)

    def _costs(self, pool: ThreadPoolExecutor, found: Mapping[State, float], most: int) -> dict[State, float]:
        """What the default completions of states cost, without those that are less likely than the ones that `most`
        simulations are taken for, but for known ones. Once half are known, the two cheapest so far are taken to stay
        so: their candidate tables are made while the others are simulated."""
        last = self.simulations.left - most
        cost: dict[State, float] = {}
        for state in sorted(found, key=lambda state: -found[state]):
            if self.simulations.left > last or self.simulations.known(state) is not None:
                cost[state] = self.simulations.cost(state)
            if 2 * len(cost) >= len(found):
                self._prepare(pool, sorted(cost, key=cost.__getitem__)[:2])
        return {state: cost[state] for state in found if state in cost}

    def _walk(self, state: State, rng: np.random.Generator | None) -> State:
        """On from a state to a whole schedule: the most likely candidate each time, or a random one by likelihood."""
        while state.phase is not None:
            state = self._step(state, rng)
        return state

    def _step(self, state: State, rng: np.random.Generator | None) -> State:
        """The state after the most likely decision, or after a random one by likelihood."""
        options, likely = self._likely(state)
        if rng is None:
            index = int(np.argmax(likely))
        else:
            chances = np.exp(likely.astype(np.float64))
            index = int(rng.choice(len(chances), p=chances / chances.sum()))
        return self._after(state, options.decisions[index])

    def _after(self, state: State, decision: Choice | Rules) -> State:
        after = self.builder.apply(state, decision)
        self._before[after] = state
        return after

    def _offers(self, state: State) -> Iterable[tuple[State, float]]:
        """States after the likeliest decisions, and the logarithms of their chances."""
        options, likely = self._likely(state)
        order = np.argsort(-likely, kind="stable")[:BEAM_OFFERS].tolist()
        for k in order:
            if k == order[0] or likely[k] >= np.log(LEAST_LIKELY):
                yield self._after(state, options.decisions[k]), float(likely[k])

    def _decisions_left(self, state: State) -> int:
        """About how many decisions are left: as many as the default completion takes."""
        if state.phase is None:
            return 0
        return 1 + len(self.simulations.schedule(state)[0]) - len(state.choices)

    def _beams(self, width: int, pool: ThreadPoolExecutor) -> State:
        """The best of beams: a narrowed one is followed by another one, to which what was simulated by then is free, as
        long as that finds something to simulate."""
        found, narrowed = self._beam(width, pool)
        while narrowed:
            left = self.simulations.left
            other, narrowed = self._beam(width, pool)
            found = self._better(found, other)
            narrowed = narrowed and self.simulations.left < left
        return found

    def _beam(self, width: int, pool: ThreadPoolExecutor) -> tuple[State, bool]:
        """The best of one beam, and whether it was narrowed for lack of simulations.

        Per number of decisions the best states; a state is as good as its default completion and its likelihood.

        They are kept alternately by likelihood and by cost, so the likelier half is known before any is simulated:
        its candidate tables are made meanwhile. So are those of the greedy schedule, which is walked along.
        """
        done: list[State] = []
        greedy = self.builder.start()
        states: dict[State, float] = {greedy: 0.0}
        if greedy.phase == SUBGRAPHS:
            pool.submit(self.builder.tables.look_ahead)
        self._prepare(pool, states)
        _ = self.context
        pacing = Pacing(self.simulations, width)
        narrowed = False
        while states:
            self._prepare(pool, (*states, greedy))
            found = {
                after: sum_likely + likely
                for state, sum_likely in states.items()
                for after, likely in self._offers(state)
            }
            open_states = [state for state in found if state.phase is not None]
            by_likelihood = sorted(open_states, key=lambda state: -found[state])
            self._prepare(pool, by_likelihood[: -(-width // 2)])
            if greedy.phase is not None:
                greedy = self._step(greedy, None)
                self._prepare(pool, (greedy,))
            to_go = 1 + max(map(self._decisions_left, found))
            left = self.simulations.left
            cost = self._costs(pool, found, pacing.allowed(to_go))
            kept = pacing.width(to_go, len(states), left - self.simulations.left)
            if not cost:
                done.append(self._walk(min(states, key=self.simulations.cost), None))
            done += [state for state in cost if state.phase is None]
            by_likelihood = [state for state in by_likelihood if state in cost]
            by_cost = sorted((state for state in open_states if state in cost), key=cost.__getitem__)
            narrowed = narrowed or len(cost) < len(found) or kept < min(width, len(by_cost))
            states = {}
            for pair in zip(by_likelihood, by_cost, strict=True):
                for state in pair:
                    if len(states) < kept:
                        states.setdefault(state, found[state])
        return min(done, key=self.simulations.cost), narrowed
