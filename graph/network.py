"""Network: layers in topological order, the tensors between them, and what region of its inputs a region
needs.

A layer is an anchor primitive with element-wise steps fused into it; it is the unit of partitioning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graph.primitives import Anchor, Step


@dataclass(frozen=True, slots=True)
class AxisMap:
    """Which interval of an input axis an interval of the output axis needs.

    Output position p needs input [q, q + extent) with q = floor(p / divisor) * stride + offset, an interval the
    union over its positions, clipped to the axis; with `whole` every output position needs the whole axis, so
    the axis is not carried through. A broadcast axis of size 1 is stride 0.
    """

    stride: int = 1
    offset: int = 0
    extent: int = 1
    whole: bool = False
    divisor: int = 1

    def needed(self, start: int, stop: int, size: int) -> tuple[int, int]:
        """Input interval, clipped to [0, size), that output interval [start, stop) needs."""
        if self.whole:
            return (0, size)
        low = min(size, max(0, start // self.divisor * self.stride + self.offset))
        high = min(size, (stop - 1) // self.divisor * self.stride + self.offset + self.extent)
        return (low, max(low, high))


@dataclass(frozen=True, slots=True)
class RegionMap:
    """Region maps of one input of a layer, an AxisMap per axis (batch is always the identity)."""

    rows: AxisMap
    columns: AxisMap
    channels: AxisMap


@dataclass(frozen=True, slots=True)
class Tensor:
    """An activation tensor: its name and its shape without the batch (C, H, W).

    With `indices` it holds an index i per pixel as two channels, i // INDEX_BASE and i % INDEX_BASE, which fp16 and
    fp32 hold exactly (int8 does not; kernels of int8 machines are executed in fp32); only an Embedding reads it.
    """

    name: str
    channels: int
    rows: int
    columns: int
    indices: bool = False

    @property
    def elements(self) -> int:
        """Elements of one image: C x H x W."""
        return self.channels * self.rows * self.columns


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """An anchor primitive, its inputs and the element-wise steps fused into it.

    `inputs` are tensor indices: the anchor's first, then those that steps refer to by position
    (`Step.tensor`). `maps` holds one RegionMap per input. `weight` is (K, C/groups, kernel_h, kernel_w) float32
    of a Contraction, (entries, C) of an Embedding, or None; `parameters` are the per-channel vectors that steps
    refer to, each (K,) float32. `nodes` are the names of the ONNX nodes that the layer came from, in order.
    `shares` is the number of another layer that has the same weight and parameters, made of the same initialisers,
    and itself shares none: they are stored once, for that layer.
    """

    name: str
    nodes: tuple[str, ...]
    anchor: Anchor
    inputs: tuple[int, ...]
    maps: tuple[RegionMap, ...]
    output: int
    steps: tuple[Step, ...] = ()
    weight: NDArray[np.float32] | None = None
    parameters: tuple[NDArray[np.float32], ...] = ()
    shares: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network at a given batch: tensors, layers in topological order, graph inputs and outputs.

    The first tensors are the graph inputs, then come `constants` (the keys of the mapping, ascending): tensors
    (C, H, W) float32 that are the same for every image and lie in DRAM once. Layer l writes tensor
    source_count + l.
    """

    name: str
    batch: int
    tensors: tuple[Tensor, ...]
    layers: tuple[Layer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    model_hash: str = field(default="")
    constants: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def source_count(self) -> int:
        """Tensors that no layer makes: graph inputs and constants."""
        return len(self.inputs) + len(self.constants)
