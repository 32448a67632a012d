"""Orders of instructions: any that keeps the hazards is right all the way down, others are refused, and what the
searches find is held against every order there is."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from graph.importer import Model, load_model
from hwmodel.programs.isa import Op
from hwmodel.timing.flatten import time_program
from report.verify import verify
from scheduling.choice import CHANNEL_RING, Choice
from scheduling.emission.program import program_weights
from scheduling.errors import IllegalSchedule, ScheduleError
from scheduling.evaluator import Evaluator
from scheduling.exact.instruction_windows import order_by_windows
from scheduling.instruction_orders import (
    InstructionOrder,
    alike_instances,
    link_slots,
    ordered,
    template_hazards,
)
from scheduling.lowering.hazards import Hazards
from scheduling.lowering.reordering import list_order, out_of_order, reordered, start_cycles, tails
from scheduling.lowering.rows import C_K0, C_K1, C_LATENCY, C_OP, C_TENSOR
from scheduling.lowering.tables import Ints
from scheduling.rules import Rules
from scheduling.schedule import make_schedule
from scheduling.schedule_file import Schedule, load_schedule, save_schedule
from scheduling.stored.replay import replay, schedule_evaluator, schedule_to_program
from scheduling.strategies import solve
from scheduling.strategies.instruction_ordering import order_instructions
from tests.graph.onnx_helpers import GraphBuilder
from tests.hwmodel.machine_variants import machine_called
from tests.scheduling.random_cases import (
    Drawn,
    checked_program,
    legal,
    random_choices,
    random_model,
    random_own_bindings,
    random_rules,
    random_tiles,
)
from tests.scheduling.strategies.test_rammer import problem_of as concurrent_problem
from tests.scheduling.strategies.test_rammer import randomly_connected


def order_by(hazards: Hazards, rank: NDArray[np.float64]) -> tuple[int, ...]:
    """A legal order: of what may run, always that with the least rank."""
    count = len(hazards.start) - 1
    before = [set(hazards.before[hazards.start[i] : hazards.start[i + 1]].tolist()) for i in range(count)]
    order: list[int] = []
    left, done = set(range(count)), set[int]()
    while left:
        chosen = min((i for i in left if before[i] <= done), key=lambda i: rank[i])
        order.append(chosen)
        left.remove(chosen)
        done.add(chosen)
    return tuple(order)


def random_order(hazards: Hazards, rng: np.random.Generator, shift: float) -> tuple[int, ...]:
    """A legal order near that of lowering: instructions by their number plus noise."""
    count = len(hazards.start) - 1
    return order_by(hazards, np.arange(count) + shift * rng.random(count))


def random_orders(
    evaluator: Evaluator, choices: tuple[Choice, ...], rules: Rules, rng: np.random.Generator
) -> tuple[InstructionOrder, ...]:
    """A random order for each distinct kernel of at most 400 instructions."""
    plan = evaluator.arrange(choices, rules)
    return tuple(
        InstructionOrder(
            subgraph=s,
            instances=instances,
            order=random_order(
                template_hazards(evaluator.templates, choices[s], template),
                rng,
                float(rng.choice([5, 30, 1000])),
            ),
        )
        for (s, _), (template, instances) in alike_instances(evaluator, choices, plan).items()
        if len(template.lowered.rows) <= 400
    )


@pytest.mark.parametrize(
    ("machine_name", "batch", "drawn", "seed"),
    [
        *(("tiny", 3, drawn, seed) for drawn in (random_choices, random_tiles) for seed in range(4)),
        *(("stcp920", 3, drawn, seed) for drawn in (random_choices, random_tiles) for seed in range(2)),
        *(("tiny", 2, random_own_bindings, seed) for seed in range(3)),
        ("stcp920", 3, random_own_bindings, 1),
        ("tiny-without-llb", 2, random_choices, 0),
        ("tiny-output-stationary", 2, random_tiles, 1),
    ],
)
def test_any_order_that_keeps_the_hazards_is_right(
    tmp_path: Path, machine_name: str, batch: int, drawn: Drawn, seed: int
) -> None:
    """Fast timing equals that of the decoded program, nothing races, the counts do not change, outputs equal
    onnxruntime's, and the saved schedule replays to the same program."""
    rng = np.random.default_rng([seed, batch, drawn is not random_choices])
    machine = machine_called(machine_name)
    model = load_model(str(random_model(tmp_path, rng)), batch)
    evaluator = Evaluator(model.network, machine)
    for _ in range(40):
        choices = drawn(evaluator, rng)
        rules = random_rules(rng)
        if choices is not None and legal(evaluator, choices, rules):
            break
    assert choices is not None
    orders = random_orders(evaluator, choices, rules, rng)
    assert orders
    in_order = ordered(evaluator, orders)
    evaluation, program = checked_program(in_order, choices, rules)
    assert evaluation.counts == evaluator.evaluate(choices, rules).counts
    assert verify(model, program, machine, program_weights(model.network)).passed
    schedule = make_schedule(evaluator, choices, rules, model.network.model_hash, "random")
    schedule = schedule.model_copy(update={"instruction_orders": orders})
    save_schedule(tmp_path / "schedule.json", schedule)
    loaded = load_schedule(tmp_path / "schedule.json")
    assert loaded == schedule
    assert schedule_to_program(Evaluator(model.network, machine), loaded) == program
    assert replay(schedule_evaluator(model.network, machine, loaded), loaded) == evaluation


