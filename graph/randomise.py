"""Random weights in place of constant fills, scaled so that activations keep about unit size through the network.

The public zoo files hold no trained weights, only fills, and with those a permuted channel could not be seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from graph.constants import Array, is_fill
from graph.folding import FoldedGraph

_WEIGHTED = ("Conv", "Gemm", "MatMul")
# Rough change of the mean square by operators that have no weights.
_GAIN = {"Relu": 0.5, "Clip": 0.5, "MaxPool": 2.0, "AveragePool": 0.6, "GlobalAveragePool": 0.6}


def randomise_fills(folded: FoldedGraph, seed: int) -> dict[str, NDArray[np.float32]]:
    """Replacements for the constants of a graph without real weights, by name; empty where weights are real.

    A graph counts as one without real weights when every matrix and convolution weight in it is a fill. Then weights,
    biases and per-channel vectors that are fills are replaced: deterministic in (seed, name).
    """
    weights = [
        folded.constants[node.input[1]]
        for node in folded.nodes
        if node.op_type in _WEIGHTED and node.input[1] in folded.constants
    ]
    if not any(weight.size > 1 for weight in weights):
        return {}
    if not all(is_fill(weight) for weight in weights if weight.size > 1):
        return {}
    found: dict[str, NDArray[np.float32]] = {}
    mean_square = dict.fromkeys(folded.inputs, 1.0)
    for node in folded.nodes:
        live = [mean_square[name] for name in node.input if name in mean_square]
        size = _mean_square(node, live)
        for index, name in enumerate(node.input):
            array = folded.constants.get(name)
            if array is not None and name not in found and array.dtype == np.float32 and is_fill(array):
                values = _draw(node, index, array, live[0] if live else 1.0, _generator(seed, name))
                if values is not None:
                    found[name] = values
        mean_square[node.output[0]] = size
    return found


def _generator(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def _mean_square(node: onnx.NodeProto, live: list[float]) -> float:
    if node.op_type in _WEIGHTED or not live:
        return 1.0
    if node.op_type in ("Add", "Sum"):
        return sum(live)
    if node.op_type == "Concat":
        return sum(live) / len(live)
    return live[0] * _GAIN.get(node.op_type, 1.0)


def _draw(
    node: onnx.NodeProto, index: int, array: Array, mean_square: float, generator: np.random.Generator
) -> NDArray[np.float32] | None:
    """Values for input `index` of `node`, or None where the operator's constants are no weights."""
    noise = generator.standard_normal(array.shape, dtype=np.float32)
    if node.op_type in _WEIGHTED and index == 1:
        return noise * np.float32((_fan_in(node, array) * mean_square) ** -0.5)
    if node.op_type in _WEIGHTED and index == 2:
        return noise * np.float32(0.1)
    if node.op_type == "BatchNormalization":
        if index == 4:
            return generator.uniform(0.5, 1.5, array.shape).astype(np.float32)
        return noise * np.float32(0.1) + np.float32(1 if index == 1 else 0)
    if node.op_type == "Mul":
        return noise * np.float32(0.1) + np.float32(1)
    if node.op_type in ("Add", "Sum"):
        return noise * np.float32(0.1)
    return None


def _fan_in(node: onnx.NodeProto, array: Array) -> int:
    if node.op_type == "Conv":
        return int(array[0].size)
    attributes: Mapping[str, int] = {item.name: item.i for item in node.attribute}
    return int(array.shape[1] if node.op_type == "Gemm" and attributes.get("transB") else array.shape[0])
