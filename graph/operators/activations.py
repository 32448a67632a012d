"""Element-wise operators on one operand."""

from __future__ import annotations

import math

from graph.layering.effects import Affine, Apply, Effect, Limit, Operand
from graph.layering.operation import Operation, Operator, Pointwise
from graph.primitives import StepOp

_APPLIED = {
    "Abs": StepOp.ABS,
    "Ceil": StepOp.CEIL,
    "Cos": StepOp.COS,
    "Erf": StepOp.ERF,
    "Exp": StepOp.EXP,
    "Floor": StepOp.FLOOR,
    "Log": StepOp.LOG,
    "Mish": StepOp.MISH,
    "Round": StepOp.ROUND,
    "Sigmoid": StepOp.SIGMOID,
    "Sign": StepOp.SIGN,
    "Sin": StepOp.SIN,
    "Softplus": StepOp.SOFTPLUS,
    "Sqrt": StepOp.SQRT,
    "Tanh": StepOp.TANH,
}
_ARCTANGENT = (
    -0.3333314528,
    0.1999355085,
    -0.1420889944,
    0.1065626393,
    -0.0752896400,
    0.0429096138,
    -0.0161657367,
    0.0028662257,
)
"""Coefficients of t^2, t^4 ... of atan(t) / t for |t| <= 1, within 2e-8 (Abramowitz and Stegun, 4.4.49)."""
_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def effects_of(operation: Operation, name: str) -> tuple[Effect, ...] | None:
    """The steps of operator `name` with the attributes of `operation`; None where it is no chain of steps."""
    number = operation.number
    if name in _APPLIED:
        return (Apply(_APPLIED[name]),)
    if name == "Relu":
        return (Limit(0.0, None),)
    if name == "Neg":
        return (Affine(scale=-1.0),)
    if name == "Not":
        return (Affine(scale=-1.0, shift=1.0),)
    if name == "Reciprocal":
        return (Operand(StepOp.RDIV, 1.0),)
    if name == "LeakyRelu":
        return (Operand(StepOp.PRELU, number("alpha", 0.01)),)
    if name == "Elu":
        return (Operand(StepOp.ELU, number("alpha", 1.0)),)
    if name == "Selu":
        gamma = number("gamma", _SELU_GAMMA)
        return (Operand(StepOp.ELU, number("alpha", _SELU_ALPHA)), Affine(scale=gamma))
    if name == "HardSigmoid":
        return (Affine(number("alpha", 0.2), number("beta", 0.5)), Limit(0.0, 1.0))
    if name == "Gelu":
        tanh = operation.word("approximate", "none") == "tanh"
        return (Apply(StepOp.GELU_TANH if tanh else StepOp.GELU),)
    if name == "Celu" and number("alpha", 1.0) > 0:
        alpha = number("alpha", 1.0)
        return (Affine(1 / alpha), Operand(StepOp.ELU, 1.0), Affine(alpha))
    if name == "Swish":
        return (Apply(StepOp.SILU),) if number("alpha", 1.0) == 1 else None
    return None


def _operator(name: str) -> Operator:
    def read(operation: Operation) -> Pointwise:
        value = operation.stored(operation.value())
        effects = effects_of(operation, name)
        if effects is None:
            raise operation.error(
                f"attribute alpha is {operation.number('alpha', 1.0)}; expected more than 0"
            )
        return Pointwise((value,), value, effects)

    return read


def hard_swish(operation: Operation) -> Pointwise:
    """x max(0, min(1, x / 6 + 1 / 2))."""
    value = operation.stored(operation.value())
    share = operation.emit(Pointwise((value,), value, (Affine(1 / 6, 0.5), Limit(0.0, 1.0))))
    return Pointwise((share, value), value, combine=StepOp.MUL)


def thresholded_relu(operation: Operation) -> Pointwise:
    """x where x > alpha, else 0."""
    value = operation.stored(operation.value())
    above = (Operand(StepOp.GREATER, operation.number("alpha", 1.0)),)
    mask = operation.emit(Pointwise((value,), value, above))
    return Pointwise((value, mask), value, combine=StepOp.KEEP_IF, fixed=True)


def swish(operation: Operation) -> Pointwise:
    """x sigmoid(alpha x)."""
    value = operation.stored(operation.value())
    effects = effects_of(operation, "Swish")
    if effects is not None:
        return Pointwise((value,), value, effects)
    inner = (Affine(operation.number("alpha", 1.0)), Apply(StepOp.SIGMOID))
    share = operation.emit(Pointwise((value,), value, inner))
    return Pointwise((share, value), value, combine=StepOp.MUL)


