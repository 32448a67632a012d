"""Options found in a second thread."""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.candidates.space import CandidateSpace
from scheduling.evaluator import Evaluator
from scheduling.problem import Problem
from scheduling.strategies.options import Options

RUNS = [(0, 3), (3, 8), (8, 9)]


class NeverFree(Executor):
    """Takes work and begins with none."""

    def __init__(self) -> None:
        self.taken = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future of what is never begun."""
        self.taken += 1
        return Future()


@pytest.fixture(scope="module")
def problem() -> Problem:
    evaluator = Evaluator(load_model("squeezenet", batch=4, weights=False).network, load_machine("stcp920"))
    return Problem(evaluator, CandidateSpace(evaluator))


def test_options_are_the_same_whoever_finds_them(problem: Problem) -> None:
    alone = Options(problem)
    found = [alone.of(*run) for run in RUNS]
    assert all(found)
    again = Problem(problem.evaluator, CandidateSpace(problem.evaluator))
    with ThreadPoolExecutor(1) as pool:
        options = Options(again, pool)
        options.begin(RUNS)
        assert [options.of(*run) for run in RUNS] == found


def test_what_the_pool_has_not_begun_the_caller_finds(problem: Problem) -> None:
    pool = NeverFree()
    options = Options(problem, pool)
    options.begin(RUNS)
    assert pool.taken == len(RUNS) - 1  # the first is the caller's
    assert [options.of(*run) for run in RUNS] == [Options(problem).of(*run) for run in RUNS]
    options.begin(RUNS)
    assert pool.taken == len(RUNS) - 1  # all are known
