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
    "equation",
    [
        "bii,bij->bij",
        "bij,bij->bij",
        "bij,bjk->bk",
        "bij,bik->b",
        "bij,jk",
        "bij->bji",
        "bij->b",
        "bjii->bji",
        "bij,bjk,bkd->bid",
        "bi,bj,bk->bkij",
        "bhij,bhkj->bhik",
        "...ij,...jk->...ik",
        "...ij,jk",
        "bi...->b...i",
    ],
)
@pytest.mark.parametrize("batch", [1, 2])
def test_sums_diagonals_and_ellipses(equation: str, batch: int, tmp_path: Path) -> None:
    """Every operand is an activation with the batch in front."""
    builder = GraphBuilder()
    names = []
    for index, term in enumerate(equation.split("->")[0].split(",")):
        letters = term.replace("...", "bh" if term.startswith("...") else "h")
        shape = [_SIZES[letter] for letter in letters]
        if letters.startswith("b"):
            shape[0] = batch
            names.append(builder.input(f"x{index}", *shape))
        else:
            names.append(builder.random(*shape))
    y = builder.node("Einsum", *names, equation=equation)
    check_model(load_model(builder.save(tmp_path, y), 2 * batch))


def test_dimensions_of_one_are_repeated(tmp_path: Path) -> None:
    builder = GraphBuilder()
    names = [builder.input("x", 1, 3, 1, 4), builder.input("z", 1, 1, 5, 4), builder.random(1, 5, 2)]
    y = builder.node("Einsum", *names, equation="bhid,bhjd,hjk->bhik")
    check_model(load_model(builder.save(tmp_path, y)))


@pytest.mark.parametrize(
    ("equation", "message"),
    [
        ("bij,bkj->ik", "reduces the batch of 2|mixes the images"),
        ("bij,cij->bc", "mixes the images of a batch"),
        ("bij,b-j->bi", "expected letters for the dimensions of each"),
        ("bij->bij", "with 2 inputs; expected letters"),
        ("bi,bij->bj", "an input has 3 dimensions; expected 'bi'"),
        ("bij,bij->bii", "expected each letter of the result once"),
        ("bij,bij->bx", "expected each letter of the result once, and in an operand"),
        ("bij,bji->bi", "dimensions 'j' are 4 and 3; expected one size, or 1"),
        ("b...,b...->b", "expected an ellipsis in the result"),
        ("bii,bij->bj", "dimensions 'i' are 3 and 4; expected one"),
    ],
)
def test_refused(equation: str, message: str, tmp_path: Path) -> None:
    builder = GraphBuilder()
    batch = "N" if "batch" in message else 2
    x, z = builder.input("x", batch, 3, 4), builder.input("z", batch, 3, 4)
    y = builder.node("Einsum", x, z, equation=equation)
    model = builder.model(y)
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 2
    path = tmp_path / "refused.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=rf"Einsum node .*: .*({message})"):
        load_model(str(path))