def softsign(operation: Operation) -> Pointwise:
    """x / (1 + |x|)."""
    value = operation.stored(operation.value())
    size = operation.emit(Pointwise((value,), value, (Apply(StepOp.ABS), Affine(shift=1.0))))
    return Pointwise((value, size), value, combine=StepOp.DIV, fixed=True)


def shrink(operation: Operation) -> Pointwise:
    """x moved towards 0 by `bias` where |x| > lambd, else 0."""
    value = operation.stored(operation.value())
    bias = operation.number("bias", 0.0)
    far = (Apply(StepOp.ABS), Operand(StepOp.GREATER, operation.number("lambd", 0.5)))
    mask = operation.emit(Pointwise((value,), value, far))
    if bias:
        signs = operation.emit(Pointwise((value,), value, (Apply(StepOp.SIGN), Affine(-bias))))
        value = operation.emit(Pointwise((value, signs), value, combine=StepOp.ADD))
    return Pointwise((value, mask), value, combine=StepOp.KEEP_IF, fixed=True)


def tangent(operation: Operation) -> Pointwise:
    """sin x / cos x."""
    value = operation.stored(operation.value())
    sine, cosine = (
        operation.emit(Pointwise((value,), value, (Apply(op),))) for op in (StepOp.SIN, StepOp.COS)
    )
    return Pointwise((sine, cosine), value, combine=StepOp.DIV, fixed=True)


def arctangent(operation: Operation) -> Pointwise:
    """atan x: a polynomial in t = min(|x|, 1) / max(|x|, 1), pi / 2 minus that where |x| > 1, and the sign of x."""
    value = operation.stored(operation.value())
    low, high = (
        operation.emit(Pointwise((value,), value, (Apply(StepOp.ABS), Operand(op, 1.0))))
        for op in (StepOp.MIN, StepOp.MAX)
    )
    ratio = operation.emit(Pointwise((low, high), value, combine=StepOp.DIV, fixed=True))
    square = operation.emit(Pointwise((ratio, ratio), value, combine=StepOp.MUL))
    last, *others = reversed(_ARCTANGENT)
    total = operation.emit(Pointwise((square,), value, (Affine(scale=last),)))
    for coefficient in others:
        terms = operation.emit(Pointwise((total,), value, (Affine(shift=coefficient),)))
        total = operation.emit(Pointwise((terms, square), value, combine=StepOp.MUL))
    share = operation.emit(Pointwise((total,), value, (Affine(shift=1.0),)))
    angle = operation.emit(Pointwise((share, ratio), value, combine=StepOp.MUL))
    large = operation.emit(Pointwise((value,), value, (Apply(StepOp.ABS), Operand(StepOp.GREATER, 1.0))))
    turned = operation.emit(Pointwise((angle,), value, (Affine(scale=-1.0, shift=math.pi / 2),)))
    turned = operation.emit(Pointwise((turned, large), value, combine=StepOp.KEEP_IF, fixed=True))
    straight = operation.emit(Pointwise((angle, large), value, combine=StepOp.KEEP_UNLESS, fixed=True))
    size = operation.emit(Pointwise((turned, straight), value, combine=StepOp.ADD))
    sign = operation.emit(Pointwise((value,), value, (Apply(StepOp.SIGN),)))
    return Pointwise((size, sign), value, combine=StepOp.MUL)


def _hyperbolic(sign: float) -> Operator:
    def read(operation: Operation) -> Pointwise:
        value = operation.stored(operation.value())
        rising = operation.emit(Pointwise((value,), value, (Apply(StepOp.EXP), Affine(0.5))))
        falling = operation.emit(
            Pointwise((value,), value, (Affine(-1.0), Apply(StepOp.EXP), Affine(0.5 * sign)))
        )
        return Pointwise((rising, falling), value, combine=StepOp.ADD)

    return read


_NAMES = (
    *_APPLIED,
    *("Relu", "Neg", "Not", "Reciprocal", "LeakyRelu", "Elu", "Selu", "Celu", "HardSigmoid", "Gelu"),
)
ACTIVATIONS: dict[str, Operator] = {name: _operator(name) for name in _NAMES} | {
    "Atan": arctangent,
    "Cosh": _hyperbolic(1.0),
    "HardSwish": hard_swish,
    "Shrink": shrink,
    "Sinh": _hyperbolic(-1.0),
    "Softsign": softsign,
    "Swish": swish,
    "Tan": tangent,
    "ThresholdedRelu": thresholded_relu,
}
