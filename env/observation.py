"""Observations: the candidate table and the global vector of a state, and their spaces."""

from __future__ import annotations

import math

import numpy as np
from gymnasium import spaces

from env.building import PHASES, SUBGRAPHS, Builder, Options, State
from env.features import CANDIDATE, GLOBAL, LIMIT, MOST_ACTIONS, Floats, G, shared_buffer_bytes
from hwmodel.timing.costs import dram_rate
from scheduling.evaluator import Evaluation
from scheduling.objective import Objective

CANDIDATES, CONTEXT = "candidates", "context"
"""Keys of an observation."""


def observation_space() -> spaces.Dict:
    """`candidates` (A, F) and `context` (G,), all in [-LIMIT, LIMIT]."""
    return spaces.Dict(
        {
            CANDIDATES: spaces.Box(-LIMIT, LIMIT, (MOST_ACTIONS, len(CANDIDATE)), np.float32),
            CONTEXT: spaces.Box(-LIMIT, LIMIT, (len(GLOBAL),), np.float32),
        }
    )


def padded(options: Options | None) -> Floats:
    """The candidate table with rows of zeros up to MOST_ACTIONS."""
    table = np.zeros((MOST_ACTIONS, len(CANDIDATE)), np.float32)
    if options is not None:
        table[: len(options.features)] = options.features
    return table


class Context:
    """Global vectors of the states of one builder; `first` is the evaluation of its first state."""

    def __init__(self, builder: Builder, first: Evaluation) -> None:
        self._builder = builder
        self._buffer_bytes = shared_buffer_bytes(builder.problem.evaluator.machine_table)
        self._fixed = self._machine_part()
        self.first_cost = builder.problem.objective.cost(first)

    def vector(self, state: State, options: Options | None, evaluation: Evaluation) -> Floats:
        """The global vector; `evaluation` is that of the state's completed schedule."""
        builder = self._builder
        space, ideals = builder.problem.space, builder.tables.ideals
        layers, first = space.layers, state.frontier
        vector = self._fixed.copy()
        if state.phase is not None:
            vector[G[f"phase_{state.phase}"]] = 1
        ideal = float(ideals.busy[layers])
        decided = float(ideals.busy[first])
        cost = builder.problem.objective.cost(evaluation)
        crossing = float(space.border_bytes[first]) if first < layers else 0.0
        previous = state.choices[-1].split_batch if state.choices else 1
        vector[G["progress_time"]] = decided / max(1.0, ideal)
        vector[G["progress_layers"]] = first / layers
        vector[G["above_bound"]] = math.log(evaluation.cycles / max(1.0, ideal))
        vector[G["gain"]] = math.log(self.first_cost / cost)
        vector[G["crossing_llb"]] = math.log1p(crossing / self._buffer_bytes)
        vector[G["previous_split"]] = math.log2(previous) / 4
        vector[G["subgraphs"]] = len(state.choices) / 16
        vector[G["candidates"]] = 0.0 if options is None else len(options.features) / MOST_ACTIONS
        vector[G["layers_left"]] = math.log2(1 + layers - first) / 8
        return np.clip(vector, -LIMIT, LIMIT)

    def _machine_part(self) -> Floats:
        builder = self._builder
        evaluator, space = builder.problem.evaluator, builder.problem.space
        machine, table = evaluator.machine, evaluator.machine_table
        ideals = builder.tables.ideals
        ideal = max(1.0, float(ideals.busy[-1]))
        macs = machine.peak_macs_per_cycle * machine.cores
        vector = np.zeros(len(GLOBAL), np.float32)
        largest = max(1, int(space.border_bytes[:-1].max()))
        vector[G["batch"]] = math.log2(evaluator.network.batch) / 4
        vector[G["dram_per_mac"]] = math.log(1000 * dram_rate(table, 0) / macs)
        vector[G["l1_llb"]] = math.log(table.l1_bytes * table.cores / self._buffer_bytes)
        vector[G["llb"]] = math.log(self._buffer_bytes / largest)
        vector[G["launch"]] = math.log1p(table.launch * space.layers / ideal)
        vector[G["lanes_per_mac"]] = math.log(32 * table.lanes / machine.peak_macs_per_cycle)
        vector[G["dma"]] = math.log(table.dma_bytes / 64)
        vector[G["weights_llb"]] = math.log1p(float(ideals.weight_bytes[-1]) / self._buffer_bytes)
        vector[G["cores"]] = math.log2(table.cores) / 4
        for objective in Objective:
            vector[G[f"objective_{objective.value}"]] = objective is builder.problem.objective
        return vector


assert {f"phase_{phase}" for phase in PHASES} <= set(GLOBAL) and SUBGRAPHS in PHASES
