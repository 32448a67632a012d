"""Random networks over the primitives that transformers need, and what they compute in plain numpy.

Built without the importer, so that every primitive meets every kind of schedule whatever ONNX operators make of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graph.network import AxisMap, Layer, Network, RegionMap, Tensor
from graph.primitives import (
    INDEX_BASE,
    Anchor,
    ChannelReduce,
    Concat,
    Contraction,
    Embedding,
    MatMul,
    Move,
    Normalize,
    Rearrange,
    Softmax,
    Step,
    StepOp,
)

Floats = NDArray[np.float32]

SAME, WHOLE, ONE = AxisMap(), AxisMap(whole=True), AxisMap(stride=0)
IDENTITY = RegionMap(SAME, SAME, SAME)
MIXED = RegionMap(SAME, SAME, WHOLE)


@dataclass
class Draft:
    """A network in the making: `values` are what its tensors hold, (B, C, H, W)."""

    batch: int
    rng: np.random.Generator
    tensors: list[Tensor] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    values: list[Floats] = field(default_factory=list)
    constants: dict[int, Floats] = field(default_factory=dict)

    def draw(self, *shape: int) -> Floats:
        return self.rng.standard_normal(shape).astype(np.float32)

    def source(self, channels: int, rows: int, columns: int) -> int:
        self.tensors.append(Tensor(f"x{len(self.tensors)}", channels, rows, columns))
        self.values.append(self.draw(self.batch, channels, rows, columns))
        return len(self.tensors) - 1

    def indices(self, rows: int, entries: int) -> int:
        numbers = self.rng.integers(0, entries, (self.batch, rows, 1))
        self.tensors.append(Tensor(f"x{len(self.tensors)}", 2, rows, 1, indices=True))
        pairs = np.stack((numbers // INDEX_BASE, numbers % INDEX_BASE), axis=1)
        self.values.append(pairs.astype(np.float32))
        return len(self.tensors) - 1

    def constant(self, channels: int, rows: int, columns: int) -> int:
        index = len(self.tensors)
        self.tensors.append(Tensor(f"c{index}", channels, rows, columns))
        self.constants[index] = self.draw(channels, rows, columns)
        self.values.append(np.broadcast_to(self.constants[index], (self.batch, channels, rows, columns)))
        return index

    def add(
        self,
        anchor: Anchor,
        inputs: tuple[int, ...],
        maps: tuple[RegionMap, ...],
        value: Floats,
        steps: tuple[Step, ...] = (),
        weight: Floats | None = None,
        parameters: tuple[Floats, ...] = (),
    ) -> int:
        """A layer whose anchor gives `value`; the steps are applied here."""
        for step in steps:
            value = apply(step, value, [self.values[i] for i in inputs], parameters)
        _, channels, rows, columns = value.shape
        number = len(self.layers)
        self.tensors.append(Tensor(f"t{number}", channels, rows, columns))
        self.values.append(value.astype(np.float32))
        name = f"layer{number}"
        output = len(self.tensors) - 1
        self.layers.append(Layer(name, (name,), anchor, inputs, maps, output, steps, weight, parameters))
        return output

    def linear(self, x: int, outputs: int, steps: tuple[Step, ...] = (), extra: tuple[int, ...] = ()) -> int:
        weight, bias = self.draw(outputs, self.tensors[x].channels, 1, 1) / 4, self.draw(outputs)
        value = np.einsum("bchw,kc->bkhw", self.values[x], weight[:, :, 0, 0])
        maps = (MIXED, *(self._broadcast(i, x, outputs) for i in extra))
        anchor = Contraction(outputs, self.tensors[x].channels, 1, 1)
        steps = (Step(StepOp.ADD, parameter=0), *steps)
        return self.add(anchor, (x, *extra), maps, value, steps, weight, (bias,))

    def _broadcast(self, operand: int, like: int, channels: int) -> RegionMap:
        one, full = self.tensors[operand], self.tensors[like]
        return RegionMap(
            ONE if one.rows == 1 < full.rows else SAME,
            ONE if one.columns == 1 < full.columns else SAME,
            ONE if one.channels == 1 < channels else SAME,
        )

    def move(self, x: int, steps: tuple[Step, ...], extra: tuple[int, ...] = ()) -> int:
        maps = (IDENTITY, *(self._broadcast(i, x, self.tensors[x].channels) for i in extra))
        return self.add(Move(), (x, *extra), maps, self.values[x], steps)

    def softmax(self, x: int, groups: int) -> int:
        channels = self.tensors[x].channels
        group = channels // groups
        v = self.values[x].reshape(self.batch, groups, group, *self.values[x].shape[2:]).astype(np.float64)
        e = np.exp(v - v.max(axis=2, keepdims=True))
        value = (e / e.sum(axis=2, keepdims=True)).reshape(self.values[x].shape)
        return self.add(Softmax(group), (x,), (self._grouped(group, group, groups),), value)

    def normalize(self, x: int, groups: int, center: bool) -> int:
        channels = self.tensors[x].channels
        group = channels // groups
        v = self.values[x].reshape(self.batch, groups, group, *self.values[x].shape[2:]).astype(np.float64)
        if center:
            v = v - v.mean(axis=2, keepdims=True)
        value = (v / np.sqrt((v * v).mean(axis=2, keepdims=True) + 1e-5)).reshape(self.values[x].shape)
        steps = (Step(StepOp.MUL, parameter=0), Step(StepOp.ADD, parameter=1))
        parameters = (self.draw(channels), self.draw(channels))
        anchor = Normalize(group, 1e-5, center)
        return self.add(
            anchor, (x,), (self._grouped(group, group, groups),), value, steps, parameters=parameters
        )

    def reduce(self, x: int, groups: int, mode: str) -> int:
        group = self.tensors[x].channels // groups
        v = self.values[x].reshape(self.batch, groups, group, *self.values[x].shape[2:])
        value = {"sum": v.sum, "average": v.mean, "max": v.max, "min": v.min}[mode](axis=2)
        return self.add(ChannelReduce(group, mode), (x,), (self._grouped(1, group, groups),), value)

    def _grouped(self, out: int, into: int, groups: int) -> RegionMap:
        if groups == 1:
            return MIXED
        return RegionMap(SAME, SAME, AxisMap(stride=into, extent=into, divisor=out))

    def matmul(self, one: int, two: int, groups: int, transposed: bool) -> int:
        first, second = self.tensors[one], self.tensors[two]
        reduction = first.channels // groups
        a = self.values[one].reshape(self.batch, groups, reduction, first.rows, first.columns)
        b = self.values[two].reshape(self.batch, groups, -1, second.rows)
        value = np.einsum("bgkhw,bgkn->bgnhw" if transposed else "bgkhw,bgnk->bgnhw", a, b)
        out = value.shape[2] * groups
        value = value.reshape(self.batch, out, first.rows, first.columns)
        per = out // groups
        into = reduction if transposed else per
        second_channels = self._grouped(per, into, groups).channels
        if groups == 1:
            second_channels = WHOLE if transposed else SAME
        maps = (self._grouped(per, reduction, groups), RegionMap(WHOLE, WHOLE, second_channels))
        anchor = MatMul(out, reduction, groups, transposed)
        scale = Step(StepOp.MUL, scalar=1 / math.sqrt(reduction))
        return self.add(anchor, (one, two), maps, value, (scale,))

    def embed(self, x: int, entries: int, channels: int) -> int:
        table = self.draw(entries, channels)
        pairs = self.values[x].astype(np.int64)
        value = table[pairs[:, 0] * INDEX_BASE + pairs[:, 1]].transpose(0, 3, 1, 2)
        return self.add(Embedding(entries, channels), (x,), (MIXED,), value, weight=table)

    def concat_rows(self, parts: tuple[int, ...]) -> int:
        maps, below = [], 0
        for part in parts:
            maps.append(RegionMap(AxisMap(offset=-below), SAME, SAME))
            below += self.tensors[part].rows
        value = np.concatenate([self.values[part] for part in parts], axis=2)
        return self.add(Concat("rows"), parts, tuple(maps), value)

    def rearrange(self, x: int, sizes: tuple[int, ...], strides: tuple[int, ...], offset: int,
                  shape: tuple[int, int, int], rows: AxisMap) -> int:  # fmt: skip
        """`shape` is (rows, columns, channels) of the output."""
        flat = np.ascontiguousarray(self.values[x].transpose(0, 2, 3, 1)).reshape(self.batch, -1)
        index = np.full((), offset)
        for size, stride in zip(sizes, strides, strict=True):
            index = index[..., None] + np.arange(size) * stride
        value = flat[:, index.reshape(-1)].reshape(self.batch, *shape).transpose(0, 3, 1, 2)
        maps = (RegionMap(rows, WHOLE, WHOLE),)
        return self.add(Rearrange(sizes, strides, offset), (x,), maps, value)

    def finish(self) -> Network:
        """The network; its last tensor is the output."""
        sources = [i for i in range(len(self.tensors)) if i not in {layer.output for layer in self.layers}]
        order = [i for i in sources if i not in self.constants] + sorted(self.constants)
        order += [layer.output for layer in self.layers]
        place = {before: after for after, before in enumerate(order)}
        layers = tuple(
            Layer(
                old.name, old.nodes, old.anchor, tuple(place[i] for i in old.inputs), old.maps, place[old.output],
                old.steps, old.weight, old.parameters,
            )
            for old in self.layers
        )  # fmt: skip
        self.values = [self.values[i] for i in order]
        return Network(
            "drawn",
            self.batch,
            tuple(self.tensors[i] for i in order),
            layers,
            tuple(range(len(order) - len(self.layers) - len(self.constants))),
            (place[self.layers[-1].output],),
            constants={place[i]: values for i, values in self.constants.items()},
        )


def apply(step: Step, y: Floats, inputs: list[Floats], parameters: tuple[Floats, ...]) -> Floats:
    """A step in plain numpy, for the few ops that are drawn here."""
    if step.parameter is not None:
        o = parameters[step.parameter][None, :, None, None]
    elif step.tensor is not None:
        o = inputs[step.tensor]
    else:
        o = np.float32(step.scalar or 0.0)
    if step.op is StepOp.ADD:
        return y + o
    if step.op is StepOp.RSUB:
        return o - y
    if step.op is StepOp.MUL:
        return y * o
    if step.op is StepOp.MAX:
        return np.maximum(y, o)
    if step.op is StepOp.TANH:
        return np.tanh(y)
    if step.op is StepOp.GELU:
        return np.vectorize(lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2)(y)
    raise ValueError(step.op)


def transformer(rng: np.random.Generator, batch: int) -> tuple[Network, list[Floats]]:
    """Embedding or image tokens, a few blocks of attention and feed-forward, pooling; and all tensors' values."""
    draft = Draft(batch, rng)
    heads = int(rng.choice([1, 2, 4]))
    width = heads * int(rng.choice([2, 3, 4]))
    tokens = int(rng.choice([4, 6, 9]))
    if rng.integers(2):
        x = draft.embed(draft.indices(tokens, 5000), 5000, width)
        x = draft.move(x, (Step(StepOp.ADD, tensor=1),), (draft.constant(width, tokens, 1),))
    else:
        side = int(rng.choice([2, 3]))
        image = draft.linear(draft.source(3, side, side), width)
        x = draft.rearrange(
            image, (side * side * width,), (1,), 0, (side * side, 1, width),
            AxisMap(divisor=side),
        )  # fmt: skip
        x = draft.concat_rows((draft.constant(width, 1, 1), x)) if rng.integers(2) else x
        tokens = draft.tensors[x].rows
    for _ in range(int(rng.integers(1, 3))):
        q, k, v = (draft.linear(x, width) for _ in range(3))
        if rng.integers(2):
            scores = draft.matmul(q, k, heads, True)
        else:  # keys transposed by hand: rows are the features of one head after the other
            turned = draft.rearrange(
                k, (width // heads, heads, tokens), (1, width // heads, width), 0,
                (width // heads, 1, heads * tokens), WHOLE,
            )  # fmt: skip
            scores = draft.matmul(q, turned, heads, False)
        mixed = draft.matmul(draft.softmax(scores, heads), v, heads, False)
        x = draft.linear(mixed, width, (Step(StepOp.ADD, tensor=1),), (x,))
        x = draft.normalize(x, 1, bool(rng.integers(2)))
        inner = draft.linear(x, 2 * width, (Step(StepOp.GELU),))
        x = draft.linear(inner, width, (Step(StepOp.ADD, tensor=1),), (x,))
        kind = int(rng.integers(5))
        if kind == 0:
            largest = draft.reduce(x, 1, "max")
            x = draft.move(x, (Step(StepOp.RSUB, tensor=1), Step(StepOp.TANH)), (largest,))
        elif kind == 1:
            x = draft.normalize(x, heads, True)
        elif kind == 2:
            x = draft.move(x, (Step(StepOp.MUL, tensor=1),), (draft.constant(1, tokens, 1),))
        elif kind == 3:
            x = draft.move(x, (Step(StepOp.MAX, tensor=1),), (draft.constant(width, 1, 1),))
        else:
            x = draft.reduce(draft.linear(x, 2 * width), width, "average")
    if rng.integers(2):  # the first token
        x = draft.rearrange(x, (width,), (1,), 0, (1, 1, width), AxisMap())
        x = draft.linear(x, 5)
    return draft.finish(), draft.values
