"""Orders of execution: all that waits and queues allow give the same bytes, and others do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwmodel.errors import KernelError
from hwmodel.functional.simulator import FunctionalSimulator
from hwmodel.programs.isa import Instruction, Kernel, Launch, Op, Program, Ref, Run, SystemCopy
from hwmodel.programs.order import engines, latest_first, positions, predecessors, program_order, random_order
from hwmodel.programs.placement import PlacedKernels, launched_cores
from tests.hwmodel import pipelines
from tests.hwmodel.pipelines import pipeline, without_a_wait


def outputs(program: Program, order: list[int] | None) -> bytes:
    simulator = FunctionalSimulator(program, pipelines.machine(), "native", pipelines.weights())
    simulator.write_input("x", pipelines.inputs())
    simulator.run(order)
    return simulator.read_output("half").tobytes() + simulator.read_output("out").tobytes()


def test_program_order_computes_what_is_meant() -> None:
    simulator = FunctionalSimulator(pipeline(), pipelines.machine(), "native", pipelines.weights())
    simulator.write_input("x", pipelines.inputs())
    simulator.run()
    assert np.allclose(simulator.read_output("out"), pipelines.expected(), rtol=1e-5)


def test_every_order_gives_the_same_bytes() -> None:
    program = pipeline()
    expected = outputs(program, None)
    assert outputs(program, program_order(program)) == expected
    assert outputs(program, latest_first(program)) == expected
    rng = np.random.default_rng(0)
    orders = [random_order(program, rng) for _ in range(30)]
    assert len({tuple(order) for order in orders}) > 20
    assert all(outputs(program, order) == expected for order in orders)


def test_orders_respect_waits_and_queues() -> None:
    program = pipeline()
    before = predecessors(program)
    rng = np.random.default_rng(1)
    for order in (latest_first(program), random_order(program, rng)):
        assert sorted(order) == list(range(len(before)))
        place = {position: index for index, position in enumerate(order)}
        assert all(place[other] < place[at] for at, others in enumerate(before) for other in others)
    assert latest_first(program) != program_order(program)


def test_orders_show_missing_waits() -> None:
    expected = outputs(pipeline(), None)
    rng = np.random.default_rng(2)
    shown = 0
    for _, program in without_a_wait(pipeline()):
        orders = [latest_first(program), *(random_order(program, rng) for _ in range(20))]
        shown += any(outputs(program, order) != expected for order in orders)
    assert shown >= 17  # of 19; that a read is too early for its overwriting needs luck


def test_copies_stand_where_they_are_placed() -> None:
    program = pipeline()
    count = len(program.kernels["first"].instructions)
    at = [(position.step, position.index) for position in positions(program)]
    assert at[:3] == [(0, 0), (0, count), (0, 1)]
    assert at[count + 1 : count + 3] == [(1, 4), (1, 0)]


def test_runs_interleave_steps() -> None:
    """Runs take the next instructions and copies of their step; what they give is an order of the same program."""
    program = pipeline()
    apart = positions(program)
    lengths = [sum(position.step == step for position in apart) for step in (0, 1)]
    runs = (Run(0, lengths[0] - 1), Run(1, 1), Run(0, 1), Run(1, lengths[1] - 1))
    together = positions(replace(program, order=runs))
    assert together[lengths[0] - 1] == apart[lengths[0]]
    for step in (0, 1):
        assert [at for at in together if at.step == step] == [at for at in apart if at.step == step]
    for wrong, message in (
        ((Run(2, 1),), "run 0 of the order is of step 2, which there is not"),
        ((Run(0, 99),), "run 0 of the order takes 99 instructions of step 0, expected 1 to"),
        ((Run(0, 1), Run(0, 0)), "run 1 of the order takes 0 instructions of step 0"),
        (runs[:-1], "the order has 1 of"),
    ):
        with pytest.raises(KernelError, match=message):
            positions(replace(program, order=wrong))


def test_a_placed_kernel_runs_on_other_cores() -> None:
    """Cores and targets move with the first core, and the queues of a LAUNCH are those that the step names."""
    send = Instruction(Op.BROADCAST, (0, 1), {"targets": (2, 1)})
    kernel = Kernel("k", (), (Instruction(Op.LAUNCH, (0, 1), {}), send))
    placed = Launch("k", {}, {}, first_core=3, launch_cores=(2, 3, 4))
    program = Program("many", {"k": kernel}, (Launch("k", {}, {}), placed), ())
    moved = PlacedKernels(program).of(1)
    assert [instruction.cores for instruction in moved.instructions] == [(3, 4), (3, 4)]
    assert moved.instructions[1].fields["targets"] == (16, 8)
    assert launched_cores(placed, moved.instructions[0]) == (2, 3, 4)
    assert PlacedKernels(program).of(0) is kernel
    assert predecessors(program) == [[], [], [], []]
    assert predecessors(replace(program, steps=(program.steps[0], replace(placed, first_core=0)))) == [
        [],
        [],
        [],
        [1],
    ]
    assert predecessors(replace(program, steps=(program.steps[0], replace(placed, waits=(Ref(0, 1),))))) == [
        [],
        [],
        [1],
        [],
    ]


def test_what_cannot_run_is_refused() -> None:
    program = pipeline()
    step = program.steps[0]
    for changed, message in (
        (replace(step, kernel="third"), "which is not in the program"),
        (replace(step, events={}), "event 'weights' is not bound"),
        (replace(step, events={"weights": (Ref(1, 0),)}), "which is not before it"),
        (replace(step, events={"weights": (Ref(0, 99),)}), "which is not before it"),
        (replace(step, copies=(SystemCopy(99, 0, 0, 4),)), "is placed after 99"),
    ):
        with pytest.raises(KernelError, match=message):
            predecessors(replace(program, steps=(changed, program.steps[1])))


def test_every_operation_goes_through_an_engine() -> None:
    found = {op: [engine for engine, _ in engines(Instruction(op, (1,), {}))] for op in Op}
    assert found[Op.MATMUL] == found[Op.CONV] == ["matrix"]
    assert found[Op.GATHER] == found[Op.LOAD] == ["dma"]


@pytest.mark.parametrize("first_core", [-1, 1024, 1 << 70])
def test_cores_that_no_machine_has_are_refused(first_core: int) -> None:
    """Before the targets of a broadcast are shifted by them."""
    kernel = Kernel("k", (), (Instruction(Op.BROADCAST, (0,), {"targets": (2,)}),))
    program = Program("tiny", {"k": kernel}, (Launch("k", {}, {}, first_core=first_core),), ())
    with pytest.raises(KernelError, match=f"step 0: first_core is {first_core}, expected 0 to 1023"):
        PlacedKernels(program).of(0)
