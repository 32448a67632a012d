"""Runs strategies on a network and turns what they return into results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path

from env.problems import make_problem
from graph.network import Network
from hwmodel.machines.machine import Machine
from report.results import Result
from scheduling.bound import Bound, bound
from scheduling.candidates.space import CandidateSpace
from scheduling.evaluator import Evaluator
from scheduling.instruction_orders import ordered
from scheduling.objective import Objective
from scheduling.problem import Decide, Problem, Solution
from scheduling.rules import Rules
from scheduling.schedule_file import Schedule
from scheduling.stored.replay import schedule_decisions, schedule_evaluator
from scheduling.strategies import (
    COMPOSED,
    DEFAULT,
    DEFAULT_REFINED,
    quick_to_refine,
    runs_on,
    solve,
    strategy_names,
    with_refinements,
)
from scheduling.strategies.instruction_ordering import order_instructions
from scripts.errors import InputError
from scripts.options import ALL, BASELINE, LEARNED, strategy_of

Progress = Callable[[str], None]

_PATIENCE_SECONDS = 5.0


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
            layer_order=solution.layer_order,
        )


def make_task(network: Network, machine: Machine, objective: Objective, budget: int, seed: int) -> Task:
    """A task with its bound."""
    return Task(network, machine, objective, budget, seed, bound(network, machine))


def check_names(names: tuple[str, ...], machine: Machine, policy: Path | None) -> None:
    """Raise InputError for a strategy that has no policy, and what `with_refinements` does for one that does not exist
    or that the machine cannot run."""
    for name in names:
        if name == ALL:
            continue
        strategy, _ = with_refinements(name, machine, (LEARNED,))
        if strategy == LEARNED and policy is None and not _policy_ships():
            raise InputError(f"{LEARNED} needs a policy, and none ships; name a file with --policy")


def run_strategies(
    task: Task, names: tuple[str, ...] | None, policy: Path | None, progress: Progress
) -> list[Result]:
    """Results in the order of `names`; None means those of DEFAULT, `learned` only where its policy is there, and
    DEFAULT_REFINED where the machine is quick to refine for."""
    results = []
    wanted = (*DEFAULT, LEARNED) if names is None else names
    if names is None and quick_to_refine(task.machine):
        wanted = (*wanted, DEFAULT_REFINED)
    elif names is None:
        progress(
            f"{DEFAULT_REFINED} takes up to minutes on {task.machine.name}, where kernels run side by side: left out; "
            f"name it with --strategies"
        )
    if ALL in wanted:
        wanted = tuple(dict.fromkeys((*strategy_names(), LEARNED, *COMPOSED, *wanted)))
        wanted = tuple(name for name in wanted if name != ALL)
    unable = [name for name in wanted if not runs_on(name, task.machine, (LEARNED,))]
    if unable:
        progress(f"{task.machine.name} cannot run {', '.join(unable)}: left out")
    beside: dict[str, Decide] = {}
    for name in (name for name in wanted if name not in unable):
        if strategy_of(name) == LEARNED:
            if policy is None and not _policy_ships():
                progress(f"{LEARNED}: left out, since no policy ships; name a file with --policy")
                continue
            if not beside:
                beside[LEARNED] = _learned(policy)
        progress(f"{name} ...")
        results.append(task.result(name, solve(name, task.problem(), beside)))
    return results


def run_baseline(task: Task, name: str) -> Result:
    """Layer by layer, as row `name`."""
    return task.result(name, solve(BASELINE, task.problem()))


def load_compiled_code(task: Task, progress: Progress) -> None:
    """Load the code that the usual strategies use, or compile it, so that none of their seconds include that."""
    timer = threading.Timer(_PATIENCE_SECONDS, progress, ["compiling, which only a first run does ..."])
    timer.daemon = True
    timer.start()
    try:
        problem = task.problem()
        solve(BASELINE, problem)
        problem.space.at(0)
        # Its shortest paths are compiled too; any small network on a machine that it fits will do.
        solve("dp", make_problem("alexnet", "stcp920"))
    finally:
        timer.cancel()


def replayed(task: Task, schedule: Schedule) -> Result:
    """The schedule of a file, by its stored order and places. Raises ScheduleError where it does not fit."""
    begin = time.perf_counter()
    evaluator = schedule_evaluator(task.network, task.machine, schedule)
    choices, plan = schedule_decisions(evaluator, schedule)
    evaluation = evaluator.simulate(choices, plan)[1]
    seconds = time.perf_counter() - begin
    numbers = {layer.name: number for number, layer in enumerate(task.network.layers)}
    order = tuple(numbers[name] for name in schedule.layer_order)
    # What the file's rules left open is resolved in its order and places, which stand for all rules here.
    return task.result(
        schedule.strategy, Solution(schedule.strategy, choices, Rules(), evaluation, 1, seconds, order)
    )


def order_schedule(
    task: Task, schedule: Schedule, chosen: Result, windows: bool
) -> tuple[Schedule, Result] | None:
    """The chosen schedule with better orders of instructions and its row, None where none were found.

    `windows` asks for CP-SAT; raises InputError where OR-tools is not installed.
    """
    begin = time.perf_counter()
    plain = schedule.model_copy(update={"instruction_orders": ()})
    evaluator = schedule_evaluator(task.network, task.machine, plain)
    choices, plan = schedule_decisions(evaluator, plain)
    try:
        orders = order_instructions(
            evaluator, choices, plan, budget=task.budget, seed=task.seed, windows=windows
        )
    except ImportError as error:
        raise InputError(
            f"--order-instructions cpsat needs OR-tools ({error}): pip install oncore[exact]"
        ) from None
    evaluation = ordered(evaluator, orders).simulate(choices, plan)[1]
    cost = task.objective.cost(evaluation)
    if cost >= chosen.cost:
        return None
    name = f"{chosen.strategy}_ordered"
    row = replace(
        chosen,
        strategy=name,
        evaluation=evaluation,
        cost=cost,
        seconds=time.perf_counter() - begin,
        evaluations=evaluator.evaluations,
    )
    return plain.model_copy(update={"strategy": name, "instruction_orders": orders}), row


def _policy_ships() -> bool:
    return any(entry.name.endswith(".safetensors") for entry in files("configs.policies").iterdir())


def _learned(policy: Path | None) -> Decide:
    """The decode of a policy as a strategy."""
    # torch takes seconds to import, and only this strategy needs it.
    from agents.inference import decode, load_policy

    return partial(decode, load_policy(policy))
