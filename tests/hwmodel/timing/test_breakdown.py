"""Where time goes: by hand on small programs, and on random ones that the parts sum to the makespan."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np

from hwmodel.machines.machine import Machine, load_machine
from hwmodel.programs.isa import Instruction, Kernel, Launch, Op, Program, Symbol, SystemCopy
from hwmodel.timing.breakdown import PARTS, breakdown, path_cycles
from hwmodel.timing.counts import Counts
from hwmodel.timing.flatten import FlatProgram, Timing, time_program
from hwmodel.timing.instruction_cost import instruction_cost
from tests.hwmodel.event_driven import Task
from tests.hwmodel.machine_variants import with_dram
from tests.hwmodel.made_programs import box, instruction, view
from tests.hwmodel.timing.test_recurrence import flat, random_tasks, run
from tests.hwmodel.timing.test_timing_program import TINY, conv_program

STCP = load_machine("stcp920")


def parts(program: Program, machine: Machine) -> dict[str, int]:
    """The parts that a program has, by name; they sum to its makespan."""
    timing = time_program(program, machine)
    sums = breakdown(program, machine, timing).sum(axis=0).tolist()
    assert sum(sums) == timing.makespan_cycles
    return {name: cycles for name, cycles in zip(PARTS, sums, strict=True) if cycles}


def test_a_convolution_by_hand() -> None:
    """Launch 10, input 108, weights 216, bias 8, convolution 216, vector 96, store 128, each after the one before.

    3,456 multiply-accumulates on two cores of 16 a cycle are 108 cycles; the second core has nothing to do.
    """
    expected = {"launch": 10, "dram": 108 + 216 + 8 + 128, "ideal": 108, "under_use": 108, "engine_wait": 96}
    assert parts(conv_program(), TINY) == expected


def test_what_is_hidden_is_in_no_part() -> None:
    """The input's load of 108 cycles runs under the launch of 10, and nothing waits for the launch itself."""
    program = conv_program()
    kernel = program.kernels["k"]
    instructions = list(kernel.instructions)
    instructions[1] = replace(instructions[1], waits=())
    free = replace(program, kernels={"k": replace(kernel, instructions=tuple(instructions))})
    expected = {"dram": 108 + 216 + 8 + 128, "ideal": 108, "under_use": 108, "engine_wait": 96}
    assert parts(free, TINY) == expected


def load(cores: tuple[int, ...], *waits: int) -> Instruction:
    """270 bytes of weights from DRAM: 10 cycles of the link, 74 of the queue."""
    fields = {
        "rows": 1,
        "row_bytes": 270,
        "dst_addr": 0,
        "src_symbol": 0,
        "src_offset": 0,
        "src_row_stride": 0,
    }
    return instruction(Op.LOADW, cores, fields, waits=waits)


def kernel_program(*body: Instruction, memory: str = "dram", copies: tuple[SystemCopy, ...] = ()) -> Program:
    kernel = Kernel("k", (Symbol("w", memory),), body)
    return Program("stcp920", {"k": kernel}, (Launch("k", {"w": 0}, {}, copies),), ())


def test_a_start_up_that_the_link_does_not_wait_for_is_not_on_the_path() -> None:
    """Two cores load through one link: the second waits for the bytes of the first, then starts up itself."""
    assert parts(kernel_program(load((0,)), load((1,))), STCP) == {"dram": 20, "startup": 64}
    assert parts(kernel_program(load((0,)), load((0,))), STCP) == {"dram": 20, "startup": 128}
    assert parts(kernel_program(load((0,)), load((1,), 0)), STCP) == {"dram": 20, "startup": 128}


def test_the_latency_of_dram_is_start_up_that_the_link_does_not_wait_for() -> None:
    """As above, with 100 cycles until the first byte: two queues wait for them at one time, one queue twice."""
    late = with_dram(STCP, latency_cycles=100)
    assert parts(kernel_program(load((0,)), load((1,))), late) == {"dram": 20, "startup": 164}
    assert parts(kernel_program(load((0,)), load((0,))), late) == {"dram": 20, "startup": 328}
    assert parts(kernel_program(load((0,)), memory="llb"), late) == {"llb": 5, "startup": 64}
    assert parts(kernel_program(copies=(SystemCopy(0, 0, 0, 2700),)), late) == {"dram": 100, "startup": 164}


