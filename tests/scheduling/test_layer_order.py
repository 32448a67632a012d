"""The order of layers: what an order is, what it must not break, and that reordered schedules hold all the way down."""

from dataclasses import replace
from pathlib import Path

import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from hwmodel.timing.flatten import time_program
from report.verify import verify
from scheduling.candidates.space import CandidateSpace
from scheduling.emission.program import program_weights
from scheduling.errors import IllegalSchedule, ScheduleError
from scheduling.evaluator import Evaluator
from scheduling.exact.operator_graph import operator_graph, peak_bytes
from scheduling.layer_order import RULES, in_order, least_live, rule_orders
from scheduling.problem import Problem
from scheduling.schedule import make_schedule
from scheduling.schedule_file import load_schedule, save_schedule
from scheduling.stored.replay import replay, schedule_network, schedule_to_program
from scheduling.strategies import STRATEGIES, solve
from scheduling.strategies.least_traffic import spilled_tensors, traffic_plan
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.strategies.test_strategies import problem_of


def branches(folder: Path) -> str:
    """Two long branches that meet, written one after the other, and a second output."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 4, 8, 8)

    def conv(source: str, channels: int) -> str:
        return graph.node("Relu", graph.node("Conv", source, graph.random(channels, 4, 1, 1)))

    left = conv(conv(conv(image, 4), 4), 4)
    right = conv(conv(image, 4), 4)
    joined = graph.node("Concat", left, right, axis=1)
    return graph.save(folder, graph.node("MaxPool", joined, kernel_shape=[2, 2]), left)


def test_every_rule_gives_a_topological_order(tmp_path: Path) -> None:
    network = load_model(branches(tmp_path), 2).network
    for name, rule in RULES.items():
        again = in_order(network, rule(network))
        assert sorted(layer.name for layer in again.layers) == sorted(
            layer.name for layer in network.layers
        ), name
        made = set(range(network.source_count))
        for layer in again.layers:
            assert set(layer.inputs) <= made
            made.add(layer.output)
        assert [again.tensors[t].name for t in again.outputs] == [
            network.tensors[t].name for t in network.outputs
        ]
    assert len(rule_orders(network)) > 1


def test_the_greedy_order_keeps_fewest_elements_live(tmp_path: Path) -> None:
    """A layer that halves a tensor comes before one that only adds to what is live."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 4, 8, 8)
    wide = graph.node("Conv", image, graph.random(8, 4, 1, 1))
    other = graph.node("Conv", image, graph.random(8, 4, 1, 1))
    small = graph.node("MaxPool", wide, kernel_shape=[2, 2], strides=[2, 2])
    smaller = graph.node("MaxPool", other, kernel_shape=[2, 2], strides=[2, 2])
    network = load_model(graph.save(tmp_path, graph.node("Add", small, smaller)), 1).network
    kinds = [type(network.layers[layer].anchor).__name__ for layer in least_live(network)]
    assert kinds[:4] == ["Contraction", "Window", "Contraction", "Window"]


def test_no_order_at_all_is_refused(tmp_path: Path) -> None:
    network = load_model(branches(tmp_path), 1).network
    count = len(network.layers)
    with pytest.raises(IllegalSchedule, match="comes before"):
        in_order(network, range(count - 1, -1, -1))
    with pytest.raises(IllegalSchedule, match="is no order"):
        in_order(network, [0] * count)


def test_a_reordered_schedule_holds_all_the_way_down(tmp_path: Path) -> None:
    machine = load_machine("tiny")
    model = load_model(branches(tmp_path), 2)
    for order in rule_orders(model.network):
        network = in_order(model.network, order)
        evaluator = Evaluator(network, machine)
        solution = solve("dp", Problem(evaluator, CandidateSpace(evaluator), budget=20))
        made = make_schedule(
            evaluator, solution.choices, solution.rules, network.model_hash, "dp", reordered=bool(order)
        )
        save_schedule(tmp_path / "schedule.json", made)
        schedule = load_schedule(tmp_path / "schedule.json")
        again = Evaluator(schedule_network(model.network, schedule), machine)
        assert replay(again, schedule) == solution.evaluation
        program = schedule_to_program(again, schedule)
        assert time_program(program, machine).makespan_cycles == solution.evaluation.cycles
        assert verify(model, program, machine, program_weights(network)).passed
        if order:
            with pytest.raises(ScheduleError, match="layer_order"):
                replay(Evaluator(model.network, machine), schedule)


