"""Kernels of single layers: every way to spread one over a divisor of the cores, and its time on an empty machine.

An rOperator of Rammer (OSDI'20) comes in several kernels, and a wave takes the fastest or the most efficient of each.
Here a kernel is a binding and the fewest pieces with which it fits; tensors are taken to be in the LLB and weights in
DRAM, and the launch is left out, since a step pays for one whatever is in it.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from scheduling.candidates.estimate import estimate
from scheduling.candidates.space import PIECES
from scheduling.choice import RULE_SCALE, Choice
from scheduling.lowering.tables import NEVER, NetworkTable
from scheduling.lowering.tiling import LEGAL
from scheduling.problem import Problem
from scheduling.timeline.isolated import isolated


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
        cores, batch = evaluator.machine.cores, evaluator.network.batch
        divisors = [count for count in range(1, cores + 1) if cores % count == 0]
        choices = []
        for ways in product(divisors, repeat=3):
            if cores % (ways[0] * ways[1] * ways[2]) == 0 and ways[0] <= batch:
                fits = self._fewest_pieces(layer, *ways)
                choices += [fits] if fits is not None else []
        if not choices:
            choices = [Choice(*self._space.all(layer)[0, : len(Choice._fields)].tolist())]
        choices = [choice._replace(overlap=0) for choice in choices]
        times = isolated(evaluator.table, self._machine, np.array(choices, np.int64))[:, 0].tolist()
        kernels = (
            LayerKernel(*pair) for pair in zip(choices, (c.cores for c in choices), times, strict=True)
        )
        return tuple(sorted(kernels, key=lambda kernel: (kernel.cores, kernel.cycles)))

    def _fewest_pieces(self, layer: int, batch: int, rows: int, channels: int) -> Choice | None:
        """This binding with the first pieces that fit; None where nothing does."""
        for axis, pieces, flight in PIECES.tolist():
            rule = RULE_SCALE if flight == 0 else max(RULE_SCALE, RULE_SCALE * 3 // flight)
            choice = Choice(layer, layer + 1, 1, 1, batch, rows, channels, pieces, axis, rule)
            if estimate(self._evaluator.table, self._machine, choice).status == LEGAL:
                return choice
        return None


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
