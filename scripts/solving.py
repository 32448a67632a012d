"""Runs strategies on a network and turns what they return into results."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from pathlib import Path

from graph.network import Network
from hwmodel.machine import Machine
from report.results import Result
from scheduling.bound import Bound, bound
from scheduling.candidates import CandidateSpace
from scheduling.evaluator import Evaluator, Rules
from scheduling.objective import Objective
from scheduling.problem import Problem, Solution
from scheduling.schedule import Schedule, schedule_decisions
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
            bound=self.bound.of(self.objective),
            macs=self.bound.macs,
            seconds=solution.seconds,
            evaluations=solution.evaluations,
        )


def make_task(network: Network, machine: Machine, objective: Objective, budget: int, seed: int) -> Task:
    """A task with its bound."""
    return Task(network, machine, objective, budget, seed, bound(network, machine))


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
        if name == LEARNED and policy is None and not _policy_ships():
            if names is not None:
                raise InputError(f"{LEARNED} needs a policy, and none ships; name a file with --policy")
            progress(f"{LEARNED}: left out, since no policy ships; name a file with --policy")
            continue
        progress(f"{name} ...")
        solution = _learned(task, policy) if name == LEARNED else solve(name, task.problem())
        results.append(task.result(name, solution))
    return results


def run_baseline(task: Task, name: str) -> Result:
    """Layer by layer, as row `name`."""
    return task.result(name, solve(BASELINE, task.problem()))


def replayed(task: Task, schedule: Schedule) -> Result:
    """The schedule of a file, by its stored order and places. Raises ScheduleError where it does not fit."""
    begin = time.perf_counter()
    evaluator = Evaluator(task.network, task.machine)
    choices, plan = schedule_decisions(evaluator, schedule)
    evaluation = evaluator.simulate(choices, plan)[1]
    seconds = time.perf_counter() - begin
    # The stored order and places stand for the rules, which the file does not have.
    return task.result(
        schedule.strategy, Solution(schedule.strategy, choices, Rules(), evaluation, 1, seconds)
    )


def _policy_ships() -> bool:
    return any(entry.name.endswith(".safetensors") for entry in files("configs.policies").iterdir())


def _learned(task: Task, policy: Path | None) -> Solution:
    # torch takes seconds to import, and only this strategy needs it.
    inference = import_module("agents.inference")
    loaded = inference.load_policy(policy)
    problem = task.problem()
    begin = time.perf_counter()
    choices, rules = inference.decode(loaded, problem)
    seconds = time.perf_counter() - begin
    spent = problem.evaluator.evaluations
    return Solution(LEARNED, choices, rules, problem.evaluator.evaluate(choices, rules), spent, seconds)