def test_least_memory_runs_in_the_order_of_least_peak(tmp_path: Path) -> None:
    machine = load_machine("tiny")
    network = load_model(branches(tmp_path), 2).network
    evaluator = Evaluator(network, machine)
    solution = solve("least_memory", Problem(evaluator, CandidateSpace(evaluator), budget=20))
    graph = operator_graph(network, machine.element_bytes)
    order = solution.layer_order or tuple(range(len(network.layers)))
    peaks = [peak_bytes(graph, other or tuple(range(len(network.layers)))) for other in rule_orders(network)]
    assert peak_bytes(graph, order) <= min(peaks)


def waist(folder: Path) -> str:
    """A tensor of 2,048 bytes (fp32) that waits, for an addition, while two of 4,096 bytes are live beside it."""
    graph = GraphBuilder()
    value = graph.input("image", 1, 8, 8, 8)

    def conv(source: str, inputs: int, outputs: int) -> str:
        return graph.node("Conv", source, graph.random(outputs, inputs, 1, 1))

    waiting = conv(value, 8, 8)
    value = conv(conv(conv(waiting, 8, 16), 16, 16), 16, 8)
    pooled = graph.node("MaxPool", waiting, kernel_shape=[1, 1])
    return graph.save(folder, graph.node("Add", graph.node("Relu", value), pooled))


def test_least_traffic_keeps_what_its_plan_evicts_out_of_the_llb(tmp_path: Path) -> None:
    machine = load_machine("tiny").varied(llb=0.25)
    network = load_model(waist(tmp_path), 1).network
    plan = traffic_plan(network, 4, machine.memories.llb.bytes)
    assert machine.memories.llb.bytes == max(operator_graph(network, 4).working_set_bytes) == 8192
    # What waits, before the pooling or behind it, is written once and read once again.
    assert plan.proven and plan.traffic_bytes - plan.compulsory_bytes == 2 * 2048
    (tensor,) = spilled_tensors(network, plan.plan)
    order = tuple(step.operator for step in plan.plan)
    problem = problem_of(network, machine, budget=30)
    part = problem.reordered(order)
    choices, rules = STRATEGIES["llb_first"](part)
    usual, spilling = (part.evaluator.arrange(choices, r) for r in (rules, replace(rules, spilled=(tensor,))))
    assert not spilling.in_llb[tensor] and spilling.in_llb.sum() >= usual.in_llb.sum() - 1
    solution = solve("least_traffic", problem)
    assert solution.layer_order in (order, ())
    assert solution.evaluations <= 30
    again = problem.reordered(solution.layer_order).evaluator
    made = make_schedule(again, solution.choices, solution.rules, network.model_hash, "least_traffic", True)
    assert replay(again, made) == solution.evaluation
    alone = part.evaluator.evaluate(choices, replace(rules, spilled=(tensor,)))
    assert solution.evaluation.cycles <= alone.cycles


def test_least_traffic_with_room_for_everything_is_dp_on_an_order_without_spills(tmp_path: Path) -> None:
    problem = problem_of(load_model(waist(tmp_path), 2).network, load_machine("tiny"), budget=25)
    assert not spilled_tensors(
        problem.evaluator.network, traffic_plan(problem.evaluator.network, 4, 32768).plan
    )
    solution = solve("least_traffic", problem)
    assert solution.rules.spilled == ()
    assert solution.evaluation.cycles <= solve("llb_first", problem).evaluation.cycles
    assert solve("least_traffic", replace(problem, budget=1)).evaluations == 1
