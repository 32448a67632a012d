"""The order of the tests."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The wheel first: it compiles everything anew in one process, and would be waited for at the end."""
    items.sort(key=lambda item: item.path.name != "test_wheel.py")
