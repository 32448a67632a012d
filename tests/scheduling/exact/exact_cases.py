"""Graphs of operators for the tests of the exact methods."""

import itertools
import random
from collections.abc import Iterator

from scheduling.exact.operator_graph import INPUT, OperatorGraph


def graph_of(
    edges: list[tuple[int, int]], operators: int, rng: random.Random, most_bytes: int
) -> OperatorGraph:
    """A tensor of random size for each operator; sources read an input, sinks and some others make outputs."""
    users = [tuple(sorted(b for a, b in edges if a == operator)) for operator in range(operators)]
    sources = tuple(sorted(set(range(operators)) - {b for _, b in edges}))
    return OperatorGraph(
        names=tuple(f"o{operator}" for operator in range(operators)),
        tensor_bytes=tuple(
            rng.randint(0 if rng.random() < 0.1 else 1, most_bytes) for _ in range(operators + 1)
        ),
        producer=(INPUT, *range(operators)),
        consumers=(sources, *users),
        outputs=frozenset(o + 1 for o in range(operators) if not users[o] or rng.random() < 0.15),
    )


def triangle_graphs(operators: int, rng: random.Random, most_bytes: int = 9) -> Iterator[OperatorGraph]:
    """Every set of edges from a lower to a higher operator, with random sizes."""
    pairs = list(itertools.combinations(range(operators), 2))
    for chosen in itertools.product((False, True), repeat=len(pairs)):
        yield graph_of(
            [pair for pair, used in zip(pairs, chosen, strict=True) if used], operators, rng, most_bytes
        )


def random_graph(
    operators: int, rng: random.Random, *, most_bytes: int = 100, density: float = 0.35
) -> OperatorGraph:
    """Each edge from a lower to a higher operator with a probability."""
    pairs = itertools.combinations(range(operators), 2)
    return graph_of([pair for pair in pairs if rng.random() < density], operators, rng, most_bytes)
