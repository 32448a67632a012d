"""Random networks to train on, of realistic sizes: chains, residual stages, fork-join modules, dense blocks, inverted
residuals with depthwise convolutions, and attention.

Built directly as networks of layers; no ONNX file is involved and there are no weights. The same seed gives the same
network.
"""

from __future__ import annotations

import numpy as np

from graph.network import AxisMap, Layer, Network, RegionMap, Tensor
from graph.primitives import (
    Anchor,
    Concat,
    Contraction,
    MatMul,
    Move,
    Normalize,
    Rearrange,
    Softmax,
    Step,
    StepOp,
    Window,
)

FAMILIES = ("chain", "residual", "fork_join", "dense", "inverted", "attention")

SAME = AxisMap()
ALL = AxisMap(whole=True)


class _Draft:
    """A network while layers are added to it; tensors are numbered as in Network."""

    def __init__(self, channels: int, size: int) -> None:
        self.tensors = [Tensor("input", channels, size, size)]
        self.layers: list[Layer] = []

    def add(
        self,
        anchor: Anchor,
        inputs: tuple[int, ...],
        maps: tuple[RegionMap, ...],
        shape: tuple[int, int, int],
        steps: tuple[Step, ...],
        parameters: int,
    ) -> int:
        output = len(self.tensors)
        name = f"l{len(self.layers)}"
        self.tensors.append(Tensor(name, *shape))
        vectors = tuple(np.broadcast_to(np.float32(0), (shape[0],)) for _ in range(parameters))
        self.layers.append(Layer(name, (name,), anchor, inputs, maps, output, steps, None, vectors))
        return output

    def conv(self, x: int, channels: int, kernel: int = 1, stride: int = 1, add: int | None = None) -> int:
        """A convolution with bias, an optional residual addition, and a ReLU."""
        source = self.tensors[x]
        pad = kernel // 2
        rows = (source.rows + 2 * pad - kernel) // stride + 1
        anchor = Contraction(
            channels, source.channels, kernel, kernel, stride, stride,
            pad_top=pad, pad_left=pad, pad_bottom=pad, pad_right=pad,
        )  # fmt: skip
        window = AxisMap(stride, -pad, kernel)
        inputs, maps = (x,), (RegionMap(window, window, ALL),)
        steps = [Step(StepOp.ADD, parameter=0)]
        if add is not None:
            inputs, maps = (x, add), (*maps, RegionMap(SAME, SAME, SAME))  # type: ignore[assignment]
            steps.append(Step(StepOp.ADD, tensor=1))
        steps.append(Step(StepOp.RELU))
        return self.add(anchor, inputs, maps, (channels, rows, rows), tuple(steps), 1)

    def depthwise(self, x: int, kernel: int, stride: int) -> int:
        """A convolution of every channel on its own, with bias and a ReLU."""
        source = self.tensors[x]
        pad = kernel // 2
        rows = (source.rows + 2 * pad - kernel) // stride + 1
        anchor = Contraction(
            source.channels, source.channels, kernel, kernel, stride, stride,
            pad_top=pad, pad_left=pad, pad_bottom=pad, pad_right=pad, groups=source.channels,
        )  # fmt: skip
        window = AxisMap(stride, -pad, kernel)
        steps = (Step(StepOp.ADD, parameter=0), Step(StepOp.RELU))
        return self.add(
            anchor, (x,), (RegionMap(window, window, SAME),), (source.channels, rows, rows), steps, 1
        )

    def linear(self, x: int, channels: int, step: StepOp | None = None, add: int | None = None) -> int:
        """Every pixel's channels times a matrix, with bias, an optional activation and a residual addition."""
        source = self.tensors[x]
        steps = [Step(StepOp.ADD, parameter=0)]
        inputs, maps = (x,), (RegionMap(SAME, SAME, ALL),)
        if step is not None:
            steps.append(Step(step))
        if add is not None:
            inputs, maps = (x, add), (*maps, RegionMap(SAME, SAME, SAME))  # type: ignore[assignment]
            steps.append(Step(StepOp.ADD, tensor=1))
        shape = (channels, source.rows, source.columns)
        return self.add(Contraction(channels, source.channels, 1, 1), inputs, maps, shape, tuple(steps), 1)

    def tokens(self, x: int) -> int:
        """The pixels of a map as rows of one column."""
        source = self.tensors[x]
        rows, channels = source.rows * source.columns, source.channels
        anchor = Rearrange((rows * channels,), (1,))
        maps = (RegionMap(AxisMap(divisor=source.columns), ALL, ALL),)
        return self.add(anchor, (x,), maps, (channels, rows, 1), (), 0)

    def normalize(self, x: int) -> int:
        """Layer normalisation."""
        source = self.tensors[x]
        steps = (Step(StepOp.MUL, parameter=0), Step(StepOp.ADD, parameter=1))
        shape = (source.channels, source.rows, source.columns)
        return self.add(
            Normalize(source.channels, 1e-5), (x,), (RegionMap(SAME, SAME, ALL),), shape, steps, 2
        )

    def attention(self, query: int, key: int, value: int, heads: int) -> int:
        """Softmax of the scaled products of queries and keys, times the values."""
        rows, width = self.tensors[query].rows, self.tensors[query].channels
        each = width // heads
        scores = self.add(
            MatMul(heads * rows, each, heads, transposed=True),
            (query, key),
            (_heads(rows, each), RegionMap(ALL, ALL, _heads(rows, each).channels)),
            (heads * rows, rows, 1),
            (Step(StepOp.MUL, scalar=each**-0.5),),
            0,
        )
        weights = self.add(Softmax(rows), (scores,), (_heads(rows, rows),), (heads * rows, rows, 1), (), 0)
        return self.add(
            MatMul(width, rows, heads),
            (weights, value),
            (_heads(each, rows), RegionMap(ALL, ALL, _heads(each, each).channels)),
            (width, rows, 1),
            (),
            0,
        )

    def pool(self, x: int, kernel: int, stride: int, mode: str = "max") -> int:
        """A pooling window."""
        source = self.tensors[x]
        pad = kernel // 2 if kernel % 2 else 0
        rows = (source.rows + 2 * pad - kernel) // stride + 1
        window = AxisMap(stride, -pad, kernel)
        anchor = Window(mode, kernel, kernel, stride, stride, pad, pad, pad, pad)
        shape = (source.channels, rows, rows)
        return self.add(anchor, (x,), (RegionMap(window, window, SAME),), shape, (), 0)

    def concat(self, parts: list[int]) -> int:
        """All parts, along the channels."""
        maps, below = [], 0
        for part in parts:
            maps.append(RegionMap(SAME, SAME, AxisMap(1, -below, 1)))
            below += self.tensors[part].channels
        shape = (below, self.tensors[parts[0]].rows, self.tensors[parts[0]].columns)
        return self.add(Concat(), tuple(parts), tuple(maps), shape, (), 0)

    def activate(self, x: int) -> int:
        """Scale, shift and ReLU, as a layer of its own."""
        source = self.tensors[x]
        steps = (Step(StepOp.MUL, parameter=0), Step(StepOp.ADD, parameter=1), Step(StepOp.RELU))
        shape = (source.channels, source.rows, source.columns)
        return self.add(Move(), (x,), (RegionMap(SAME, SAME, SAME),), shape, steps, 2)

    def head(self, x: int, classes: int) -> int:
        """Global average and a fully connected layer."""
        source = self.tensors[x]
        anchor = Window("average", source.rows, source.columns)
        pooled = self.add(anchor, (x,), (RegionMap(ALL, ALL, SAME),), (source.channels, 1, 1), (), 0)
        dense = Contraction(classes, source.channels, 1, 1)
        steps = (Step(StepOp.ADD, parameter=0),)
        return self.add(dense, (pooled,), (RegionMap(ALL, ALL, ALL),), (classes, 1, 1), steps, 1)


