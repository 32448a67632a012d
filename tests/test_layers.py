"""The direction of imports: data moves one way, and nothing imports upwards."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PACKAGES = frozenset(
    {
        "graph",
        "hwmodel",
        "scheduling",
        "env",
        "agents",
        "report",
        "oncore",
        "scripts",
        "configs",
        "benchmarks",
    }
)

# What each package may import besides itself. A dotted name is one module and what is in it.
# configs holds files, so most may import it.
ALLOWED = {
    "configs": frozenset[str](),
    "graph": frozenset[str](),
    "hwmodel": frozenset({"configs", "graph.primitives"}),
    "scheduling": frozenset({"configs", "graph", "hwmodel"}),
    "env": frozenset({"configs", "graph", "hwmodel", "scheduling"}),
    "agents": frozenset({"configs", "graph", "hwmodel", "scheduling", "env"}),
    "report": frozenset({"configs", "graph", "hwmodel", "scheduling"}),
    "oncore": PACKAGES - {"scripts", "benchmarks"},
    "scripts": PACKAGES - {"benchmarks"},
    "benchmarks": PACKAGES,
}

# Heavy or comparing libraries, and the only places that import them. Tests may import anything.
CONFINED = {
    "onnxruntime": "report.verify",
    "torch": "agents",
    "stable_baselines3": "agents",
    "sb3_contrib": "agents",
}


def within(name: str, owner: str) -> bool:
    return name == owner or name.startswith(f"{owner}.")


def imports(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the module imported from and the full name of every import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((node.lineno, module, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call):
            function = (
                node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            )
            if function in ("import_module", "__import__") and node.args:
                argument = node.args[0]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield node.lineno, argument.value, argument.value


def violations(source: str, file: str) -> list[str]:
    """List the imports of a file that break the rules, each with its file, line and name."""
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    package = module.split(".")[0]
    found = []
    for line, origin, name in imports(ast.parse(source, file)):
        top = origin.split(".")[0]
        if origin.startswith("."):
            problem = "is relative: write the full name"
        elif top in PACKAGES and top != package:
            if any(within(origin, allowed) or within(name, allowed) for allowed in ALLOWED[package]):
                continue
            may = ", ".join(sorted(ALLOWED[package])) or "none of the others"
            problem = f"is not allowed in {package}, which may import {may}"
        elif top in CONFINED and not within(module, CONFINED[top]):
            problem = f"is allowed in {CONFINED[top]} and in tests only"
        elif top == "tests":
            problem = "is not allowed outside tests"
        else:
            continue
        found.append(f"{file}:{line}: import of {name} {problem}")
    return found


def test_imports_go_one_way() -> None:
    found = []
    for package in sorted(PACKAGES):
        for path in sorted((ROOT / package).rglob("*.py")):
            found += violations(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "file, source",
    [
        ("graph/a.py", "import hwmodel"),
        ("graph/a.py", "def f():\n    from scheduling.b import c"),
        ("hwmodel/a.py", "from graph import network"),
        ("hwmodel/a.py", "from graph.network import Graph"),
        ("hwmodel/a.py", "import graph"),
        ("hwmodel/a.py", "import graph.primitives_and_more"),
        ("scheduling/a.py", "from env.b import c"),
        ("env/a.py", "import agents.policy"),
        ("env/a.py", "import importlib\nimportlib.import_module('agents')"),
        ("agents/a.py", "import report"),
        ("report/a.py", "from env import x"),
        ("report/a.py", "import onnxruntime as ort"),
        ("oncore/__init__.py", "from scripts import train"),
        ("oncore/__init__.py", "import torch.nn"),
        ("scripts/train.py", "from stable_baselines3.common import utils"),
        ("scripts/train.py", "from sb3_contrib import MaskablePPO"),
        ("configs/__init__.py", "import graph"),
        ("graph/a.py", "from . import b"),
        ("graph/a.py", "import tests.graph"),
    ],
)
def test_a_violation_is_found(file: str, source: str) -> None:
    (message,) = violations(source, file)
    line = source.count("\n") + 1
    assert message.startswith(f"{file}:{line}: import of ")


@pytest.mark.parametrize(
    "file, source",
    [
        ("graph/a.py", "import numpy\nfrom graph.b import c"),
        (
            "hwmodel/a.py",
            "from graph import primitives\nfrom graph.primitives import Region\nimport graph.primitives",
        ),
        ("hwmodel/a.py", "from importlib.resources import files\nimport configs.machines"),
        ("scheduling/a.py", "import graph, hwmodel.programs.isa"),
        ("agents/sub/a.py", "import torch, stable_baselines3, sb3_contrib"),
        ("report/verify.py", "import onnxruntime"),
        ("oncore/__init__.py", "from agents.policy import load"),
        ("scripts/train.py", "import oncore, agents"),
        ("env/a.py", "import environs, agentsmith, torchlike"),
    ],
)
def test_what_is_allowed_is_not_reported(file: str, source: str) -> None:
    assert violations(source, file) == []
