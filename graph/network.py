"""Network: layers in topological order, the tensors between them, and what region of its inputs a region
needs.

A layer is an anchor primitive with element-wise steps fused into it; it is the unit of partitioning.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graph.primitives import Anchor, Step


@dataclass(frozen=True, slots=True)
class AxisMap:
    """Which interval of an input axis an interval of the output axis needs.

    Output [a, b) needs input [a * stride + offset, (b - 1) * stride + offset + extent), clipped to the axis;
    with `whole` every output position needs the whole axis, so the axis is not carried through.
    """

    stride: int = 1
    offset: int = 0
    extent: int = 1
    whole: bool = False

    def needed(self, start: int, stop: int, size: int) -> tuple[int, int]:
        """Input interval, clipped to [0, size), that output interval [start, stop) needs."""
        if self.whole:
            return (0, size)
        low = min(size, max(0, start * self.stride + self.offset))
        high = min(size, (stop - 1) * self.stride + self.offset + self.extent)
        return (low, max(low, high))


@dataclass(frozen=True, slots=True)
class RegionMap:
    """Region maps of one input of a layer, an AxisMap per axis (batch is always the identity)."""

    rows: AxisMap
    columns: AxisMap
    channels: AxisMap


@dataclass(frozen=True, slots=True)
class Tensor:
    """An activation tensor: its ONNX name and its shape without the batch (C, H, W)."""

    name: str
    channels: int
    rows: int
    columns: int

    @property
    def elements(self) -> int:
        """Elements of one image: C x H x W."""
        return self.channels * self.rows * self.columns


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """An anchor primitive, its inputs and the element-wise steps fused into it.

    `inputs` are tensor indices: the anchor's first, then those that steps refer to by position
    (`Step.tensor`). `maps` holds one RegionMap per input. `weight` is (K, C/groups, kernel_h, kernel_w)
    float32 or None; `parameters` are the per-channel vectors that steps refer to, each (K,) float32. `nodes`
    are the names of the ONNX nodes that the layer came from, in order.
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


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network at a given batch: tensors, layers in topological order, graph inputs and outputs.

    Tensor i for i < len(inputs) is a graph input; layer l writes tensor len(inputs) + l.
    """

    name: str
    batch: int
    tensors: tuple[Tensor, ...]
    layers: tuple[Layer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    model_hash: str = field(default="")