def generate(family: str, seed: int, batch: int) -> Network:
    """A random network of a family."""
    rng = np.random.default_rng([FAMILIES.index(family), seed])
    draft = _Draft(3, int(rng.choice([112, 160, 192, 224])))
    x = draft.conv(0, int(rng.choice([32, 48, 64])), int(rng.choice([3, 7])), 2)
    if rng.random() < 0.8:
        x = draft.pool(x, 3, 2)
    build = {"chain": _chain, "residual": _residual, "fork_join": _fork_join, "dense": _dense,
             "inverted": _inverted, "attention": _attention}[family]  # fmt: skip
    x = build(draft, x, rng)
    output = draft.head(x, int(rng.choice([100, 1000])))
    name = f"{family}_{seed}"
    return Network(name, batch, tuple(draft.tensors), tuple(draft.layers), (0,), (output,))


def _heads(out: int, into: int) -> RegionMap:
    """Map of an input in blocks of channels: a head of `out` output channels needs the same head's `into`."""
    return RegionMap(SAME, SAME, AxisMap(stride=into, extent=into, divisor=out))


def _stages(rng: np.random.Generator, least: int, most: int) -> range:
    return range(int(rng.integers(least, most + 1)))


def _chain(draft: _Draft, x: int, rng: np.random.Generator) -> int:
    width = draft.tensors[x].channels
    for stage in _stages(rng, 2, 4):
        width = min(512, int(width * rng.choice([1.5, 2])) // 16 * 16)
        for _ in range(int(rng.integers(1, 5))):
            x = draft.conv(x, width, int(rng.choice([1, 3, 3, 3])))
        if stage < 3 and draft.tensors[x].rows >= 7:
            x = draft.pool(x, int(rng.choice([2, 3])), 2)
    return x


def _residual(draft: _Draft, x: int, rng: np.random.Generator) -> int:
    inner = int(rng.choice([32, 48, 64]))
    expansion = int(rng.choice([1, 2, 4]))
    for stage in _stages(rng, 2, 4):
        stride = 1 if stage == 0 or draft.tensors[x].rows < 8 else 2
        for block in range(int(rng.integers(1, 5))):
            step = stride if block == 0 else 1
            wide = inner * expansion
            same = step == 1 and draft.tensors[x].channels == wide
            short = x if same else draft.conv(x, wide, 1, step)
            if expansion == 1:
                y = draft.conv(x, inner, 3, step)
                x = draft.conv(y, wide, 3, 1, add=short)
            else:
                y = draft.conv(x, inner)
                y = draft.conv(y, inner, 3, step)
                x = draft.conv(y, wide, 1, 1, add=short)
        inner = min(512, inner * 2)
    return x


def _fork_join(draft: _Draft, x: int, rng: np.random.Generator) -> int:
    width = int(rng.choice([64, 128, 192]))
    x = draft.conv(x, width, 3)
    for stage in _stages(rng, 2, 3):
        if stage and draft.tensors[x].rows >= 7:
            x = draft.pool(x, 3, 2)
        for _ in range(int(rng.integers(1, 4))):
            share = max(16, width // 4 // 16 * 16)
            parts = [draft.conv(x, int(share * rng.choice([1, 2])))]
            kinds = rng.permutation(["three", "five", "double", "pool"])[: int(rng.integers(1, 4))]
            for kind in kinds:
                squeeze = int(share * rng.choice([0.5, 1])) // 8 * 8
                if kind == "pool":
                    parts.append(draft.conv(draft.pool(x, 3, 1), share))
                elif kind == "three":
                    parts.append(draft.conv(draft.conv(x, squeeze), int(share * rng.choice([1, 2])), 3))
                elif kind == "five":
                    parts.append(draft.conv(draft.conv(x, squeeze), share, 5))
                else:
                    y = draft.conv(draft.conv(x, squeeze), share, 3)
                    parts.append(draft.conv(y, share, 3))
            x = draft.concat(parts)
        width = min(832, int(width * 1.5))
    return x


def _dense(draft: _Draft, x: int, rng: np.random.Generator) -> int:
    growth = int(rng.choice([16, 24, 32]))
    longest = int(rng.choice([6, 6, 14, 20]))
    for stage in _stages(rng, 2, 4):
        if stage:
            x = draft.conv(draft.activate(x), draft.tensors[x].channels // 2 // 8 * 8)
            if draft.tensors[x].rows >= 4:
                x = draft.pool(x, 2, 2, "average")
        for _ in range(int(rng.integers(longest // 3, longest + 1))):
            y = draft.conv(draft.activate(x), 4 * growth)
            x = draft.concat([x, draft.conv(y, growth, 3)])
    return x


def _inverted(draft: _Draft, x: int, rng: np.random.Generator) -> int:
    width = int(rng.choice([16, 24, 32]))
    x = draft.conv(x, width)
    for stage in _stages(rng, 3, 5):
        expansion = int(rng.choice([3, 4, 6]))
        for block in range(int(rng.integers(1, 5))):
            stride = 2 if stage and block == 0 and draft.tensors[x].rows >= 8 else 1
            same = stride == 1 and draft.tensors[x].channels == width
            y = draft.depthwise(
                draft.linear(x, width * expansion, StepOp.RELU), int(rng.choice([3, 5])), stride
            )
            x = draft.linear(y, width, add=x if same else None)
        width = min(320, int(width * 1.5) // 8 * 8)
    return x


def _attention(draft: _Draft, x: int, rng: np.random.Generator) -> int:
    while draft.tensors[x].rows > 16:
        x = draft.conv(x, 128, 3, 2)
    heads = int(rng.choice([4, 6, 8, 12, 16]))
    width = heads * int(rng.choice([32, 64]))
    x = draft.tokens(draft.linear(x, width))
    before = bool(rng.integers(2))
    for _ in range(int(rng.integers(2, 9))):
        y = draft.normalize(x) if before else x
        mixed = draft.attention(draft.linear(y, width), draft.linear(y, width), draft.linear(y, width), heads)
        x = draft.linear(mixed, width, add=x)
        y = draft.normalize(x)
        inner = draft.linear(y, width * int(rng.choice([2, 4])), StepOp.GELU)
        x = draft.linear(inner, width, add=x if before else y)
        if not before:
            x = draft.normalize(x)
    return x
