"""Drawing by lot."""

import numpy as np

from scheduling.strategies.drawing import drawn


def test_draws_are_those_of_numpy_choice() -> None:
    random = np.random.default_rng(5)
    for seed in range(200):
        shares = random.random(int(random.integers(1, 40)))
        shares /= shares.sum()
        ours, numpys = np.random.default_rng(seed), np.random.default_rng(seed)
        for _ in range(20):
            assert drawn(ours, shares) == numpys.choice(len(shares), p=shares)


def test_what_has_no_share_is_never_drawn() -> None:
    random = np.random.default_rng(0)
    shares = np.array([0.0, 0.5, 0.0, 0.5, 0.0])
    assert {drawn(random, shares) for _ in range(1_000)} == {1, 3}
