"""The recurrence against an event-driven simulation, closed forms and bounds."""

from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from hwmodel.timing.recurrence import simulate
from tests.hwmodel.event_driven import EventDriven, Task

Ints = NDArray[np.int64]

# What random programs are made of, and how often. A system copy needs no core; "none" is on no engine.
KINDS = ("matrix", "vector", "dma", "launch", "system", "none")
WEIGHTS = (6, 5, 6, 1, 1, 1)


def flat(tasks: list[Task], names: list[str]) -> tuple[Ints, Ints, Ints, Ints, Ints, Ints]:
    """The arrays that `simulate` takes."""
    number = {name: i for i, name in enumerate(names)}
    holds = [(number[name], hold) for task in tasks for name, hold in task.holds.items()]
    return (
        np.array([task.latency for task in tasks], np.int64),
        np.cumsum([0, *(len(task.holds) for task in tasks)], dtype=np.int64),
        np.array([index for index, _ in holds], np.int64),
        np.array([hold for _, hold in holds], np.int64),
        np.cumsum([0, *(len(task.waits) for task in tasks)], dtype=np.int64),
        np.array([wait for task in tasks for wait in task.waits], np.int64),
    )


def run(tasks: list[Task], free: dict[str, int] | None = None, compiled: bool = True) -> tuple[object, ...]:
    """Makespan, starts, finishes and the final free times of the recurrence."""
    names = sorted({name for task in tasks for name in task.holds} | set(free or {}))
    times = np.array([(free or {}).get(name, 0) for name in names], np.int64)
    start, finish = np.full(len(tasks), -1, np.int64), np.full(len(tasks), -1, np.int64)
    function = simulate if compiled else getattr(simulate, "py_func", simulate)
    makespan = function(*flat(tasks, names), times, start, finish)
    return makespan, start.tolist(), finish.tolist(), dict(zip(names, times.tolist(), strict=True))


def reference(tasks: list[Task], free: dict[str, int] | None = None) -> tuple[object, ...]:
    """The same of the event-driven simulation."""
    names = {name for task in tasks for name in task.holds} | set(free or {})
    simulation = EventDriven(tasks, free or {})
    makespan = simulation.run()
    released = {name: simulation.released.get(name, 0) for name in names}
    return makespan, [task.start for task in tasks], [task.finish for task in tasks], released


def random_tasks(rng: Random) -> list[Task]:
    """A program whose SPMD instructions contend for engines and links; holds and latencies may be zero."""
    cores = rng.randrange(1, 5)
    largest = rng.choice([1, 3, 30])
    tasks: list[Task] = []
    for number in range(rng.randrange(0, 50)):
        kind = rng.choices(KINDS, WEIGHTS)[0]
        mask = [core for core in range(cores) if rng.random() < 0.7]
        engines = {"launch": ["matrix", "vector"], "system": [], "none": []}.get(kind, [kind])
        names = [f"{engine} {core}" for core in mask for engine in engines]
        if kind in ("dma", "system"):
            names += [link for link in ("dram", "llb", "out 0", "in 1") if rng.random() < 0.4]
        if kind == "system":
            names.append("system dma")
        together = rng.randrange(0, largest + 1)
        same = rng.random() < 0.5
        holds = {name: together if same else rng.randrange(0, largest + 1) for name in names}
        recent = range(max(0, number - 12), number)
        waits = sorted({rng.choice(recent) for _ in range(rng.randrange(0, 4))}) if recent else []
        tasks.append(Task(rng.randrange(0, largest + 2), holds, waits))
    return tasks


@pytest.mark.parametrize("seed", range(20))
def test_the_recurrence_equals_the_event_driven_simulation(seed: int) -> None:
    """To the cycle, on 20 x 500 = 10,000 random programs; most of them wait for engines and links, not for data."""
    rng = Random(seed)
    contended = 0
    for number in range(500):
        tasks = random_tasks(rng)
        names = sorted({name for task in tasks for name in task.holds})
        free = {name: rng.randrange(0, 50) for name in names} if number % 4 == 0 else {}
        expected = reference(tasks, free)
        assert run(tasks, free) == expected
        without = [Task(task.latency, {}, task.waits) for task in tasks]
        contended += run(without)[0] != expected[0]
    assert contended > 300


