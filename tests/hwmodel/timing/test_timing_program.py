"""Whole programs: the order of instructions and copies, waits over steps, time and energy by hand."""

from dataclasses import replace

import numpy as np
import pytest

from hwmodel.errors import KernelError
from hwmodel.machines.machine import load_machine
from hwmodel.programs.isa import (
    Instruction,
    Kernel,
    Launch,
    Op,
    Program,
    Ref,
    StepCode,
    Symbol,
    SystemCopy,
    VectorKind,
)
from hwmodel.timing.flatten import flatten, time_program
from hwmodel.timing.resources import resource_name
from tests.hwmodel.event_driven import EventDriven, Task
from tests.hwmodel.machine_variants import with_dram
from tests.hwmodel.made_programs import box, instruction, parameter, relu, single, steps, view

TINY = load_machine("tiny")
STCP = load_machine("stcp920")


def conv_program() -> Program:
    """(1, 6, 6, 3) -> 3 x 3 convolution, bias, relu -> (1, 4, 4, 8), on core 0 of tiny, one after another."""
    ones = dict.fromkeys(("stride_h", "stride_w", "dilation_h", "dilation_w"), 1)
    zeros = dict.fromkeys(("pad_top", "pad_left", "weight_addr", "acc_addr", "accumulate"), 0)
    kernel = {"kernel_h": 3, "kernel_w": 3, "in_rows": 6, "in_columns": 6, "in_channels": 3}
    tile = box((1, 4, 4, 8), "out_channels")
    conv = instruction(Op.CONV, (0,), ones, zeros, kernel, tile, view("in", 0, (6, 6, 3), 4))
    body = steps(parameter(StepCode.ADD, 864), relu())
    out = {
        "kind": VectorKind.ACCUMULATOR,
        "acc_addr": 0,
        **box((1, 4, 4, 8)),
        **view("out", 2048, (4, 4, 8), 4),
    }
    weights = {"w": np.zeros((8, 3, 3, 3), np.float32), "b": np.zeros(8, np.float32)}
    return single(TINY, (1, 6, 6, 3), (1, 4, 4, 8), [conv, instruction(Op.VECTOR, (0,), out, body)], weights)


def test_a_convolution_by_hand() -> None:
    timing = time_program(conv_program(), TINY)
    # launch 10, input 432 B / 4, weights 864 B / 4, bias 32 B / 4, 4 x 2 x 27 cycles, 128 / 4 x 3, 512 B / 4
    durations = [10, 108, 216, 8, 216, 96, 128]
    assert timing.finish.tolist() == np.cumsum(durations).tolist()
    assert timing.start.tolist() == [0, *np.cumsum(durations[:-1]).tolist()]
    assert timing.makespan_cycles == 782
    counts = timing.counts
    assert (counts.dram_read_bytes, counts.dram_write_bytes, counts.llb_bytes) == (1328, 512, 0)
    assert (counts.macs, counts.vector_operations) == (3456, 384)
    assert counts.l1_read_bytes == 432 + 512
    assert counts.l1_write_bytes == 432 + 512
    assert (counts.weights_write_bytes, counts.weights_read_bytes) == (896, 864 + 32)
    assert (counts.accumulator_write_bytes, counts.accumulator_read_bytes) == (512, 512)
    assert timing.energy_pj == 100 * 1840 + 3456 + 384 + 4 * 944 - 2 * 944 + 2 * 896 + 1024


def test_a_convolution_through_slow_dram_by_hand() -> None:
    """Half of 4 bytes a cycle, and 100 cycles until the first of them."""
    slow = with_dram(TINY, sustained=0.5, latency_cycles=100)
    timing = time_program(conv_program(), slow)
    durations = [10, 100 + 216, 100 + 432, 100 + 16, 216, 96, 100 + 256]
    assert timing.finish.tolist() == np.cumsum(durations).tolist()
    assert timing.counts == time_program(conv_program(), TINY).counts


def test_loads_run_under_a_launch_unless_they_wait() -> None:
    program = conv_program()
    kernel = program.kernels["k"]
    instructions = list(kernel.instructions)
    instructions[1] = replace(instructions[1], waits=())
    free = replace(program, kernels={"k": replace(kernel, instructions=tuple(instructions))})
    assert time_program(free, TINY).makespan_cycles == 772


def loads(*waits: tuple[int, ...], events: tuple[str, ...] = ()) -> Kernel:
    """A kernel with a launch and one weight load of 270 bytes for each tuple of waits."""
    fields = {
        "rows": 1,
        "row_bytes": 270,
        "dst_addr": 0,
        "src_symbol": 0,
        "src_offset": 0,
        "src_row_stride": 0,
    }
    body = [instruction(Op.LOADW, (0,), fields, waits=wait, events=events) for wait in waits]
    return Kernel("k", (Symbol("w", "llb"),), (instruction(Op.LAUNCH, range(8)), *body))


def program(kernel: Kernel, *launches: Launch) -> Program:
    return Program("stcp920", {"k": kernel}, launches, ())


def launch(events: dict[str, tuple[Ref, ...]] | None = None, *copies: SystemCopy) -> Launch:
    return Launch("k", {"w": 0}, events or {}, copies)


