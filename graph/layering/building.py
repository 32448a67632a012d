"""Building the Network: fused groups to layers, with per-channel factors folded into weights where they can
be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from graph.folded.constants import Array, fill
from graph.layering.effects import Affine, Apply, Combine, Factor, Limit, Operand, merge_affines
from graph.layering.fusing import Group
from graph.layering.values import Value
from graph.network import Layer, Network, Tensor
from graph.primitives import Contraction, Embedding, Step, StepOp

Vector = NDArray[np.float32]


def build_network(
    name: str,
    batch: int,
    inputs: Sequence[Value],
    constants: Mapping[str, Array],
    groups: Sequence[Group],
    outputs: Sequence[str],
    names: Mapping[str, str],
    weights: bool,
    model_hash: str,
) -> Network:
    """Network of `groups` in their order, with those `constants` (C, H, W) that they read.

    `outputs` are sources; `names` renames sources. Without `weights`, layers have no weight, and their
    parameters and the constants are fills of zero.
    """
    read = {value.source for group in groups for value in group.inputs}
    held = {source: array for source, array in constants.items() if source in read}
    sources = [value.source for value in inputs] + list(held) + [group.output.source for group in groups]
    index_of = {source: index for index, source in enumerate(sources)}
    tensors = (
        *(_tensor(value, names) for value in inputs),
        *(Tensor(source, *_sizes(array)) for source, array in held.items()),
        *(_tensor(group.output, names) for group in groups),
    )
    first = len(inputs) + len(held)
    layers: list[Layer] = []
    holders: dict[tuple[object, ...], int] = {}
    for i, group in enumerate(groups):
        layer = _layer(group, tuple(index_of[value.source] for value in group.inputs), first + i, weights)
        if isinstance(layer.anchor, Contraction | Embedding) or layer.parameters:
            holder = holders.setdefault(group.constants_identity, i)
            if holder < i:
                layer = _sharing(layer, layers[holder], holder)
        layers.append(layer)
    return Network(
        name=name,
        batch=batch,
        tensors=tensors,
        layers=tuple(layers),
        inputs=tuple(range(len(inputs))),
        outputs=tuple(index_of[source] for source in outputs),
        model_hash=model_hash,
        constants={index_of[source]: array for source, array in held.items()},
    )


def _tensor(value: Value, names: Mapping[str, str]) -> Tensor:
    name = names.get(value.source, value.source)
    return Tensor(name, value.channels, value.rows, value.columns, value.indices)


def _sizes(array: Array) -> tuple[int, int, int]:
    channels, rows, columns = (int(size) for size in array.shape)
    return channels, rows, columns


def _layer(group: Group, inputs: tuple[int, ...], output: int, weights: bool) -> Layer:
    effects = merge_affines(group.effects)
    weight = group.weight
    first = effects[0] if effects else None
    if isinstance(group.anchor, Contraction) and isinstance(first, Affine):
        if weights and weight is not None and first.scale is not None:
            weight = _scaled(weight, first.scale)
        shift = None if first.shift is None else np.broadcast_to(first.shift, (group.anchor.out_channels,))
        effects[0] = Affine(shift=shift)
    steps: list[Step] = []
    parameters: list[Vector] = []
    for effect in effects:
        if isinstance(effect, Affine):
            for op, factor in ((StepOp.MUL, effect.scale), (StepOp.ADD, effect.shift)):
                if factor is not None:
                    steps.append(_constant_step(op, factor, parameters, weights))
        elif isinstance(effect, Limit):
            if effect.high is None and effect.low == 0:
                steps.append(Step(StepOp.RELU))
            else:
                steps.append(Step(StepOp.CLIP, low=effect.low, high=_high(effect)))
        elif isinstance(effect, Operand):
            steps.append(_constant_step(effect.op, effect.factor, parameters, weights))
        elif isinstance(effect, Apply):
            steps.append(Step(effect.op))
        elif isinstance(effect, Combine):
            steps.append(Step(effect.op, tensor=effect.tensor))
    return Layer(
        name=group.name,
        nodes=tuple(group.nodes),
        anchor=group.anchor,
        inputs=inputs,
        maps=tuple(group.maps),
        output=output,
        steps=tuple(steps),
        weight=np.ascontiguousarray(weight, dtype=np.float32) if weights and weight is not None else None,
        parameters=tuple(parameters),
    )


def _sharing(layer: Layer, holder: Layer, number: int) -> Layer:
    """`layer` with the weight and the parameters of layer `number`, which are equal to its own."""
    return replace(layer, weight=holder.weight, parameters=holder.parameters, shares=number)


def _scaled(weight: NDArray[np.float32], scale: Factor) -> Vector:
    factors = np.broadcast_to(np.asarray(scale, dtype=np.float32), (weight.shape[0],))
    return weight * factors[:, None, None, None]


def _constant_step(op: StepOp, factor: Factor, parameters: list[Vector], weights: bool) -> Step:
    if not isinstance(factor, np.ndarray):
        return Step(op, scalar=float(factor))
    parameters.append(factor.astype(np.float32) if weights else fill(np.float32(0), factor.shape))
    return Step(op, parameter=len(parameters) - 1)


def _high(limit: Limit) -> float:
    return float(np.finfo(np.float32).max) if limit.high is None else limit.high
