"""`genetic`: a population of partitions with their choices and rules, bred by crossover and mutation.

After Cocco (ASPLOS'24), which partitions a network into sub-graphs by a genetic algorithm whose crossover keeps whole
sub-graphs of the parents, whose mutation merges, splits and changes them, and whose selection is by tournament.

Decides everything that the other searches do. Inferred or different: sub-graphs are runs of layers here; the first
population is the default completion and, in equal numbers, random changes of it and random schedules; a child
replaces the dearest of a few drawn individuals where it is cheaper (steady state), which suits small budgets; the
buffer sizes that Cocco also searches are the machine's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scheduling.candidates.defaults import Defaults
from scheduling.choice import Choice
from scheduling.problem import Problem, State, simulated_cost
from scheduling.rules import Rules
from scheduling.strategies.moves import neighbour
from scheduling.strategies.options import Options
from scheduling.strategies.random_search import random_schedule

LEAST, MOST = 4, 24
"""Individuals of a population."""

GENERATIONS = 24
"""The budget is enough for so many schedules per individual, if the population is not the largest."""

TOURNAMENT = 3
"""Individuals drawn for a tournament."""

MUTATION = 0.7
"""Probability that a child of two parents is changed too."""

WANDERING = 4
"""Most changes between the default completion and an individual of the first population."""


class Individual(NamedTuple):
    """A schedule and its cost."""

    cost: float
    state: State


def genetic(problem: Problem) -> State:
    """Partitions with choices and rules, bred by crossover and mutation; the best within the budget."""
    random = np.random.default_rng(problem.seed)
    options = Options(problem)
    size = min(MOST, max(LEAST, problem.budget // GENERATIONS))
    start: State = (Defaults(problem.space).complete(()), Rules())
    population = [Individual(simulated_cost(problem, *start), start)]
    for step in range(1, problem.budget):
        if len(population) < size:
            child = (
                _founder(problem, options, random, start) if step % 2 else random_schedule(problem, random)
            )
            population.append(Individual(simulated_cost(problem, *child), child))
            continue
        mother, father = _winner(population, random), _winner(population, random)
        child = crossover(options, random, mother, father)
        if child in (mother, father) or random.random() < MUTATION:
            child = neighbour(problem, options, random, child)
        born = Individual(simulated_cost(problem, *child), child)
        loser = max(_drawn(population, random), key=lambda k: population[k].cost)
        if born.cost < population[loser].cost and born not in population:
            population[loser] = born
    return min(population, key=lambda one: one.cost).state


def crossover(options: Options, random: np.random.Generator, mother: State, father: State) -> State:
    """A cover of all layers by sub-graphs of both parents, and the rules of one.

    Front to back, a parent is drawn and its sub-graph taken; of one that began earlier what is left of it, with the
    least additive cost, or where no choice fits, the other parent's.
    """
    parents = (mother[0], father[0])
    layers = parents[0][-1].stop
    child: list[Choice] = []
    frontier = 0
    while frontier < layers:
        drawn = int(random.integers(2))
        both = [next(c for c in parents[k] if c.stop > frontier) for k in (drawn, 1 - drawn)]
        child.append(next(found for c in both if (found := _from(options, c, frontier)) is not None))
        frontier = child[-1].stop
    return tuple(child), (mother, father)[random.integers(2)][1]


def _from(options: Options, choice: Choice, frontier: int) -> Choice | None:
    """The choice, or one for what is left of its layers from `frontier` on; None where nothing fits those."""
    if choice.first == frontier:
        return choice
    left = options.of(frontier, choice.stop)
    return left[0].choice if left else None


def _founder(problem: Problem, options: Options, random: np.random.Generator, state: State) -> State:
    """A few random changes away."""
    for _ in range(int(random.integers(1, WANDERING + 1))):
        state = neighbour(problem, options, random, state)
    return state


def _drawn(population: list[Individual], random: np.random.Generator) -> list[int]:
    """Who takes part in a tournament."""
    count = min(TOURNAMENT, len(population))
    return [int(k) for k in random.choice(len(population), size=count, replace=False)]


def _winner(population: list[Individual], random: np.random.Generator) -> State:
    """The cheapest of a few drawn individuals."""
    return min((population[k] for k in _drawn(population, random)), key=lambda one: one.cost).state
