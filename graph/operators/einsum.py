"""Einsum of any number of operands: sums over dimensions, products of matrices and element by element, and views."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from string import ascii_letters

import numpy as np

from graph.folded.constants import Array
from graph.layering.layout import Digit, Digits, common_cut, merged
from graph.layering.operation import Anchored, Operation, Pointwise
from graph.layering.values import Value
from graph.operators.joining import joined
from graph.operators.matmul import matmul
from graph.operators.reduce import reduced
from graph.primitives import StepOp


@dataclass(frozen=True, slots=True)
class _Term:
    """An operand and the letters of its dimensions, each letter once."""

    item: Value | Array
    letters: tuple[str, ...]

    def has_batch(self, letter: str) -> bool:
        return isinstance(self.item, Value) and self.item.has_batch(self.letters.index(letter))


def einsum(operation: Operation) -> Value:
    """Operands are multiplied one after another, activations first; a letter is summed over as soon as no later operand
    and not the result has it.

    A pair of operands is a MatMul of (batch.., rows.., summed) and (batch.., 1.., summed, columns), where batch are the
    letters of both that stay; without letters to sum over it is a product element by element.
    """
    terms, result = _parsed(operation)
    terms.sort(key=lambda term: not isinstance(term.item, Value))
    found = terms[0]
    for index, term in enumerate(terms[1:], 2):
        found = _product(
            operation, found, term, {*result, *(x for later in terms[index:] for x in later.letters)}
        )
    found = _summed(operation, found, result)
    if not isinstance(found.item, Value):
        raise operation.error("all inputs are constants; expected an activation")
    return found.item.transposed([found.letters.index(letter) for letter in result])


# The equation.


def _parsed(operation: Operation) -> tuple[list[_Term], tuple[str, ...]]:
    """Operands with their letters, and those of the result; `...` stands for digits, counted from the end."""
    equation = operation.word("equation", "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    items = [operation.operand(index) for index in range(len(operation.inputs))]
    written = left.split(",")
    if len(written) != len(items) or "." in equation.replace("...", "") or not _is_text(equation):
        raise operation.error(
            f"equation {equation!r} with {len(items)} inputs; expected letters for the dimensions of each, such as "
            "bhid,bhjd->bhij"
        )
    terms = [
        _without_repeats(operation, item, _letters(operation, text, len(item.shape)))
        for item, text in zip(items, written, strict=True)
    ]
    hidden = max((sum(letter.isdigit() for letter in term.letters) for term in terms), default=0)
    dots = tuple(str(place) for place in range(hidden - 1, -1, -1))
    if arrow:
        before, ellipsis, after = right.partition("...")
        if dots and not ellipsis:
            raise operation.error(
                f"equation {equation!r}; expected an ellipsis in the result, as in the operands"
            )
        result = (*before, *(dots if ellipsis else ()), *after)
    else:
        letters = left.replace(",", "").replace(".", "")
        result = (*dots, *sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    known = {letter for term in terms for letter in term.letters}
    if len(set(result)) != len(result) or not set(result) <= known:
        raise operation.error(
            f"equation {equation!r}; expected each letter of the result once, and in an operand"
        )
    return _without_ones(operation, terms), result


def _is_text(equation: str) -> bool:
    return all(sign in ascii_letters for sign in equation.replace("->", "").replace(",", "").replace(".", ""))


def _letters(operation: Operation, text: str, rank: int) -> list[str]:
    before, ellipsis, after = text.partition("...")
    hidden = rank - len(before) - len(after)
    if hidden < 0 or (hidden and not ellipsis) or "." in after or hidden > 9:
        raise operation.error(f"an input has {rank} dimensions; expected {text!r}")
    return [*before, *(str(place) for place in range(hidden - 1, -1, -1)), *after]


def _without_repeats(operation: Operation, item: Value | Array, letters: list[str]) -> _Term:
    """Only the diagonal where a letter is there twice."""
    while len(set(letters)) < len(letters):
        letter = next(letter for letter in letters if letters.count(letter) > 1)
        first = letters.index(letter)
        second = letters.index(letter, first + 1)
        if item.shape[first] != item.shape[second]:
            raise operation.error(
                f"dimensions {letter!r} are {item.shape[first]} and {item.shape[second]}; expected one"
            )
        del letters[second]
        if isinstance(item, Value):
            dims = [*item.dims]
            dims[first] = _diagonal(operation, dims[first], dims.pop(second))
            item = replace(item, dims=tuple(dims))
        else:
            item = np.moveaxis(np.diagonal(item, axis1=first, axis2=second), -1, first)
    return _Term(item, tuple(letters))


def _diagonal(operation: Operation, first: Digits, second: Digits) -> Digits:
    cut = common_cut(first, second)
    if cut is None or any(digit.batch for digits in cut for digit in digits):
        raise operation.error("takes a diagonal of the batch; expected each image by itself")
    return merged(Digit(a.size, a.stride + b.stride) for a, b in zip(*cut, strict=True))


def _without_ones(operation: Operation, terms: Sequence[_Term]) -> list[_Term]:
    """Without the dimensions of 1 that are repeated to the size which others have."""
    sizes: dict[str, int] = {}
    for term in terms:
        for letter, size in zip(term.letters, term.item.shape, strict=True):
            if size != 1 and sizes.setdefault(letter, size) != size:
                raise operation.error(
                    f"dimensions {letter!r} are {sizes[letter]} and {size}; expected one size, or 1"
                )
    found = []
    for term in terms:
        shape = dict(zip(term.letters, term.item.shape, strict=True))
        kept = [letter for letter in term.letters if shape[letter] == sizes.get(letter, 1)]
        found.append(_Term(_shaped(term, [[letter] for letter in kept]), tuple(kept)))
    return found


# Sums and products.


def _shaped(term: _Term, groups: Sequence[Sequence[str]]) -> Value | Array:
    """An operand with a dimension for each group of letters, 1 for an empty one; letters in no group are of size 1."""
    item = term.item
    if isinstance(item, Value):
        dims = [merged(d for x in group for d in item.dims[term.letters.index(x)]) for group in groups]
        return replace(item, dims=tuple(dims))
    places = [term.letters.index(letter) for group in groups for letter in group]
    places += [place for place in range(item.ndim) if place not in places]
    sizes = dict(zip(term.letters, item.shape, strict=True))
    shape = [int(np.prod([sizes[letter] for letter in group], dtype=np.int64)) for group in groups]
    return item.transpose(places).reshape(shape)


def _summed(operation: Operation, term: _Term, kept: Collection[str]) -> _Term:
    """The sum over all letters but those that are kept."""
    axes = [axis for axis, letter in enumerate(term.letters) if letter not in kept]
    if not axes:
        return term
    rest = tuple(letter for letter in term.letters if letter in kept)
    if isinstance(term.item, Value):
        total = _Term(reduced(operation, term.item, axes, "sum"), term.letters)
        return _Term(_shaped(total, [[letter] for letter in rest]), rest)
    return _Term(term.item.sum(axis=tuple(axes), dtype=term.item.dtype), rest)


def _product(operation: Operation, first: _Term, second: _Term, kept: Collection[str]) -> _Term:
    """The product of two operands, the first an activation, summed over the letters of both that are not kept."""
    if any(second.has_batch(letter) for letter in second.letters if letter not in first.letters):
        first, second = second, first
    first = _summed(operation, first, {*kept, *second.letters})
    second = _summed(operation, second, {*kept, *first.letters})
    both = [letter for letter in first.letters if letter in second.letters]
    batch = [letter for letter in both if letter in kept]
    summed = [letter for letter in both if letter not in kept]
    rows = [letter for letter in first.letters if letter not in both]
    columns = [letter for letter in second.letters if letter not in both]
    letters = (*batch, *rows, *columns)
    if not summed:
        left = _shaped(first, [*([x] for x in (*batch, *rows)), *([] for _ in columns)])
        right = _shaped(second, [*([x] for x in batch), *([] for _ in rows), *([x] for x in columns)])
        return _Term(operation.emit(joined(operation, StepOp.MUL, [left, right])), letters)
    places = [[letter] for letter in rows] or [[]]
    left = _shaped(first, [*([x] for x in batch), *places, summed])
    right = _shaped(second, [*([x] for x in batch), *([] for _ in places[1:]), summed, columns])
    product = matmul(replace(operation, inputs=(left, right)))
    value = operation.emit(product) if isinstance(product, Anchored | Pointwise) else product
    if not isinstance(value, Value):
        raise operation.error("a product has several results; expected one")
    dims = [*value.dims[: len(batch) + len(rows)], value.dims[-1]]
    sizes = dict(zip(second.letters, second.item.shape, strict=True))
    split = operation.reshaped(
        replace(value, dims=tuple(dims)),
        [*replace(value, dims=tuple(dims[:-1])).shape, *(sizes[letter] for letter in columns)],
    )
    return _Term(split, letters)
