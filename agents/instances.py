"""Training instances: networks with a batch and a machine each, taken in turns by the environments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from tqdm import tqdm

from agents.config import HeldOut, Instances, TrainingConfig
from agents.errors import TrainingError
from agents.generate import FAMILIES, generate
from env.problems import make_problem
from env.schedule_env import Episodes
from graph.errors import ModelError
from graph.head_groups import head_group_counts, network_in_head_groups
from graph.importer import load_model
from graph.network import Network
from hwmodel.machines.machine import Machine, MachineError, load_machine
from scheduling.errors import IllegalSchedule
from scheduling.problem import Problem
from scheduling.strategies import STRATEGIES

REFERENCES = ("graphturbo", "graphturbo_bfs", "graphturbo_dfs_plain", "graphturbo_bfs_plain")
"""The heuristics whose best is what training is compared with."""

MOST_KEPT_ROWS = 60_000
"""Lowered instructions that an instance keeps between visits."""


@dataclass(slots=True)
class Instance:
    """A problem, its episodes and the best heuristic's cost, made when first needed."""

    name: str
    network: Network
    machine: Machine
    config: TrainingConfig
    _episodes: Episodes | None = None
    _reference: float = 0.0

    def episodes(self) -> Episodes:
        """What environments work on."""
        if self._episodes is None:
            problem = make_problem(self.network, self.machine, objective=self.config.objective)
            self._episodes = Episodes(problem, self.config.phases)
        return self._episodes

    def reference(self) -> float:
        """Cost of the best heuristic."""
        if not self._reference:
            self._reference = reference_cost(self.episodes().builder.problem)
        return self._reference

    def rest(self) -> None:
        """Give memory back: called when environments go on to another instance."""
        if self._episodes is not None:
            self._episodes.builder.problem.evaluator.trim(MOST_KEPT_ROWS)


def reference_cost(problem: Problem) -> float:
    """Cost of the best of the heuristics."""
    return min(problem.cost(*STRATEGIES[name](problem)) for name in REFERENCES)


def training_instances(config: TrainingConfig) -> list[Instance]:
    """All instances of a configuration, the same for every seed of the training."""
    settings = config.instances
    rng = np.random.default_rng(settings.seed)
    machine = _machine(settings.machine)
    for name in settings.machine_factors:
        _varied(
            machine, {name: 1.0}
        )  # a name that there is not would be drawn again and again, and change nothing
    drafts: list[Network | str] = [name for name in settings.zoo for _ in range(settings.zoo_variants)]
    drafts += [
        generate(FAMILIES[k % len(FAMILIES)], settings.generated.seed + k, 1)
        for k in range(settings.generated.count)
    ]
    made = []
    unused = set(settings.head_groups) - {1}
    for draft in drafts:
        batch = int(rng.choice(settings.batches))
        varied = _vary(machine, settings, rng)
        network = _network(draft, batch) if isinstance(draft, str) else _batched(draft, batch)
        counts = [count for count in head_group_counts(network) if count in settings.head_groups] or [1]
        unused -= set(counts)
        groups = int(rng.choice(counts)) if len(counts) > 1 else counts[0]
        network = network_in_head_groups(network, groups)
        instance = Instance(f"{network.name} x{batch} {varied.name}", network, varied, config)
        made.append(instance)
    if unused:
        numbers = ", ".join(map(str, sorted(unused)))
        raise TrainingError(
            f"instances.head_groups: {numbers}, expected numbers that divide the heads of one of the networks, or 1"
        )
    order = rng.permutation(len(made))
    return [made[k] for k in order]


def held_out_instances(config: TrainingConfig) -> list[Instance]:
    """The instances that evaluations are made on."""
    settings: HeldOut = config.held_out
    machine = _machine(config.instances.machine)
    made = []
    for factors in settings.machines:
        varied = _varied(machine, factors)
        for name in settings.networks:
            for batch in settings.batches:
                network = _network(name, batch)
                made.append(Instance(f"{name} x{batch} {varied.name}", network, varied, config))
    return made


def warm(instances: list[Instance], threads: int) -> None:
    """Make the candidate tables of all instances, so that trainings that are forked from here share them."""

    def tables(instance: Instance) -> None:
        try:
            builder = instance.episodes().builder
            for first in range(builder.problem.space.layers):
                builder.tables.at(first)
            instance.reference()
            instance.rest()
        except IllegalSchedule:  # does not fit its machine: passed over in training too
            return

    with ThreadPoolExecutor(threads) as pool:
        list(tqdm(pool.map(tables, instances), total=len(instances), desc="candidate tables", mininterval=1))


class Turns:
    """Which instance an environment works on: the next one after so many episodes; one object for each environment."""

    def __init__(self, instances: list[Instance], start: int, episodes_each: int) -> None:
        count = len(instances)
        self._order: Iterator[Instance] = cycle([instances[(start + k) % count] for k in range(count)])
        self._count = count
        self._each = episodes_each
        self._left = 0
        self.current: Instance | None = None

    def __call__(self, generator: np.random.Generator) -> Episodes:
        """The episodes of the instance whose turn it is; raises TrainingError where none fits its machine."""
        for _ in range(self._count + 1):
            if self._left == 0 or self.current is None:
                if self.current is not None:
                    self.current.rest()
                self.current = next(self._order)
                self._left = self._each
            self._left -= 1
            try:
                return self.current.episodes()
            except IllegalSchedule:  # a network that does not fit a varied machine is passed over
                self._left = 0
        raise TrainingError(f"none of the {self._count} training instances fits its machine")


def _vary(machine: Machine, settings: Instances, rng: np.random.Generator) -> Machine:
    """The machine itself, or one with some figures changed; impossible machines are drawn again."""
    if rng.random() < settings.nominal or not settings.machine_factors:
        return machine
    while True:
        names = [name for name in settings.machine_factors if rng.random() < 0.4]
        factors = {name: float(rng.choice(settings.machine_factors[name])) for name in names}
        if not factors:
            return machine
        try:
            return machine.varied(**factors)
        except MachineError:
            continue


def _machine(name: str) -> Machine:
    try:
        return load_machine(name)
    except MachineError as error:
        raise TrainingError(str(error)) from error


def _varied(machine: Machine, factors: Mapping[str, float]) -> Machine:
    """The machine with these figures changed; raises TrainingError where it cannot be."""
    try:
        return machine.varied(**factors) if factors else machine
    except MachineError as error:
        raise TrainingError(str(error)) from error


def _network(name: str, batch: int) -> Network:
    try:
        return load_model(name, batch=batch, weights=False).network
    except ModelError as error:
        raise TrainingError(str(error)) from error


def _batched(network: Network, batch: int) -> Network:
    return Network(network.name, batch, network.tensors, network.layers, network.inputs, network.outputs)