@pytest.mark.parametrize("seed", [0, 1])
def test_kernels_side_by_side_run_in_any_order_and_gain(tmp_path: Path, seed: int) -> None:
    """Steps of several instances: random orders are in time and free of races, searched ones are faster."""
    rng = np.random.default_rng(seed)
    problem = concurrent_problem(randomly_connected(tmp_path, rng), launch_cycles=200)
    evaluator, found = problem.evaluator, solve("rammer", problem)
    orders = random_orders(evaluator, found.choices, found.rules, rng)
    checked_program(ordered(evaluator, orders), found.choices, found.rules)
    plan = evaluator.arrange(found.choices, found.rules)
    orders = order_instructions(evaluator, found.choices, plan, budget=40)
    in_order = ordered(evaluator, orders)
    assert checked_program(in_order, found.choices, found.rules)[0].cycles < found.evaluation.cycles


def two_convolutions(folder: Path, size: int, channels: int, batch: int) -> Model:
    """Two convolutions of 3 x 3 on a square image of 4 channels."""
    graph = GraphBuilder()
    value = graph.input("image", 1, 4, size, size)
    for inputs in (4, channels):
        weight = graph.random(channels, inputs, 3, 3)
        value = graph.node("Relu", graph.node("Conv", value, weight, pads=[1, 1, 1, 1]))
    return load_model(graph.save(folder, value), batch)


def test_orders_hold_where_many_instances_look_alike(tmp_path: Path) -> None:
    """A single one of twenty like instances has an order of its own, and the program agrees with the fast timing."""
    evaluator = Evaluator(two_convolutions(tmp_path, 6, 8, 20).network, machine_called("tiny"))
    choices = (Choice(0, 1, split_batch=20), Choice(1, 2, split_batch=20))
    (given, *_) = random_orders(evaluator, choices, Rules(), np.random.default_rng(0))
    one = given.model_copy(update={"instances": given.instances[7:8]})
    alike = evaluator.templates.of(choices, evaluator.arrange(choices, Rules()))[0]
    assert one.order != tuple(range(len(alike.lowered.rows)))
    checked_program(ordered(evaluator, (one,)), choices, Rules())