def test_copies_stand_where_the_step_places_them() -> None:
    kernel = loads((), (), events=("staged",))
    copies = (SystemCopy(2, 0, 0, 2700, (Ref(0, 0),)), SystemCopy(0, 0, 0, 2700), SystemCopy(2, 0, 0, 27))
    steps_ = (launch({"staged": ()}, *copies), launch({"staged": (Ref(0, 3), Ref(0, 5))}))
    timing = time_program(program(kernel, *steps_), STCP)
    places = [(at.step, at.index) for at in timing.flat.positions]
    assert places == [(0, 4), (0, 0), (0, 1), (0, 3), (0, 5), (0, 2), (1, 0), (1, 1), (1, 2)]
    start = dict(zip(places, timing.start.tolist(), strict=True))
    finish = dict(zip(places, timing.finish.tolist(), strict=True))
    assert (start[0, 4], finish[0, 4]) == (0, 164)
    assert start[0, 0] == 0  # a launch does not hold the system DMA
    assert start[0, 3] == finish[0, 0] == 30000
    assert start[0, 5] == finish[0, 3] == 30164  # in order on the system DMA
    assert start[1, 1] == finish[0, 5] == 30164 + 65
    assert timing.counts.dram_read_bytes == 5427
    assert timing.counts.llb_write_bytes == 5427


def test_nothing_takes_no_time() -> None:
    timing = time_program(Program("tiny", {}, (), ()), TINY)
    assert (timing.makespan_cycles, timing.energy_pj, timing.flat.positions) == (0, 0.0, ())


def test_the_event_driven_simulation_agrees_on_programs() -> None:
    kernel = loads((0,), (), (1, 2), events=("staged",))
    copies = (SystemCopy(1, 0, 0, 90_000), SystemCopy(3, 0, 0, 5000))
    launches = [launch({"staged": ()}, *copies)]
    launches += [launch({"staged": (Ref(i, 4), Ref(i, 3))}, *copies) for i in range(5)]
    for candidate, machine in ((program(kernel, *launches), STCP), (conv_program(), TINY)):
        timing = time_program(candidate, machine)
        flat = timing.flat
        tasks = []
        for i, latency in enumerate(flat.latency.tolist()):
            held = slice(flat.resource_ptr[i], flat.resource_ptr[i + 1])
            names = [resource_name(r, machine.cores) for r in flat.resource_index[held]]
            holds = dict(zip(names, flat.resource_hold[held].tolist(), strict=True))
            waits = set(flat.wait_index[flat.wait_ptr[i] : flat.wait_ptr[i + 1]].tolist())
            tasks.append(Task(latency, holds, sorted(waits)))
        assert EventDriven(tasks).run() == timing.makespan_cycles
        assert [task.start for task in tasks] == timing.start.tolist()


def bad_waits() -> list[tuple[Program, str]]:
    plain = loads(())
    return [
        (program(loads((2,), ()), launch()), "step 0, instruction 1 waits for instruction 2 of step 0"),
        (program(loads((1,)), launch()), "step 0, instruction 1 waits for instruction 1 of step 0"),
        (program(loads((9,)), launch()), "step 0, instruction 1 waits for instruction 9 of step 0"),
        (
            program(loads((), events=("e",)), launch({"e": (Ref(1, 0),)}), launch({"e": ()})),
            "step 0, instruction 1 waits for instruction 0 of step 1, which is not before it",
        ),
        (program(loads((), events=("e",)), launch()), "step 0, instruction 1: event 'e' is not bound"),
        (
            program(plain, launch(None, SystemCopy(0, 0, 0, 4, (Ref(0, 0),)))),
            "step 0, instruction 2 waits for instruction 0 of step 0, which is not before it",
        ),
        (program(plain, launch(None, SystemCopy(0, 0, 0, -4))), "step 0, copy 0: size_bytes: -4 is negative"),
        (program(plain, launch(None, SystemCopy(9, 0, 0, 4))), "step 0: copy 0 is placed after 9 of 2"),
        (Program("stcp920", {}, (launch(),), ()), "step 0 launches kernel 'k', which is not in the program"),
        (
            program(Kernel("k", (), (Instruction(Op.CONV, (0,), {}),)), launch()),
            "kernel k, instruction 0: CONV has no field",
        ),
    ]


@pytest.mark.parametrize("case", range(len(bad_waits())))
def test_a_wrong_program_is_refused_with_the_place(case: int) -> None:
    wrong, message = bad_waits()[case]
    with pytest.raises(KernelError) as caught:
        flatten(wrong, STCP)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["tiny", "meta_prototype_df"])
def test_a_program_with_one_wild_number_is_timed_or_refused(name: str) -> None:
    """Whatever a damaged file says of an instruction: no other exception, and no time below nothing."""
    program, machine = conv_program(), load_machine(name)
    kernel = program.kernels["k"]
    refused = 0
    for index, old in enumerate(kernel.instructions):
        for field in old.fields:
            for value in ((1 << 63) - 1, -(1 << 63), 1 << 44, 1 << 31):
                body = list(kernel.instructions)
                body[index] = replace(old, fields={**old.fields, field: (value,)})
                damaged = replace(program, kernels={"k": replace(kernel, instructions=tuple(body))})
                try:
                    timing = time_program(damaged, machine)
                except KernelError:
                    refused += 1
                    continue
                assert (timing.finish >= timing.start).all()
                assert timing.makespan_cycles == timing.finish.max() >= 10
    assert refused > 100


def test_a_program_that_takes_more_cycles_than_64_bits_hold_is_refused() -> None:
    """Each of its instructions is possible, and there are too many of them."""
    data = STCP.model_dump()
    data["launch_cycles"] = 1 << 40
    machine, kernel = type(STCP).model_validate(data), loads()
    launches = tuple(Launch("k", {"w": 0}, {}) for _ in range(1 << 11))
    program = Program(machine.name, {"k": kernel}, launches, ())
    assert time_program(program, machine).makespan_cycles == 1 << 51
    slow = machine.model_copy(update={"launch_cycles": 1 << 52})
    with pytest.raises(KernelError, match="take more than 4611686018427387904 cycles"):
        time_program(program, slow)
