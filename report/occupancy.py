"""What lies in the LLB while the steps of a schedule run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scheduling.arrangement import Arrangement, touching, weight_bytes
from scheduling.choice import Choice
from scheduling.evaluator import Evaluator
from scheduling.tables import Ints


def llb_bytes_in_use(evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement) -> Ints:
    """Bytes of tensors and resident weights in the LLB while each instance runs (N,)."""
    change = np.zeros(int(plan.when[-1]) + 2, np.int64)
    home = np.concatenate(
        [np.full(choice.stop - choice.first, index, np.int64) for index, choice in enumerate(choices)]
    )
    for tensor in np.flatnonzero(plan.in_llb).tolist():
        _add_tensor(evaluator, choices, plan, home, tensor, change)
    for layer in np.unique(plan.copy_layer).tolist():
        size = weight_bytes(evaluator.table, layer, evaluator.machine.element_bytes)
        copies = plan.copy_when[plan.copy_layer == layer]
        for first, following in zip(copies.tolist(), [*copies[1:].tolist(), len(change)], strict=True):
            readers = np.unique(home[plan.staged_by == layer]).tolist()
            steps = np.concatenate([_steps(plan, reader) for reader in readers])
            change[first] += size
            change[int(steps[steps < following].max()) + 1] -= size
    return np.cumsum(change)[plan.when]


def _steps(plan: Arrangement, subgraph: int) -> Ints:
    """The step, or wave of steps that hold several, of every instance of a sub-graph."""
    return plan.when[plan.place_of[plan.instance_start[subgraph] : plan.instance_start[subgraph + 1]]]


def _add_tensor(
    evaluator: Evaluator,
    choices: Sequence[Choice],
    plan: Arrangement,
    home: Ints,
    tensor: int,
    change: Ints,
) -> None:
    """Every slice of a tensor, from the step that writes it to the last one that reads it."""
    table, network = evaluator.table, evaluator.network
    made_by = int(home[table.producer[tensor]])
    producer = choices[made_by]
    born = _steps(plan, made_by)
    last = born.copy()
    readers = {
        int(home[index])
        for index, layer in enumerate(network.layers)
        if tensor in layer.inputs and home[index] != made_by
    }
    for reader in readers:
        choice = choices[reader]
        steps = _steps(plan, reader).reshape(choice.split_batch, choice.slices).max(axis=1)
        for part, step in enumerate(steps.tolist()):
            first, stop = touching(part, choice.split_batch, producer.split_batch, network.batch)
            touched = slice(first * producer.slices, stop * producer.slices)
            last[touched] = np.maximum(last[touched], step)
    shape = network.tensors[tensor]
    rows_apart = producer.split_rows if plan.source_rows[tensor] > 1 else 1
    together = producer.slices // rows_apart  # instances that write one place
    for number in range(0, len(born), together):
        part_batch, part_rows = divmod(number // together, rows_apart)
        images = _part(network.batch, producer.split_batch, part_batch)
        rows = _part(shape.rows, rows_apart, part_rows)
        size = images * rows * shape.columns * shape.channels * evaluator.machine.element_bytes
        change[born[number : number + together].min()] += size
        change[last[number : number + together].max() + 1] -= size


def _part(size: int, parts: int, index: int) -> int:
    """Extent of an even slice."""
    return size * (index + 1) // parts - size * index // parts
