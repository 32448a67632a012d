"""The table of what orders of layers are worth: medians over seeds, and a gain over the best on the file's order."""

from benchmarks._cells import DONE, LATE, Cell
from benchmarks.orders import markdown, varied
from hwmodel.machines.machine import load_machine


def cell(way: str, seed: int, cycles: int) -> Cell:
    about = {"machine": "stcp920", "l1": 0.5, "llb": 1.0, "network": "some", "batch": 4, "budget": 60}
    sizes = {"layers": 7, "kernels": 2 + seed, "live_bytes": 1_500_000, "dram_bytes": cycles}
    return about | {"seed": seed, "way": way, "status": DONE, "cycles": cycles} | sizes


def test_the_gain_is_over_the_better_way_on_the_file_s_order() -> None:
    cells = [cell("dp", 0, 9_000_000), cell("dp_orders", 0, 7_000_000)]
    cells += [cell("annealed", seed, (8 + seed) * 1_000_000) for seed in range(3)]
    cells += [cell("chains", seed, 10_000_000) for seed in range(3)]
    cells += [cell("annealing_orders", seed, (4 + seed) * 1_000_000) for seed in range(3)]
    cells.append(cell("chains", 3, 0) | {"status": LATE, "limit_s": 1.0})
    assert markdown(cells).splitlines()[2] == (
        "| some, 4 | stcp920, L1 x 0.5 | 7 | 60 | 9.000 | 9.000 [8.000-10.000] | 10.000 | 7.000 | 5.000 [4.000-6.000] "
        "| 1.800 | 2 -> 2 | 1.5 -> 1.5 | 10.0 -> 4.0 |"
    )


def test_what_was_not_found_is_a_dash() -> None:
    row = markdown([cell("dp", 0, 9_000_000)]).splitlines()[2]
    assert row == "| some, 4 | stcp920, L1 x 0.5 | 7 | 60 | 9.000 | - | - | - | - | - | - | - | - |"


def test_factors_of_one_leave_the_machine_as_it_is() -> None:
    machine = load_machine("stcp920")
    assert varied(machine, 1.0, 1.0) is machine
    assert varied(machine, 1.0, 0.5) == machine.varied(llb=0.5)
