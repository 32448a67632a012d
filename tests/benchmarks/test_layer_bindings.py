"""The estimate of what bindings of layers could gain: its dynamic programming against all assignments."""

from itertools import pairwise, product

import numpy as np
import pytest

from benchmarks.layer_bindings import best_cycles


@pytest.mark.parametrize("borders", range(4))
def test_the_best_borders_are_those_of_all_assignments(borders: int) -> None:
    random = np.random.default_rng(borders)
    alone, sending = random.random((4, 3)), random.random((4, 3)) / 4
    least = np.inf
    for bound in product(range(3), repeat=4):
        changes = [(layer, two) for layer, (one, two) in enumerate(pairwise(bound)) if one != two]
        if len(changes) <= borders:
            took = sum(alone[layer, ways] for layer, ways in enumerate(bound))
            least = min(least, took + sum(sending[layer, ways] for layer, ways in changes))
    assert best_cycles(alone, sending, borders) == pytest.approx(least)
