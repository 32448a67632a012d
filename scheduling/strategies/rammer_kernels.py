"""Kernels of single layers: every way to spread one over a divisor of the cores, and its time on an empty machine.

An rOperator of Rammer (OSDI'20) comes in several kernels, and a wave takes the fastest or the most efficient of each.
Here these are bindings (scheduling.core_groups.run_kernels); tensors are taken to be in the LLB and weights in DRAM.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scheduling.candidates.sliced import isolated_of
from scheduling.choice import Choice
from scheduling.core_groups.run_kernels import bindings_that_fit
from scheduling.lowering.tables import NEVER, NetworkTable
from scheduling.problem import Problem


class LayerKernel(NamedTuple):
    """A kernel of one layer, its cores, and its cycles on an empty machine, without launch."""

    choice: Choice
    cores: int
    cycles: int


class LayerKernels:
    """Kernels of the layers of a problem; layers of one shape are looked at once."""

    def __init__(self, problem: Problem) -> None:
        self._evaluator = problem.evaluator
        self._space = problem.space
        self._machine = problem.evaluator.machine_table._replace(launch=0)
        self._shapes: dict[tuple[object, ...], tuple[LayerKernel, ...]] = {}

    def of(self, layer: int) -> tuple[LayerKernel, ...]:
        """All kernels of a layer, fewest cores first. Raises IllegalSchedule where none fits."""
        key = _shape(self._evaluator.table, layer)
        if key in self._shapes and self._shapes[key][0].choice.split_channels > 1:
            key = (*key, layer)  # copies of one shape need not be cut alike over channels
        if key not in self._shapes:
            self._shapes[key] = self._find(layer)
        first = self._shapes[key][0].choice.first
        if first == layer:
            return self._shapes[key]
        return tuple(
            kernel._replace(choice=kernel.choice._replace(first=layer, stop=layer + 1))
            for kernel in self._shapes[key]
        )

    def fastest(self, layer: int, most_cores: int) -> LayerKernel:
        """The kernel of least time among those on at most so many cores, of equal ones that on fewest; where none has
        so few, that on the fewest."""
        kernels = self.of(layer)
        few = [kernel for kernel in kernels if kernel.cores <= most_cores] or [kernels[0]]
        return min(few, key=lambda kernel: (kernel.cycles, kernel.cores))

    def most_efficient(self, layer: int) -> LayerKernel:
        """The kernel of least time x cores, of equal ones the faster."""
        return min(self.of(layer), key=lambda kernel: (kernel.cycles * kernel.cores, kernel.cycles))

    def _find(self, layer: int) -> tuple[LayerKernel, ...]:
        evaluator = self._evaluator
        rows = bindings_that_fit(evaluator, Choice(layer, layer + 1))
        if not len(rows):
            alone = Choice(*self._space.all(layer)[0, : len(Choice._fields)].tolist())
            rows = np.array([alone._replace(overlap=0)], np.int64)
        choices = [Choice(*row) for row in rows.tolist()]
        times = isolated_of(evaluator, self._machine, rows)[:, 0].tolist()
        kernels = (
            LayerKernel(*pair) for pair in zip(choices, (c.cores for c in choices), times, strict=True)
        )
        return tuple(sorted(kernels, key=lambda kernel: (kernel.cores, kernel.cycles)))


def _shape(table: NetworkTable, layer: int) -> tuple[object, ...]:
    """All that lowering a layer alone depends on."""
    edges = range(table.edge_start[layer], table.edge_start[layer + 1])
    tensors = [table.input_count + layer, *(int(table.edge_tensor[edge]) for edge in edges)]
    names = table._fields
    columns = {name: np.asarray(column) for name, column in zip(names, table, strict=True)}
    of_layer, of_edge = names.index("kind"), names.index("edge_tensor") + 1
    per_layer = [columns[name] for name in names[of_layer : names.index("edge_start")]]
    per_edge = [columns[name] for name in names[of_edge:]]
    per_tensor = [columns[name] for name in names if name.startswith("tensor_")]
    return (
        tuple(int(column[layer]) for column in per_layer),
        tuple(int(column[edge]) for edge in edges for column in per_edge),
        tuple(int(column[tensor]) for tensor in tensors for column in per_tensor),
        tuple(bool(table.producer[tensor] < 0) for tensor in tensors),
        tuple(bool(table.last_use[tensor] == NEVER) for tensor in tensors),
        tuple(tensors.index(tensor) for tensor in tensors),
    )
