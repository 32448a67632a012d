"""Address assignment by CP-SAT: rectangles, life by bytes, that must not overlap.

Beside the project's own branch and bound (scheduling.exact.addresses); each finds solutions that the other does not.
Needs OR-tools, which `pip install oncore[exact]` brings.
"""

from __future__ import annotations

from collections.abc import Sequence

from ortools.sat.python import cp_model

from scheduling.exact.addresses import Addresses, Answer, Buffer, check_buffers


def address_assignment_by_cpsat(
    buffers: Sequence[Buffer],
    capacity_bytes: int,
    *,
    deterministic_time: float = 10.0,
    seconds: float | None = None,
    workers: int = 1,
    seed: int = 0,
) -> Addresses:
    """Find offsets as `address_assignment` does; `nodes` are CP-SAT's branches.

    Ends after `deterministic_time` (CP-SAT's own, about seconds), or with `seconds` after these instead, and the answer
    may then depend on the machine's speed, as with more workers than one. Raises ValueError like
    `address_assignment`.
    """
    check_buffers(buffers)
    model = cp_model.CpModel()
    lives, places, starts = [], [], {}
    for i, (begin, end, size) in enumerate(buffers):
        if end == begin or size == 0:
            continue
        if size > capacity_bytes:
            return Addresses(Answer.IMPOSSIBLE, (), 0)
        start = starts[i] = model.new_int_var(0, capacity_bytes - size, f"offset{i}")
        lives.append(model.new_fixed_size_interval_var(begin, end - begin, f"life{i}"))
        places.append(model.new_fixed_size_interval_var(start, size, f"bytes{i}"))
    model.add_no_overlap_2d(lives, places)
    # Implied: at no time more bytes than there are.
    model.add_cumulative(lives, [b.size_bytes for i, b in enumerate(buffers) if i in starts], capacity_bytes)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = seed
    if seconds is None:
        solver.parameters.max_deterministic_time = deterministic_time
    else:
        solver.parameters.max_time_in_seconds = seconds
    status = solver.status_name(solver.solve(model))
    if status == "INFEASIBLE":
        return Addresses(Answer.IMPOSSIBLE, (), solver.num_branches)
    if status not in ("OPTIMAL", "FEASIBLE"):
        return Addresses(Answer.UNDECIDED, (), solver.num_branches)
    offsets = tuple(solver.value(starts[i]) if i in starts else 0 for i in range(len(buffers)))
    return Addresses(Answer.FOUND, offsets, solver.num_branches)
