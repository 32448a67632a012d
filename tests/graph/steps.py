"""Every element-wise step in plain numpy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from graph.primitives import Step, StepOp

Floats = NDArray[np.float32]

_ERF = np.vectorize(math.erf, otypes=[np.float64])

_ONE: dict[StepOp, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    StepOp.RELU: lambda y: np.maximum(y, 0),
    StepOp.ABS: np.abs,
    StepOp.SIGN: np.sign,
    StepOp.FLOOR: np.floor,
    StepOp.CEIL: np.ceil,
    StepOp.ROUND: np.rint,
    StepOp.EXP: np.exp,
    StepOp.LOG: np.log,
    StepOp.SQRT: np.sqrt,
    StepOp.ERF: _ERF,
    StepOp.SIN: np.sin,
    StepOp.COS: np.cos,
    StepOp.TANH: np.tanh,
    StepOp.SIGMOID: lambda y: 1 / (1 + np.exp(-y)),
    StepOp.SOFTPLUS: lambda y: np.log1p(np.exp(y)),
    StepOp.GELU: lambda y: y * (1 + _ERF(y / math.sqrt(2))) / 2,
    StepOp.GELU_TANH: lambda y: y * (1 + np.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3))) / 2,
    StepOp.SILU: lambda y: y / (1 + np.exp(-y)),
    StepOp.MISH: lambda y: y * np.tanh(np.log1p(np.exp(y))),
}
_TWO: dict[StepOp, Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.generic]]] = {
    StepOp.ADD: lambda y, o: y + o,
    StepOp.SUB: lambda y, o: y - o,
    StepOp.RSUB: lambda y, o: o - y,
    StepOp.MUL: lambda y, o: y * o,
    StepOp.DIV: lambda y, o: y / o,
    StepOp.RDIV: lambda y, o: o / y,
    StepOp.MAX: np.maximum,
    StepOp.MIN: np.minimum,
    StepOp.POW: lambda y, o: y**o,
    StepOp.RPOW: lambda y, o: o**y,
    StepOp.LESS: lambda y, o: y < o,
    StepOp.LESS_OR_EQUAL: lambda y, o: y <= o,
    StepOp.GREATER: lambda y, o: y > o,
    StepOp.GREATER_OR_EQUAL: lambda y, o: y >= o,
    StepOp.EQUAL: lambda y, o: y == o,
    StepOp.KEEP_IF: lambda y, o: np.where(o != 0, y, 0),
    StepOp.KEEP_UNLESS: lambda y, o: np.where(o == 0, y, 0),
    StepOp.PRELU: lambda y, o: np.where(y < 0, o * y, y),
    StepOp.ELU: lambda y, o: np.where(y < 0, o * np.expm1(y), y),
}


def apply_step(step: Step, y: Floats, operand: Floats | None) -> Floats:
    """One step on an array, in float32 after it."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if step.op is StepOp.CLIP:
            return np.clip(y, step.low, step.high).astype(np.float32)
        wide = y.astype(np.float64)
        if step.op in _ONE:
            return _ONE[step.op](wide).astype(np.float32)
        assert operand is not None
        return _TWO[step.op](wide, operand.astype(np.float64)).astype(np.float32)
