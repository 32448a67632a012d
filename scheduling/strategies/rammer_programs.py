"""What a few steps cost by themselves: the simulated time that Rammer's policy compares.

Only the instances of the steps run; what others make is there at the start. Tensors are taken to be in the LLB, where
there is one, and nothing overwrites anything, so no place has to be found. The instances of a layer that has several
are taken to be like its first one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scheduling.choice import Choice
from scheduling.evaluator import Evaluator
from scheduling.templates import WHOLE
from scheduling.timeline.concurrency import simulate_packed
from scheduling.timeline.packing import EARLIEST, Step, packed_order


class StepSimulator:
    """Times of steps of single layers of one network; sub-graph numbers are layers."""

    def __init__(self, evaluator: Evaluator) -> None:
        table = evaluator.table
        tensors, layers = len(table.tensor_rows), len(table.is_matrix)
        self._evaluator = evaluator
        self._store = evaluator.templates.new_store()
        self._templates: dict[Choice, int] = {}
        self._choices = np.array([[*Choice(layer, layer + 1)] for layer in range(layers)], np.int64)
        self._plan = evaluator.supposed_plan()
        self._slices = np.ones(tensors, np.int64)
        self._copies = evaluator.system_copies((), self._plan)

    def cycles(self, steps: Sequence[Step], choices: Sequence[Choice]) -> int:
        """Cycles of steps one after the other, from a machine at rest; `choices` of their layers. Raises
        IllegalSchedule where one does not fit."""
        evaluator, store = self._evaluator, self._store
        packed = packed_order(steps, EARLIEST)
        layers = np.array([choice.first for choice in choices], np.int64)
        self._choices[layers] = np.array(choices, np.int64)
        self._slices[evaluator.table.input_count + layers] = [choice.instances for choice in choices]
        slice_start = np.concatenate(([0], np.cumsum(self._slices)))
        of_layer = {choice.first: choice for choice in choices}
        placements = [placement for step in steps for placement in step.instances]
        instances = [of_layer[placement.subgraph] for placement in placements]
        index = [self._template(choice) for choice in instances]
        row, rows, local, entries = np.ascontiguousarray(store.places[index].T)
        plan = self._plan._replace(
            subgraph=np.array([placement.subgraph for placement in placements], np.int64),
            instance=np.array([placement.instance for placement in placements], np.int64),
            slice_start=slice_start,
            slice_address=np.zeros(slice_start[-1], np.int64),
            when=packed.when,
            packed=packed,
        )
        cores = np.array([choice.cores for choice in instances], np.int64)
        none, zeros = np.empty(0, np.int64), np.zeros(len(placements) + 1, np.int64)
        times, _ = simulate_packed(
            evaluator.table, evaluator.machine_table, evaluator.machine.barrier_cycles, self._choices, plan, cores,
            store.arena, row, rows, local, store.local, entries, zeros, none, zeros, none, self._copies, none,
        )  # fmt: skip
        return int(times.makespan)

    def _template(self, choice: Choice) -> int:
        if choice not in self._templates:
            lowered = self._evaluator.templates.lower(choice, 0, WHOLE, False, self._plan)
            self._templates[choice] = self._store.add(lowered).index
        return self._templates[choice]
