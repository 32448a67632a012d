"""Einsum as products of matrices."""

from __future__ import annotations

from pathlib import Path

import pytest

from graph.errors import ModelError
from graph.importer import load_model
from tests.graph.checking import check_model
from tests.graph.onnx_helpers import GraphBuilder

_SIZES = {"b": 1, "h": 2, "i": 3, "j": 4, "d": 5, "k": 6}


def built(equation: str, constant: int | None) -> tuple[GraphBuilder, str]:
    builder = GraphBuilder()
    names = []
    for index, term in enumerate(equation.split("->")[0].split(",")):
        shape = [_SIZES[letter] for letter in term]
        names.append(builder.random(*shape) if index == constant else builder.input(f"x{index}", *shape))
    return builder, builder.node("Einsum", *names, equation=equation)


@pytest.mark.parametrize(
    ("equation", "constant"),
    [
        ("bhid,bhjd->bhij", None),
        ("bhij,bhjd->bhid", None),
        ("bihd,bjhd->bhij", None),
        ("bhij,bjhd->bihd", None),
        ("bij,bjk->bki", None),
        ("bij,jk->bik", 1),
        ("bhij,jk->bhik", 1),
        ("bij,kj->bki", 1),
        ("bhij,hjk->bhik", 1),
        ("bkj,bji->bki", 0),
    ],
)
def test_products(equation: str, constant: int | None, tmp_path: Path) -> None:
    builder, y = built(equation, constant)
    check_model(load_model(builder.save(tmp_path, y)))


@pytest.mark.parametrize(
    "equation", ["bii,bij->bij", "bij,bij->bij", "bij,bjk->bk", "bij,bik->b", "...ij,...jk->...ik"]
)
def test_others_are_refused(equation: str, tmp_path: Path) -> None:
    builder = GraphBuilder()
    shapes = [
        [_SIZES.get(letter, 1) for letter in term.replace("...", "b")]
        for term in equation[:-1].split("->")[0].split(",")
    ]
    if "ii" in equation:
        shapes[0][1:] = [3, 3]
    y = builder.node(
        "Einsum", builder.input("x", *shapes[0]), builder.input("z", *shapes[1]), equation=equation
    )
    with pytest.raises(ModelError, match=r"Einsum node .*: equation .*; expected a product"):
        load_model(builder.save(tmp_path, y))
