"""Element by element, of one operand and of several."""

from __future__ import annotations

import numpy as np

from tests.graph.drawing import Drawing
from tests.graph.drawn.registry import draws


@draws(
    *(
        "Abs",
        "Ceil",
        "Cos",
        "Erf",
        "Exp",
        "Floor",
        "HardSwish",
        "Identity",
        "Neg",
        "Relu",
        "Round",
        "Sigmoid",
    ),
    *("Cosh", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Tanh"),
)
@draws("Mish", opsets=[18])
def unary(d: Drawing, name: str) -> str:
    return d.b.node(name, d.x(*d.sizes(d.size(1, 4))))


@draws("Tan")
def tangent(d: Drawing, name: str) -> str:
    """Where it is no larger than about 2: near its poles the roundings of the cosine are what is left."""
    return d.b.node(name, d.b.node("Tanh", d.x(*d.sizes(d.size(1, 3)))))


@draws("Atan")
def arctangent(d: Drawing, name: str) -> str:
    """Of small and large numbers, and of 0 where Round gives it."""
    x = d.x(*d.sizes(d.size(1, 3)))
    scaled = d.b.node("Mul", x, d.b.number(d.pick(0.1, 1.0, 30.0)))
    return d.b.node(name, d.b.node("Round", scaled) if d.pick(True, False) else scaled)


@draws("Shrink")
def shrink(d: Drawing, name: str) -> str:
    return d.b.node(name, d.x(*d.sizes(3)), **d.optional(lambd=d.number(), bias=d.number(-1.0, 1.0)))


@draws("Log", "Reciprocal", "Sqrt")
def unary_of_positive(d: Drawing, name: str) -> str:
    return d.b.node(name, d.positive(*d.sizes(d.size(1, 3))))


@draws("Celu", "Elu", "LeakyRelu", "ThresholdedRelu")
@draws("Swish", opsets=[24])
def with_alpha(d: Drawing, name: str) -> str:
    return d.b.node(name, d.x(*d.sizes(d.size(1, 4))), **d.optional(alpha=d.number()))


@draws("Selu")
def selu(d: Drawing, name: str) -> str:
    return d.b.node(name, d.x(*d.sizes(3)), **d.optional(alpha=d.number(), gamma=d.number()))


@draws("HardSigmoid")
def hard_sigmoid(d: Drawing, name: str) -> str:
    return d.b.node(name, d.x(*d.sizes(3)), **d.optional(alpha=d.number(), beta=d.number(-1.0, 1.0)))


@draws("Gelu", opsets=[20])
def gelu(d: Drawing, name: str) -> str:
    return d.b.node(name, d.x(*d.sizes(2)), approximate=d.pick("none", "tanh"))


@draws("Clip", opsets=[7, 17])
def clip(d: Drawing, name: str) -> str:
    x = d.x(*d.sizes(3))
    low, high = d.pick(0.0, d.number(-2.0, 0.0)), d.number(0.1, 2.0)
    if d.opset < 11:
        return d.b.node(name, x, **d.optional(min=low, max=high))
    limits = [d.b.number(limit) if d.pick(True, False) else "" for limit in (low, high)]
    return d.b.node(name, x, *limits)


@draws("Dropout", opsets=[7, 17])
def dropout(d: Drawing, name: str) -> str:
    return d.b.node(name, d.x(*d.sizes(3)))


@draws("Cast")
def cast(d: Drawing, name: str) -> str:
    x = d.b.node("Mul", d.x(*d.sizes(3)), d.b.number(4.0))
    return d.as_float(d.b.node(name, x, to=d.pick(1, 6, 7, 9)))


@draws("CastLike")
def cast_like(d: Drawing, name: str) -> str:
    x = d.b.node("Mul", d.x(*d.sizes(3)), d.b.number(4.0))
    kind = d.pick(np.float32, np.int64, np.bool_, "activation")
    like = d.condition(2) if kind == "activation" else d.b.constant(np.ones(2, kind))
    return d.as_float(d.b.node(name, x, like))


@draws("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean")
def binary(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 4))
    items = [d.x(*sizes), d.operand(sizes)]
    if name in ("Max", "Min", "Sum", "Mean") and d.pick(True, False):
        items.append(d.operand(sizes))
    return d.b.node(name, *(items[i] for i in d.order(len(items))))


@draws("Div", "Pow")
def of_positive(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    items = [d.positive(*sizes), d.operand(sizes, positive=True)]
    return d.b.node(name, *(items[i] for i in d.order(2)))


@draws("PRelu")
def prelu(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 4))
    return d.b.node(name, d.x(*sizes), d.b.random(*d.broadcast(sizes)))


@draws("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
def comparison(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 4))
    items = [d.b.node("Round", d.x(*sizes)), d.operand(sizes)]
    return d.as_float(d.b.node(name, *(items[i] for i in d.order(2))))


@draws("And", "Or", "Xor")
def logic(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    other = d.pick("activation", "constant")
    values = d.condition(*[d.pick(1, size) for size in sizes])
    if other == "constant":
        values = d.b.constant(np.array(d.sizes(sizes[-1], 0, 1), np.bool_))
    return d.as_float(d.b.node(name, d.condition(*sizes), values))


@draws("Not")
def negation(d: Drawing, name: str) -> str:
    return d.as_float(d.b.node(name, d.condition(*d.sizes(d.size(1, 3)))))


@draws("Where")
def where(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    items = [d.x(*sizes), d.operand(sizes)]
    if d.pick(True, False):
        items = items[::-1]
    condition = d.condition(*[d.pick(1, size) for size in sizes])
    if d.pick(True, False, False):
        condition = d.b.constant(np.array(d.sizes(sizes[-1], 0, 1), np.bool_))
    return d.b.node(name, condition, *items)
