"""A small trained network that ranks kernel configurations, in numpy; `agents.configurations` trains it.

The file is safetensors with a JSON header that names the features in order; a file of other features is refused.
"""

from __future__ import annotations

import json
import struct
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from scheduling.candidates.configurations import FEATURES, Configurations, features
from scheduling.errors import ScheduleError
from scheduling.evaluator import Evaluator
from scheduling.lowering.tables import Ints

FORMAT = "oncore-configurations-1"
KEY = "oncore"


class Ranker:
    """Scores configurations of one sub-graph: estimates of the logarithm of their time over the fastest one's."""

    def __init__(self, weights: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self._weights = weights

    def scores(self, inputs: np.ndarray) -> np.ndarray:
        """(N,) of (N, FEATURES); ReLU between the layers."""
        value = inputs
        for number, (matrix, bias) in enumerate(self._weights):
            value = (value if number == 0 else np.maximum(value, 0)) @ matrix.T + bias
        return value[:, 0]

    def order(self, evaluator: Evaluator, found: Configurations) -> Ints:
        """(N,) indices of configurations, the most promising first."""
        return np.argsort(self.scores(features(evaluator, found)), kind="stable")


@cache
def shipped_ranker() -> Ranker:
    """The ranker that ships."""
    return parse_ranker(
        (files("configs.rankers") / "configurations.safetensors").read_bytes(), "the shipped ranker"
    )[0]


def read_ranker(path: Path) -> tuple[Ranker, dict[str, Any]]:
    """A ranker and its header. Raises ScheduleError with one line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ScheduleError(f"{path}: cannot be read ({error.strerror})") from error
    return parse_ranker(data, str(path))


def parse_ranker(data: bytes, shown: str) -> tuple[Ranker, dict[str, Any]]:
    """The same for the bytes of a file called `shown`."""
    try:
        (length,) = struct.unpack("<Q", data[:8])
        header: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][KEY])
        tensors = load(data)
        found = header["format"], tuple(header["features"])
    except (struct.error, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ScheduleError(f"{shown}: is no ranker of configurations ({error})") from error
    if found != (FORMAT, FEATURES):
        raise ScheduleError(f"{shown}: is of another format or other features than {FORMAT}: train it again")
    weights = []
    width = len(FEATURES)
    for number in range(len(tensors) // 2):
        matrix, bias = tensors.get(f"{number}.weight"), tensors.get(f"{number}.bias")
        if (
            matrix is None
            or bias is None
            or matrix.ndim != 2
            or matrix.shape[1] != width
            or bias.shape != matrix.shape[:1]
            or not (np.isfinite(matrix).all() and np.isfinite(bias).all())
        ):
            raise ScheduleError(f"{shown}: layer {number} is not that of a ranker")
        weights.append((matrix, bias))
        width = matrix.shape[0]
    if width != 1 or not weights or len(tensors) != 2 * len(weights):
        raise ScheduleError(f"{shown}: holds other tensors than a ranker has")
    return Ranker(weights), header