def test_the_source_gives_what_the_machine_code_gives() -> None:
    rng = Random(100)
    for _ in range(200):
        tasks = random_tasks(rng)
        assert run(tasks, compiled=False) == run(tasks)


def test_no_instructions_take_no_time() -> None:
    assert run([]) == (0, [], [], {})


def test_an_engine_takes_the_next_instruction_before_the_last_has_finished() -> None:
    tasks = [Task(10, {"m": 4}), Task(10, {"m": 4}), Task(1, {"v": 1}, [0])]
    assert run(tasks) == (14, [0, 4, 10], [10, 14, 11], {"m": 8, "v": 11})


def test_a_link_serves_in_program_order() -> None:
    """Head of line: the third transfer could start at once on its own core, but the link is promised."""
    tasks = [Task(20, {"m": 20}), Task(5, {"dma 0": 5, "link": 5}, [0]), Task(5, {"dma 1": 5, "link": 5})]
    assert run(tasks)[1] == [0, 20, 25]


@pytest.mark.parametrize("buffers", [2, 3, 100])
@pytest.mark.parametrize("load, compute, store", [(7, 3, 2), (2, 9, 4), (1, 2, 8), (5, 5, 5)])
@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_double_buffering_has_a_closed_form(
    load: int, compute: int, store: int, n: int, buffers: int
) -> None:
    tasks: list[Task] = []
    for i in range(n):
        freed, drained = 3 * (i - buffers) + 1, 3 * (i - buffers) + 2
        tasks.append(Task(load, {"in": load}, [freed] if freed >= 0 else []))
        tasks.append(Task(compute, {"matrix": compute}, [3 * i, *([drained] if drained >= 0 else [])]))
        tasks.append(Task(store, {"out": store}, [3 * i + 1]))
    assert run(tasks)[0] == load + compute + store + (n - 1) * max(load, compute, store)


def test_bounds_that_every_simulation_obeys() -> None:
    rng = Random(7)
    for _ in range(500):
        tasks = [
            Task(max([task.latency, *task.holds.values()]), task.holds, task.waits)
            for task in random_tasks(rng)
        ]
        makespan = run(tasks)[0]
        assert isinstance(makespan, int)
        busy: dict[str, int] = {}
        chain = [0] * len(tasks)
        for i, task in enumerate(tasks):
            for name, hold in task.holds.items():
                busy[name] = busy.get(name, 0) + hold
            chain[i] = task.latency + max([0, *(chain[wait] for wait in task.waits)])
        assert max([0, *busy.values()]) <= makespan <= sum(task.latency for task in tasks)
        assert max([0, *chain]) <= makespan


def test_a_further_wait_never_makes_a_program_faster() -> None:
    rng = Random(8)
    for _ in range(200):
        tasks = random_tasks(rng)
        if len(tasks) < 2:
            continue
        late = rng.randrange(1, len(tasks))
        slower = list(tasks)
        waits = sorted({*tasks[late].waits, rng.randrange(0, late)})
        slower[late] = Task(tasks[late].latency, tasks[late].holds, waits)
        for before, after in zip(run(tasks)[1], run(slower)[1], strict=True):  # type: ignore[call-overload]
            assert before <= after


def test_simulation_can_go_on_from_a_state() -> None:
    """Free times carry over, so the first half and then the second, with waits shifted, give the whole."""
    rng = Random(9)
    for _ in range(100):
        tasks = random_tasks(rng)
        half = len(tasks) // 2
        second = [
            Task(task.latency, task.holds, [wait - half for wait in task.waits if wait >= half])
            for task in tasks[half:]
        ]
        cut = tasks[:half] + [
            Task(task.latency, task.holds, [wait + half for wait in task.waits]) for task in second
        ]
        _, _, _, free = run(tasks[:half])
        assert isinstance(free, dict)
        assert run(second, free)[1] == run(cut)[1][half:]  # type: ignore[index]
