"""Runs strategies on a network and turns what they return into results."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graph.counts import macs_per_image
from graph.network import Network
from hwmodel.machine import Machine
from report.results import Result
from scheduling.bound import Bound, latency_bound
from scheduling.candidates import CandidateSpace
from scheduling.evaluator import Evaluator
from scheduling.objective import Objective
from scheduling.problem import Problem, Solution
from scheduling.strategies import STRATEGIES, solve
from scripts.errors import InputError
from scripts.options import BASELINE, LEARNED

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What every strategy is asked for; `bound` is what no schedule can beat."""

    network: Network
    machine: Machine
    objective: Objective
    budget: int
    seed: int
    bound: Bound

    def problem(self) -> Problem:
        """A fresh problem: no strategy profits from what another one has simulated."""
        evaluator = Evaluator(self.network, self.machine)
        return Problem(evaluator, CandidateSpace(evaluator), self.objective, self.budget, self.seed)

    def result(self, name: str, solution: Solution) -> Result:
        """A solution with what it is compared by, as row `name`."""
        return Result(
            strategy=name,
            batch=self.network.batch,
            choices=solution.choices,
            rules=solution.rules,
            evaluation=solution.evaluation,
            cost=self.objective.cost(solution.evaluation),
            bound=bound_cost(self.objective, self.bound),
            macs=macs_per_image(self.network) * self.network.batch,
            seconds=solution.seconds,
            evaluations=solution.evaluations,
        )


def make_task(network: Network, machine: Machine, objective: Objective, budget: int, seed: int) -> Task:
    """A task with its bound."""
    return Task(network, machine, objective, budget, seed, latency_bound(network, machine))


def bound_cost(objective: Objective, bound: Bound) -> float:
    """The least that a cost can be."""
    return {
        Objective.LATENCY: float(bound.cycles),
        Objective.OFF_CORE: float(bound.off_core_bytes),
        Objective.ENERGY: float(bound.energy_pj),
        Objective.EDP: float(bound.energy_pj) * bound.cycles,
    }[objective]


def check_names(names: tuple[str, ...]) -> None:
    """Raise InputError for a strategy that does not exist."""
    unknown = [name for name in names if name not in STRATEGIES and name != LEARNED]
    if unknown:
        known = ", ".join((*STRATEGIES, LEARNED))
        raise InputError(f"no strategy is called {', '.join(map(repr, unknown))}, expected some of {known}")


def run_strategies(
    task: Task, names: tuple[str, ...] | None, policy: Path | None, progress: Progress
) -> list[Result]:
    """Results in the order of `names`; None means all, `learned` only where its policy is there."""
    results = []
    for name in names if names is not None else (*STRATEGIES, LEARNED):
        progress(f"{name} ...")
        if name != LEARNED:
            results.append(task.result(name, solve(name, task.problem())))
            continue
        found = _learned(task, policy, needed=names is not None or policy is not None, progress=progress)
        if found is not None:
            results.append(task.result(name, found))
    return results


def run_baseline(task: Task, name: str) -> Result:
    """Layer by layer, as row `name`."""
    return task.result(name, solve(BASELINE, task.problem()))


def _learned(task: Task, policy: Path | None, needed: bool, progress: Progress) -> Solution | None:
    # torch takes seconds to import, and only this strategy needs it.
    from agents.inference import decode, load_policy

    loaded = load_policy(policy)
    problem = task.problem()
    begin = time.perf_counter()
    choices, rules = decode(loaded, problem)
    seconds = time.perf_counter() - begin
    evaluations = problem.evaluator.evaluations
    evaluation = problem.evaluator.evaluate(choices, rules)
    return Solution(LEARNED, choices, rules, evaluation, evaluations, seconds)
