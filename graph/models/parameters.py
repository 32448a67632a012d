"""Parameters of the models built by name: `NAME:key=value,key=value` to checked values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx

from graph.errors import ModelError

Value = int | float | str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A default, which also gives the type, and the values allowed: a range of numbers, or `choices`."""

    default: Value
    low: float = 1
    high: float = 65536
    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """What a value may be, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = "an integer" if isinstance(self.default, int) else "a number"
        return f"{kind} from {self.low:g} to {int(self.high) if self.high == int(self.high) else self.high}"

    def parse(self, text: str) -> Value:
        """The value that `text` stands for. Raises ValueError when it is not allowed."""
        if self.choices:
            if text not in self.choices:
                raise ValueError(text)
            return text
        value = int(text) if isinstance(self.default, int) else float(text)
        if not math.isfinite(value) or not self.low <= value <= self.high:
            raise ValueError(text)
        return value


def choice(*allowed: str) -> Parameter:
    """One of some words, the first of them by default."""
    return Parameter(allowed[0], choices=allowed)


def scale() -> Parameter:
    """A multiplier of channel counts, 1 as published."""
    return Parameter(1.0, low=1 / 64, high=16)


@dataclass(frozen=True, slots=True)
class Family:
    """A model that can be built: its function, its parameters, and the paper it was published in."""

    build: Callable[..., onnx.ModelProto]
    source: str
    parameters: Mapping[str, Parameter]


def parse(text: str, families: Mapping[str, Family]) -> tuple[Family, dict[str, Value]]:
    """The family and all its values from `NAME` or `NAME:key=value,...`.

    Raises ModelError that names the model or the key, the value found and what was expected.
    """
    name, colon, rest = text.partition(":")
    if name not in families:
        raise ModelError(f"model {name!r} is unknown; expected one of {', '.join(sorted(families))}")
    family = families[name]
    values = {key: parameter.default for key, parameter in family.parameters.items()}
    given: set[str] = set()
    for item in rest.split(",") if colon else []:
        key, equals, value = item.partition("=")
        if not equals or key not in family.parameters:
            raise ModelError(
                f"model {name!r}: {item!r} is no parameter; expected key=value with a key of "
                f"{', '.join(family.parameters)}"
            )
        if key in given:
            raise ModelError(f"model {name!r}: parameter {key!r} is given twice; expected once")
        given.add(key)
        try:
            values[key] = family.parameters[key].parse(value)
        except ValueError as error:
            raise ModelError(
                f"model {name!r}: parameter {key!r} is {value!r}; expected {family.parameters[key].expected}"
            ) from error
    return family, values


def divisible(model: str, key: str, value: int, by: int, what: str) -> int:
    """`value` over `by`. Raises ModelError when it does not divide."""
    if value % by:
        raise ModelError(
            f"model {model!r}: parameter {key!r} is {value}; expected a multiple of {by} ({what})"
        )
    return value // by
