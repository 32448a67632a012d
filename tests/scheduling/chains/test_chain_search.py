"""Searches on orders: the same schedules in one go and in parts, and what several of them get of a budget."""

from pathlib import Path

from scheduling.chains.chain_search import ChainSearch, Priced, advance_together
from scheduling.chains.order_costs import OrderCosts
from scheduling.rules import Rules
from scheduling.strategies.graphturbo import graphturbo
from tests.scheduling.chains.test_order_costs import problem_of_cells


def test_searches_left_and_taken_up_again_simulate_the_same(tmp_path: Path) -> None:
    problem = problem_of_cells(tmp_path)
    costs = OrderCosts(problem, problem.evaluator.evaluate(*graphturbo(problem)))
    one = costs.cheapest(tuple(range(problem.space.layers)))
    whole, parts = costs.search(one), costs.search(one)
    number = whole.advance(1000)
    assert 0 < sum(parts.advance(5) for _ in range(200)) == number
    assert parts.best == whole.best
    assert whole.advance(1) == 0


def test_the_best_search_gets_half_and_what_others_leave(tmp_path: Path) -> None:
    problem = problem_of_cells(tmp_path)
    state = graphturbo(problem)
    order = tuple(range(problem.space.layers))
    searches = [
        ChainSearch(problem, Priced(cost, order, state), iter([state] * 20)) for cost in (3.0, 1.0, 2.0)
    ]
    before = problem.evaluator.evaluations
    advance_together(searches, 12)
    assert problem.evaluator.evaluations == before + 12
    assert [20 - search.advance(20) for search in searches] == [2, 6 + 1, 3]


def test_orders_that_cost_the_same_under_different_rules_can_be_compared() -> None:
    one, other = (Priced(2.0, (0, 1), ((), Rules(prefetch=ahead))) for ahead in (1, 2))
    assert min(one, other) is one
    assert min(other, one, Priced(1.0, (1, 0), ((), Rules()))).cost == 1.0