def test_parts_of_an_output_in_a_ring_of_channels_keep_their_turn(tmp_path: Path) -> None:
    """A kernel that stores its output part by part, each as late as it may be: the next part but one waits for it."""
    model = two_convolutions(tmp_path, 6, 16, 2)
    evaluator = Evaluator(model.network, machine_called("tiny"))
    choice = Choice(0, 2, 2, ways_rows=2, pieces=4, axis=CHANNEL_RING)
    template = evaluator.templates.of_instance(choice, 0, 0, evaluator.supposed_plan())
    rows = template.lowered.rows
    stores = (rows[:, C_OP] == Op.STORE) & (rows[:, C_K1] > 0)
    assert stores.sum() == 4
    order = order_by(
        template_hazards(evaluator.templates, choice, template), np.arange(len(rows)) + 1e6 * stores
    )
    found = [(i, int(rows[i, C_K0])) for i in order if rows[i, C_TENSOR] == rows[stores][0, C_TENSOR]]
    ends = [(rows[i, C_OP] == Op.STORE, k0) for i, k0 in found if rows[i, C_OP] in (Op.STORE, Op.VECTOR)]
    assert ends == [(s, 4 * k) for s, k in ((0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (0, 3), (1, 2), (1, 3))]
    given = InstructionOrder(subgraph=0, instances=(0, 1), order=order)
    checked_program(ordered(evaluator, (given,)), (choice,), Rules())


@pytest.fixture
def small(tmp_path: Path) -> tuple[Evaluator, tuple[Choice, ...]]:
    evaluator = Evaluator(two_convolutions(tmp_path, 6, 8, 2).network, machine_called("tiny"))
    return evaluator, (Choice(0, 1, ways_batch=2), Choice(1, 2, ways_batch=2))


def small_schedule(evaluator: Evaluator, choices: tuple[Choice, ...]) -> Schedule:
    return make_schedule(evaluator, choices, Rules(), evaluator.network.model_hash, "by hand")


def test_orders_that_are_none_are_refused(small: tuple[Evaluator, tuple[Choice, ...]]) -> None:
    """Too short, of an instance that there is not, given twice, or against a hazard; and the message says which."""
    evaluator, choices = small
    plan = evaluator.arrange(choices, Rules())
    template = evaluator.templates.of(choices, plan)[0]
    count = len(template.lowered.rows)
    schedule = small_schedule(evaluator, choices)

    def message(*orders: tuple[int, int, tuple[int, ...]]) -> str:
        given = tuple(InstructionOrder(subgraph=s, instances=(i,), order=order) for s, i, order in orders)
        with pytest.raises(ScheduleError) as caught:
            replay(evaluator, schedule.model_copy(update={"instruction_orders": given}))
        assert isinstance(caught.value, IllegalSchedule)
        return str(caught.value)

    same = tuple(range(count))
    assert f"an order of {count - 1} instructions, expected each of {count} once" in message(
        (0, 0, same[:-1])
    )
    assert "instance 1 of sub-graph 0, which there is not" in message((0, 1, same))
    assert "instance 0 of sub-graph 7, which there is not" in message((7, 0, same))
    assert "instance 0 of sub-graph 0 has two orders" in message((0, 0, same), (0, 0, same))
    assert "runs before" in message((0, 0, same[::-1]))


def test_a_schedule_file_with_a_negative_instruction_is_refused(
    tmp_path: Path, small: tuple[Evaluator, tuple[Choice, ...]]
) -> None:
    evaluator, choices = small
    path = tmp_path / "schedule.json"
    order = InstructionOrder(subgraph=0, instances=(0,), order=(0, 1))
    schedule = small_schedule(evaluator, choices).model_copy(update={"instruction_orders": (order,)})
    save_schedule(path, schedule)
    path.write_text(path.read_text().replace('"order": [\n    0,', '"order": [\n    -1,'))
    with pytest.raises(
        ScheduleError, match=r"schedule\.json: instruction_orders\.0\.order\.0: .*greater than or equal to 0"
    ):
        load_schedule(path)


def lone(rows: Ints, hazards: Hazards, order: Ints, links: Ints) -> int:
    moved = reordered(rows, hazards, order)
    return int((start_cycles(moved, links) + moved[:, C_LATENCY]).max())


def legal_orders(hazards: Hazards) -> Iterator[tuple[int, ...]]:
    """Every order that keeps the hazards."""
    count = len(hazards.start) - 1
    before = [set(hazards.before[hazards.start[i] : hazards.start[i + 1]].tolist()) for i in range(count)]

    def further(order: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(order) == count:
            yield order
        for i in range(count):
            if i not in order and before[i] <= set(order):
                yield from further((*order, i))

    yield from further(())


@pytest.mark.parametrize("size", [2, 3])
def test_a_kernel_in_one_window_is_as_fast_as_the_fastest_of_all_orders(tmp_path: Path, size: int) -> None:
    """CP-SAT against every order there is; list schedules are legal, and none is faster."""
    model = two_convolutions(tmp_path, size, 4, 1)
    evaluator = Evaluator(model.network, machine_called("tiny"))
    choice = Choice(0, 2)
    template = evaluator.templates.of((choice,), evaluator.arrange((choice,), Rules()))[0]
    rows = template.lowered.rows
    hazards = template_hazards(evaluator.templates, choice, template)
    links = link_slots(evaluator.machine_table)
    times = [lone(rows, hazards, np.array(order), links) for order in legal_orders(hazards)]
    assert len(times) > 10 and max(times) > min(times)
    found = order_by_windows(rows, hazards, np.arange(len(rows)), links)
    assert (found.cycles, found.proven, found.windows) == (min(times), 1, 1)
    assert lone(rows, hazards, found.order, links) == min(times)
    for active in (False, True):
        listed = list_order(rows, hazards, tails(rows, hazards), links, active)
        assert out_of_order(hazards, listed) == (-1, -1)
        assert lone(rows, hazards, listed, links) in times


@pytest.mark.parametrize("windows", [False, True])
def test_searched_orders_make_a_schedule_faster_and_replay(
    tmp_path: Path, small: tuple[Evaluator, tuple[Choice, ...]], windows: bool
) -> None:
    """The same orders come out again, within the budget, and the decoded program takes as long as was found."""
    evaluator, _ = small
    choices = (Choice(0, 2, ways_batch=2, pieces=3),)
    plan = evaluator.arrange(choices, Rules())
    plain = evaluator.simulate(choices, plan)[1].cycles
    spent = evaluator.evaluations
    orders = order_instructions(evaluator, choices, plan, budget=60, windows=windows)
    assert evaluator.evaluations <= spent + 60
    assert orders == order_instructions(evaluator, choices, plan, budget=60, windows=windows)
    schedule = small_schedule(evaluator, choices).model_copy(update={"instruction_orders": orders})
    found = replay(evaluator, schedule)
    assert found.cycles < plain
    program = schedule_to_program(evaluator, schedule)
    assert time_program(program, evaluator.machine).makespan_cycles == found.cycles
