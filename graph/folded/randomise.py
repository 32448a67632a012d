"""Random weights in place of constant fills, scaled so that activations keep about unit size through the
network.

The public zoo files hold no trained weights, only fills, and with those a permuted channel could not be seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from graph.folded.constants import Array, is_fill
from graph.folded.folding import FoldedGraph
from graph.folded.moments import Moments, joined

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN")
_NORMALISED = ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization")
_RECTIFIED = ("Relu", "Clip", "LeakyRelu", "Gelu", "Elu", "Selu", "HardSwish", "Mish", "Softplus", "PRelu")
_BOUNDED = {
    "Softmax": Moments(0.1, 0.01),
    "Sigmoid": Moments(0.5, 0.05),
    "HardSigmoid": Moments(0.5, 0.05),
    "Tanh": Moments(0.0, 0.4),
    "Erf": Moments(0.0, 0.4),
}
# How much of its mean every filter of some size loses. With none, rectified inputs drown in their mean and a
# deep network gives nearly the same output for every image; with much of it, rounding errors grow from layer
# to layer. With 0.1, rounding activations to fp16 changes no tensor of the zoo by 2e-3 of its largest
# element; with 0.3 it changes some by 5e-3.
_CENTRING = 0.1
_SMALL_FAN_IN = 16
_SPREAD = np.float32(0.1)


def randomise_fills(folded: FoldedGraph, seed: int) -> dict[str, NDArray[np.float32]]:
    """Replacements for the constants of a graph without real weights, by name; empty where weights are real.

    A graph counts as one without real weights when every matrix and convolution weight in it is a fill. Then
    weights, biases and per-channel vectors that are fills are replaced: deterministic in (seed, name), and the same
    where they were computed in the same way from the same ones.
    """
    weights = [
        folded.constants[name]
        for node in folded.nodes
        if node.op_type in _WEIGHTED
        for name in node.input[:2]
        if name in folded.constants
    ]
    if not any(weight.size > 1 for weight in weights):
        return {}
    if not all(is_fill(weight) for weight in weights if weight.size > 1):
        return {}
    found: dict[str, NDArray[np.float32]] = {}
    drawn: dict[str | int, NDArray[np.float32]] = {}
    moments = {name: Moments() for name in folded.inputs}
    for node in folded.nodes:
        live = [moments[name] for name in node.input if name in moments]
        first = live[0] if live else Moments()
        for index, name in enumerate(node.input):
            array = folded.constants.get(name)
            if array is not None and name not in found and array.dtype == np.float32 and is_fill(array):
                values = drawn.get(folded.identity(name))
                if values is None:
                    values = _draw(node, index, array, first, _generator(seed, name))
                if values is not None:
                    found[name] = drawn[folded.identity(name)] = values
        constants = [found.get(name, folded.constants.get(name)) for name in node.input]
        after = _moments_after(node, live, constants)
        moments.update((name, after) for name in node.output)
    return found


def _generator(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def _moments_after(node: onnx.NodeProto, live: list[Moments], constants: list[Array | None]) -> Moments:
    if node.op_type in _WEIGHTED or not live:
        return Moments(0.0, 1.0 + float(_SPREAD) ** 2)
    if node.op_type in _NORMALISED:
        return Moments()
    if node.op_type in _BOUNDED:
        return _BOUNDED[node.op_type]
    if node.op_type in _RECTIFIED:
        return live[0].rectified()
    if node.op_type in ("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"):
        return live[0].windowed(largest=node.op_type == "MaxPool")
    if node.op_type == "Concat":
        return joined(live)
    after = live[0]
    if node.op_type == "BatchNormalization" and all(item is not None for item in constants[1:5]):
        scale, shift, mean, variance = (np.asarray(item, dtype=np.float64) for item in constants[1:5])
        factor = scale / np.sqrt(np.maximum(variance, 0) + 1e-5)
        if not factor.size:
            return after
        return after.scaled(float((factor**2).mean()), float(((shift - mean * factor) ** 2).mean()))
    if node.op_type in ("Add", "Sum", "Mul", "Sub", "Div"):
        for other in live[1:]:
            after = after.added(other)
        for constant in constants:
            if constant is not None and constant.size:
                square = float((constant.astype(np.float64) ** 2).mean())
                if node.op_type == "Div":
                    square = 1 / max(square, 1e-12)
                after = after.scaled(*((square, 0.0) if node.op_type in ("Mul", "Div") else (1.0, square)))
    return after


def _draw(
    node: onnx.NodeProto, index: int, array: Array, before: Moments, generator: np.random.Generator
) -> NDArray[np.float32] | None:
    """Values for input `index` of `node`, or None where the operator's constants are no weights."""
    noise = generator.standard_normal(array.shape, dtype=np.float32)
    if node.op_type in ("LSTM", "GRU", "RNN"):
        return noise * np.float32(array.shape[-1] ** -0.5) if index in (1, 2) else noise * _SPREAD
    if node.op_type in _WEIGHTED:
        return _filters(node, index, noise, before) if index < 2 else noise * _SPREAD
    if node.op_type == "Gather":
        return noise if index == 0 else None
    if node.op_type in _NORMALISED:
        return noise * _SPREAD + np.float32(1 if index == 1 else 0)
    if node.op_type == "PRelu":
        return noise * _SPREAD + np.float32(0.25)
    if node.op_type == "BatchNormalization":
        if index == 4:
            return generator.uniform(0.5, 1.5, array.shape).astype(np.float32)
        return noise * _SPREAD + np.float32(1 if index == 1 else 0)
    if node.op_type in ("Mul", "Div"):
        return noise * _SPREAD + np.float32(1)
    if node.op_type in ("Add", "Sum", "Sub", "Concat"):
        return noise * _SPREAD
    return None


def _filters(
    node: onnx.NodeProto, index: int, noise: NDArray[np.float32], before: Moments
) -> NDArray[np.float32]:
    """Unit noise of a weight's shape to filters that give a variance of 1."""
    axes = _input_axes(node, index, noise)
    fan_in = int(np.prod([noise.shape[axis] for axis in axes]))
    centring = _CENTRING if fan_in >= _SMALL_FAN_IN else 0.0
    if centring:
        noise -= np.float32(centring) * noise.mean(axis=axes, keepdims=True)
    power = before.variance + ((1 - centring) * before.mean) ** 2
    noise *= np.float32((fan_in * max(power, 1e-6)) ** -0.5)
    return noise


def _input_axes(node: onnx.NodeProto, index: int, array: Array) -> tuple[int, ...]:
    if node.op_type == "Conv":
        return tuple(range(1, array.ndim))
    if node.op_type == "ConvTranspose":
        return (0,)
    attributes: Mapping[str, int] = {item.name: item.i for item in node.attribute}
    turned = bool(attributes.get("transB" if index else "transA")) and node.op_type == "Gemm"
    # The second operand's rows are contracted, the first one's columns.
    return (max(0, array.ndim - 2) if bool(index) != turned else array.ndim - 1,)
