"""The number of threads of numpy's matrix products, inside and after the functional simulator's run."""

from __future__ import annotations

import pytest

from hwmodel.functional import threads


def counts() -> list[int]:
    return [get() for get, _ in threads._functions()]


def test_products_run_on_one_thread_inside_and_as_before_after() -> None:
    before = counts()
    with threads.single_threaded():
        assert set(counts()) <= {1}
    assert counts() == before
    with pytest.raises(KeyError), threads.single_threaded():
        raise KeyError
    assert counts() == before
