"""The closed set of primitives: what a machine computes, as plain records.

Every operator is decomposed into these, and they are all that `hwmodel` and `graph` have in common, so that
adding an operator never touches the machine.

Shape letters, used in every docstring of the project: B batch, C channels, H rows, W columns, K output
channels, T tokens, D features, L layers, I instructions, A candidate actions, F features. All activations are
(B, C, H, W) logically and stored channels-last, (B, H, W, C), in every memory; a matrix (B, D) is (B, D, 1,
1).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class VectorClass(StrEnum):
    """Class of vector operation; a machine gives each its cycles per lane-element."""

    MOVE = "move"
    ADD = "add"
    MUL = "mul"
    MAX = "max"
    EXP = "exp"
    DIV = "div"
    REDUCE = "reduce"


@dataclass(frozen=True, slots=True)
class Contraction:
    """Convolution of C/groups x kernel_h x kernel_w inputs into each of K outputs (a fully connected layer is
    a convolution whose kernel covers its whole input map).
    """

    out_channels: int
    in_channels: int
    kernel_h: int
    kernel_w: int
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pad_bottom: int = 0
    pad_right: int = 0
    groups: int = 1

    @property
    def taps(self) -> int:
        """Kernel positions: kernel_h x kernel_w."""
        return self.kernel_h * self.kernel_w


@dataclass(frozen=True, slots=True)
class Window:
    """Reduction of a kernel_h x kernel_w window per channel: `max` or `average` (global pooling is a window
    that covers the whole map). With `count_include_pad` the average divides by the full window.
    """

    mode: str
    kernel_h: int
    kernel_w: int
    stride_h: int = 1
    stride_w: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pad_bottom: int = 0
    pad_right: int = 0
    count_include_pad: bool = False


@dataclass(frozen=True, slots=True)
class ChannelNorm:
    """Local response normalisation: x / (bias + alpha / size * sum over `size` neighbouring channels of
    x^2)^beta.
    """

    size: int
    alpha: float
    beta: float
    bias: float


@dataclass(frozen=True, slots=True)
class Softmax:
    """exp(x - max) / sum over all channels (and rows and columns, which must be 1) of one image."""


@dataclass(frozen=True, slots=True)
class Concat:
    """Copies of all inputs, one after another along the channels."""


@dataclass(frozen=True, slots=True)
class Move:
    """The first input as it is: the anchor of a layer that is only element-wise."""


Anchor = Contraction | Window | ChannelNorm | Softmax | Concat | Move


class StepOp(StrEnum):
    """One element-wise step: y = y + operand, y * operand, max(y, 0), or min(max(y, low), high)."""

    ADD = "add"
    MUL = "mul"
    RELU = "relu"
    CLIP = "clip"


@dataclass(frozen=True, slots=True)
class Step:
    """An element-wise step of a layer's epilogue.

    Exactly one operand for ADD and MUL: `parameter` (index of a per-channel vector of the layer), `tensor`
    (index into the layer's inputs, same shape as the output) or `scalar`. CLIP takes (low, high).
    """

    op: StepOp
    parameter: int | None = None
    tensor: int | None = None
    scalar: float | None = None
    low: float = 0.0
    high: float = 0.0
