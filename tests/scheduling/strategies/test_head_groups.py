"""How many groups of heads are best: all that divide the heads are tried, and none where there is no attention."""

from __future__ import annotations

from env.problems import make_problem
from graph.head_groups import head_group_counts, with_head_groups
from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.objective import Objective
from scheduling.strategies import solve
from scheduling.strategies.head_groups import best_head_groups, tried_head_groups


def test_counts_divide_the_heads() -> None:
    for heads, counts in ((4, (1, 2, 4)), (12, (1, 2, 3, 4, 6, 12))):
        name = f"bert_base:sequence=8,layers=1,width=48,heads={heads},vocabulary=20"
        assert head_group_counts(load_model(name, weights=False).network) == counts
    assert head_group_counts(load_model("squeezenet", weights=False).network) == (1,)


def test_the_best_of_the_schedules_of_each_count() -> None:
    model = load_model("bert_base:sequence=8,layers=1,width=32,heads=2,vocabulary=20", 2, weights=False)
    machine = load_machine("stcp920")
    tried = tried_head_groups(model.network, machine, Objective.OFF_CORE, budget=20)
    expected = {}
    for groups in (1, 2):
        network = with_head_groups(model, groups).network
        expected[groups] = min(
            solve(name, make_problem(network, machine, objective="off_core")).evaluation.off_core_bytes
            for name in ("graphturbo", "dp")
        )
    assert {item.groups: item.cost for item in tried} == expected
    assert best_head_groups(tried) == min(expected, key=lambda groups: expected[groups])
    assert best_head_groups([]) == 1