def test_ports_that_stall_a_contraction_are_told_apart() -> None:
    """The depth-first DeFiNES machine with a port of 16 bytes to its weights: 64 steps take 256 cycles."""
    data = load_machine("meta_prototype_df").model_dump()
    first, *others = data["levels"]["buffers"]
    data["levels"]["buffers"] = [{**first, "word_bits": 128, "ports": 1}, *others]
    machine = Machine.model_validate(data)
    ones = dict.fromkeys(("kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w"), 1)
    zeros = dict.fromkeys(("pad_top", "pad_left", "weight_addr", "acc_addr", "accumulate"), 0)
    inputs = {"in_rows": 4, "in_columns": 4, "in_channels": 64}
    tile, source = box((1, 4, 4, 32), "out_channels"), view("in", 0, (4, 4, 64), machine.element_bytes)
    conv = instruction(Op.CONV, (0,), ones, zeros, inputs, tile, source)
    stall = instruction_cost(machine, (), conv).inner.port_stall_cycles
    program = Program(machine.name, {"k": Kernel("k", (), (conv,))}, (Launch("k", {}, {}),), ())
    found = parts(program, machine)
    assert found["port_stalls"] == stall > 0
    assert found["ideal"] == 4 * 4 * 32 * 64 // machine.peak_macs_per_cycle


def test_memories_are_told_apart() -> None:
    assert parts(kernel_program(load((0,)), memory="llb"), STCP) == {"llb": 5, "startup": 64}
    send = instruction(
        Op.BROADCAST, (0,), box((1, 1, 10, 64)), view("src", 0, (1, 10, 64), 2), {"targets": 254}
    )
    assert parts(kernel_program(send), STCP) == {"exchange": 20, "startup": 64}
    copied = kernel_program(copies=(SystemCopy(0, 0, 0, 2700),))
    assert parts(copied, STCP) == {"dram": 100, "startup": 64}


def timing_of(tasks: list[Task]) -> tuple[Timing, list[str]]:
    """The timing of a program of which nothing but its timing is known."""
    names = sorted({name for task in tasks for name in task.holds})
    latency, *arrays = flat(tasks, names)
    makespan, start, finish, _ = run(tasks)
    program = FlatProgram(latency, *arrays, (), len(names), Counts())
    assert isinstance(makespan, int)
    return Timing(
        makespan, np.array(start, np.int64), np.array(finish, np.int64), Counts(), 0.0, program
    ), names


def test_the_path_of_a_random_program_has_no_gap() -> None:
    """From each instruction of the path to the next leads a wait, or a resource that both hold one after the other;
    nothing with a lower index could be there instead."""
    rng = Random(11)
    for _ in range(1000):
        tasks = random_tasks(rng)
        timing, _ = timing_of(tasks)
        cycles = path_cycles(timing)
        assert cycles.sum() == timing.makespan_cycles
        start, finish = timing.start.tolist(), timing.finish.tolist()
        path = np.flatnonzero(cycles).tolist()
        if not path:
            continue
        assert start[path[0]] == 0
        assert start[path[-1]] + cycles[path[-1]] == timing.makespan_cycles
        for earlier, later in pairwise(path):
            assert start[earlier] + cycles[earlier] == start[later]
            blocking = [wait for wait in tasks[later].waits if finish[wait] == start[later]]
            for name in tasks[later].holds:
                holders = [i for i in range(later) if name in tasks[i].holds]
                if holders and start[holders[-1]] + tasks[holders[-1]].holds[name] == start[later]:
                    blocking.append(holders[-1])
            assert min(blocking) == earlier or cycles[min(blocking)] == 0  # which takes no time


def test_no_program_takes_no_cycles() -> None:
    timing = time_program(Program("tiny", {}, (), ()), TINY)
    assert breakdown(Program("tiny", {}, (), ()), TINY, timing).shape == (0, len(PARTS))
