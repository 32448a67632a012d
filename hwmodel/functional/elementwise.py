"""The arithmetic of the element-wise steps on float32 arrays, which the functional simulator runs.

All results are float32. Infinities and NaN are legitimate (exp overflows, log(0), 0 / 0), so callers silence
numpy's warnings of them, as the simulator does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodel.programs.isa import StepCode

Array = NDArray[np.float32]

# A function of y that may put its result into the second array, if there is one, which may be y.
Unary = Callable[[Array, Array | None], Array]

# The same with an operand, of any shape that broadcasts to y's.
Binary = Callable[[Array, Any, Array | None], Array]

_HALF = np.float32(0.5)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)

# W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of Computation 23 (1969):
# erf(x) = x P(x^2) / Q(x^2) up to 0.46875, erfc(x) = exp(-x^2) P(x) / Q(x) from there to 4; highest power first.
_NEAR_P = (
    1.85777706184603153e-1,
    3.16112374387056560e0,
    1.13864154151050156e2,
    3.77485237685302021e2,
    3.20937758913846947e3,
)
_NEAR_Q = (
    1.0,
    2.36012909523441209e1,
    2.44024637934444173e2,
    1.28261652607737228e3,
    2.84423683343917062e3,
)
_FAR_P = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594e0,
    6.61191906371416295e1,
    2.98635138197400131e2,
    8.81952221241769090e2,
    1.71204761263407058e3,
    2.05107837782607147e3,
    1.23033935479799725e3,
)
_FAR_Q = (
    1.0,
    1.57449261107098347e1,
    1.17693950891312499e2,
    5.37181101862009858e2,
    1.62138957456669019e3,
    3.29079923573345963e3,
    4.36261909014324716e3,
    3.43936767414372164e3,
    1.23033935480374942e3,
)
_NEAR, _FAR = 0.46875, 4.0  # beyond the second, erf rounds to 1


def erf(y: Array) -> Array:
    """The error function, to float32 accuracy."""
    x = y.astype(np.float64)
    size = np.minimum(np.abs(x), _FAR)
    square = np.square(np.minimum(size, _NEAR))
    near = np.clip(x, -_NEAR, _NEAR) * np.polyval(_NEAR_P, square) / np.polyval(_NEAR_Q, square)
    far = 1.0 - np.exp(-np.square(size)) * np.polyval(_FAR_P, size) / np.polyval(_FAR_Q, size)
    return np.asarray(np.where(size <= _NEAR, near, np.copysign(far, x)), np.float32)


def sigmoid(y: Array) -> Array:
    """1 / (1 + exp(-y)), which never overflows."""
    small = np.exp(-np.abs(y))
    return np.asarray(np.where(y < 0, small, _ONE) / (_ONE + small), np.float32)


def softplus(y: Array) -> Array:
    """log(1 + exp(y)), which never overflows."""
    return np.asarray(np.maximum(y, _ZERO) + np.log1p(np.exp(-np.abs(y))), np.float32)


def gelu(y: Array) -> Array:
    """y (1 + erf(y / sqrt(2))) / 2."""
    return _HALF * y * (_ONE + erf(y * np.float32(math.sqrt(0.5))))


def gelu_tanh(y: Array) -> Array:
    """The approximation of `gelu` by tanh(sqrt(2 / pi) (y + 0.044715 y^3))."""
    inner = y * (_ONE + np.float32(0.044715) * np.square(y))
    return np.asarray(_HALF * y * (_ONE + np.tanh(np.float32(math.sqrt(2 / math.pi)) * inner)), np.float32)


def _relu(y: Array, out: Array | None) -> Array:
    return np.maximum(y, _ZERO, out=out)


def _fresh(function: Callable[[Array], Array]) -> Unary:
    """A function that has no use for memory to put its result into."""
    return lambda y, _: function(y)


def _plain(function: np.ufunc) -> Binary:
    return lambda y, o, out: np.asarray(function(y, o, out=out))


def _swapped(function: np.ufunc) -> Binary:
    return lambda y, o, out: np.asarray(function(o, y, out=out))


def _truth(function: np.ufunc) -> Binary:
    return lambda y, o, _: np.asarray(function(y, o)).astype(np.float32)


UNARY: dict[StepCode, Unary] = {
    StepCode.RELU: _relu,
    StepCode.ABS: np.abs,
    StepCode.SIGN: np.sign,
    StepCode.FLOOR: np.floor,
    StepCode.CEIL: np.ceil,
    StepCode.ROUND: np.rint,
    StepCode.EXP: np.exp,
    StepCode.LOG: np.log,
    StepCode.SQRT: np.sqrt,
    StepCode.ERF: _fresh(erf),
    StepCode.SIN: np.sin,
    StepCode.COS: np.cos,
    StepCode.TANH: np.tanh,
    StepCode.SIGMOID: _fresh(sigmoid),
    StepCode.SOFTPLUS: _fresh(softplus),
    StepCode.GELU: _fresh(gelu),
    StepCode.GELU_TANH: _fresh(gelu_tanh),
    StepCode.SILU: _fresh(lambda y: y * sigmoid(y)),
    StepCode.MISH: _fresh(lambda y: y * np.tanh(softplus(y))),
}
"""All steps without an operand but CLIP, which has limits."""

BINARY: dict[StepCode, Binary] = {
    StepCode.ADD: _plain(np.add),
    StepCode.SUB: _plain(np.subtract),
    StepCode.RSUB: _swapped(np.subtract),
    StepCode.MUL: _plain(np.multiply),
    StepCode.DIV: _plain(np.divide),
    StepCode.RDIV: _swapped(np.divide),
    StepCode.MAX: _plain(np.maximum),
    StepCode.MIN: _plain(np.minimum),
    StepCode.POW: _plain(np.power),
    StepCode.RPOW: _swapped(np.power),
    StepCode.LESS: _truth(np.less),
    StepCode.LESS_OR_EQUAL: _truth(np.less_equal),
    StepCode.GREATER: _truth(np.greater),
    StepCode.GREATER_OR_EQUAL: _truth(np.greater_equal),
    StepCode.EQUAL: _truth(np.equal),
    StepCode.KEEP_IF: lambda y, o, _: np.where(o != 0, y, _ZERO),
    StepCode.KEEP_UNLESS: lambda y, o, _: np.where(o == 0, y, _ZERO),
    StepCode.PRELU: lambda y, o, _: np.where(y < 0, o * y, y),
    StepCode.ELU: lambda y, o, _: np.where(y < 0, o * np.expm1(np.minimum(y, _ZERO)), y),
}
"""All steps with an operand."""
