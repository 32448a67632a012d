"""The public names: each one is there, and importing the package alone costs nothing."""

import subprocess
import sys

import pytest

import oncore


@pytest.mark.parametrize("name", oncore.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(oncore, name) is not None
    assert name in dir(oncore)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'oncore' has no attribute 'magic'"):
        oncore.magic  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, oncore; sys.exit(bool({'numpy', 'numba', 'onnx', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
