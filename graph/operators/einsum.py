"""Einsum of two operands that is a product of matrices, however its dimensions are ordered."""

from __future__ import annotations

from dataclasses import replace

from graph.constants import Array
from graph.operation import Anchored, Operation
from graph.operators.matmul import matmul
from graph.values import Value


def einsum(operation: Operation) -> Value:
    """As MatMul of (batch.., rows.., sum) and (batch.., 1.., sum, columns), transposed as the result is.

    Exactly one letter is summed over and exactly one is the second operand's alone.
    """
    equation = operation.word("equation", "").replace(" ", "")
    terms, arrow, result = equation.partition("->")
    both = terms.split(",")
    first, second = (both[0], both[-1]) if len(both) == 2 else ("", "")
    batch = [letter for letter in first if letter in second and letter in result]
    rows = [letter for letter in first if letter not in second]
    summed = [letter for letter in first if letter in second and letter not in result]
    columns = [letter for letter in second if letter not in first]
    letters = batch + rows + columns
    if (
        not (arrow and equation.replace("->", "").replace(",", "").isalpha())
        or any(len(set(term)) != len(term) for term in (first, second, result))
        or sorted(letters) != sorted(result)
        or not (rows and len(summed) == len(columns) == 1)
    ):
        raise operation.error(
            f"equation {equation!r}; expected a product of two operands' matrices, such as bhid,bhjd->bhij"
        )
    items = [operation.operand(index) for index in range(2)]
    for item, term in zip(items, (first, second), strict=True):
        if len(item.shape) != len(term):
            raise operation.error(f"an input has shape {list(item.shape)}; expected dimensions {term!r}")
    left = _ordered(items[0], first, batch + rows + summed, 0, 0)
    right = _ordered(items[1], second, batch + summed + columns, len(batch), len(rows) - 1)
    product = matmul(replace(operation, inputs=(left, right)))
    value = operation.emit(product) if isinstance(product, Anchored) else product
    if not isinstance(value, Value):
        raise operation.error(f"equation {equation!r} gives no tensor; expected one")
    return value.transposed([letters.index(letter) for letter in result])


def _ordered(item: Value | Array, term: str, letters: list[str], place: int, ones: int) -> Value | Array:
    """Dimensions in the order of `letters`, and `ones` dimensions of 1 at `place`."""
    turned = [term.index(letter) for letter in letters]
    if isinstance(item, Value):
        value = item.transposed(turned)
        return replace(value, dims=(*value.dims[:place], *[()] * ones, *value.dims[place:]))
    shape = [item.shape[axis] for axis in turned]
    return item.transpose(turned).reshape(shape[:place] + [1] * ones + shape[place:])
