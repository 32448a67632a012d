"""Element-wise effects as they are read from ONNX, before neighbours are merged into a layer's steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graph.primitives import StepOp

Factor = float | NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """y = x * scale + shift, each a number, a per-channel vector (C,) or None for nothing."""

    scale: Factor | None = None
    shift: Factor | None = None


@dataclass(frozen=True, slots=True)
class Combine:
    """y = x op input `tensor` of the layer, whose axes are each 1 or the output's."""

    op: StepOp
    tensor: int


@dataclass(frozen=True, slots=True, eq=False)
class Operand:
    """y = x op a constant: a number or a per-channel vector (C,)."""

    op: StepOp
    factor: Factor


@dataclass(frozen=True, slots=True)
class Apply:
    """y = op(x) for an op without operand."""

    op: StepOp


@dataclass(frozen=True, slots=True)
class Limit:
    """y = min(max(x, low), high); a high of None is a ReLU when low is 0."""

    low: float
    high: float | None


Effect = Affine | Combine | Operand | Apply | Limit


REVERSED = {
    StepOp.ADD: StepOp.ADD,
    StepOp.MUL: StepOp.MUL,
    StepOp.MAX: StepOp.MAX,
    StepOp.MIN: StepOp.MIN,
    StepOp.EQUAL: StepOp.EQUAL,
    StepOp.SUB: StepOp.RSUB,
    StepOp.DIV: StepOp.RDIV,
    StepOp.POW: StepOp.RPOW,
    StepOp.LESS: StepOp.GREATER,
    StepOp.LESS_OR_EQUAL: StepOp.GREATER_OR_EQUAL,
    StepOp.GREATER: StepOp.LESS,
    StepOp.GREATER_OR_EQUAL: StepOp.LESS_OR_EQUAL,
    StepOp.RSUB: StepOp.SUB,
    StepOp.RDIV: StepOp.DIV,
    StepOp.RPOW: StepOp.POW,
}
"""The op that gives the same with its two operands exchanged."""


def then(first: Affine, second: Affine) -> Affine:
    """One Affine that does `first` and then `second`."""
    scale: Factor | None
    if first.scale is None or second.scale is None:
        scale = second.scale if first.scale is None else first.scale
    else:
        scale = first.scale * second.scale
    shift = first.shift
    if shift is not None and second.scale is not None:
        shift = shift * second.scale
    if second.shift is not None:
        shift = second.shift if shift is None else shift + second.shift
    return Affine(scale, shift)


def merge_affines(effects: list[Effect]) -> list[Effect]:
    """The same effects with every run of Affines merged into one."""
    merged: list[Effect] = []
    for effect in effects:
        last = merged[-1] if merged else None
        if isinstance(effect, Affine) and isinstance(last, Affine):
            merged[-1] = then(last, effect)
        else:
            merged.append(effect)
    return merged
