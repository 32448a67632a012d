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

INDEX_BASE = 2048
"""An index i is stored as the numbers i // INDEX_BASE and i % INDEX_BASE: integers up to this are exact in fp16 and
fp32 (in int8 they are not: an int8 machine's kernels are executed in fp32)."""


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
class MatMul:
    """Product of two activations, for each image and each of `groups` groups of channels (heads).

    The first input is (rows, columns, groups x reduction channels). The second has one column; with
    `transposed` it is (K rows, groups x reduction channels), else (reduction rows, groups x K channels). The
    output has the rows and columns of the first and `out_channels` = groups x K channels.
    """

    out_channels: int
    reduction: int
    groups: int = 1
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class Embedding:
    """Rows of a constant table (entries, C) that stays in DRAM, by indices: output pixel (h, w) is the table's
    row that the index of input pixel (h, w) names. The input is an index tensor (`Tensor.indices`).
    """

    entries: int
    channels: int


@dataclass(frozen=True, slots=True)
class Window:
    """Reduction of a kernel_h x kernel_w window per channel: `max`, `min` or `average` (global pooling is a
    window that covers the whole map). With `count_include_pad` the average divides by the full window.
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
    """exp(x - max) / sum over each `group` of consecutive channels of a pixel; with `log`, its logarithm."""

    group: int
    log: bool = False


@dataclass(frozen=True, slots=True)
class Normalize:
    """(x - mean) / sqrt(variance + epsilon) over each `group` of consecutive channels of a pixel; without
    `center`, x / sqrt(mean of x^2 + epsilon) (RMS normalisation). Scale and bias are steps.
    """

    group: int
    epsilon: float
    center: bool = True


@dataclass(frozen=True, slots=True)
class ChannelReduce:
    """One channel for each `group` of consecutive channels of a pixel: their `sum`, `average`, `max` or
    `min`.
    """

    group: int
    mode: str


@dataclass(frozen=True, slots=True)
class Concat:
    """Copies of all inputs, one after another along `axis`: `channels` or `rows`."""

    axis: str = "channels"


@dataclass(frozen=True, slots=True)
class Rearrange:
    """A strided copy within each image: slices, permutations, repetitions.

    The output's elements in storage order (H, W, C) are counted by digits of `sizes`, the slowest first;
    each is the input element, in storage order too, at offset + sum of digit x stride. The product of sizes
    is H x W x C of the output. Strides may be zero (repeat) or negative (reverse).
    """

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Move:
    """The first input as it is: the anchor of a layer that is only element-wise."""


Anchor = (
    Contraction
    | MatMul
    | Embedding
    | Window
    | ChannelNorm
    | Softmax
    | Normalize
    | ChannelReduce
    | Concat
    | Rearrange
    | Move
)


class StepOp(StrEnum):
    """One element-wise step on y. With an operand o: ADD y + o, SUB y - o, RSUB o - y, MUL y o, DIV y / o, RDIV
    o / y, MAX, MIN, POW y^o, RPOW o^y, the comparisons y < o and so on (1 or 0), KEEP_IF (y where o is not
    0, else 0), KEEP_UNLESS (y where o is 0, else 0), PRELU (y, or o y where y < 0), ELU (y, or o (exp(y) - 1)
    where y < 0). The others have none: RELU, CLIP to [low, high], ABS, SIGN, FLOOR, CEIL, ROUND (half to
    even), EXP, LOG, SQRT, ERF, SIN, COS, TANH, SIGMOID, SOFTPLUS log(1 + exp(y)), GELU y (1 + erf(y /
    sqrt(2))) / 2, GELU_TANH (its tanh form), SILU y sigmoid(y), MISH y tanh(softplus(y)).
    """

    ADD = "add"
    SUB = "sub"
    RSUB = "rsub"
    MUL = "mul"
    DIV = "div"
    RDIV = "rdiv"
    MAX = "max"
    MIN = "min"
    POW = "pow"
    RPOW = "rpow"
    LESS = "less"
    LESS_OR_EQUAL = "less_or_equal"
    GREATER = "greater"
    GREATER_OR_EQUAL = "greater_or_equal"
    EQUAL = "equal"
    KEEP_IF = "keep_if"
    KEEP_UNLESS = "keep_unless"
    PRELU = "prelu"
    ELU = "elu"
    RELU = "relu"
    CLIP = "clip"
    ABS = "abs"
    SIGN = "sign"
    FLOOR = "floor"
    CEIL = "ceil"
    ROUND = "round"
    EXP = "exp"
    LOG = "log"
    SQRT = "sqrt"
    ERF = "erf"
    SIN = "sin"
    COS = "cos"
    TANH = "tanh"
    SIGMOID = "sigmoid"
    SOFTPLUS = "softplus"
    GELU = "gelu"
    GELU_TANH = "gelu_tanh"
    SILU = "silu"
    MISH = "mish"


UNARY = frozenset(StepOp) - {
    StepOp.ADD,
    StepOp.SUB,
    StepOp.RSUB,
    StepOp.MUL,
    StepOp.DIV,
    StepOp.RDIV,
    StepOp.MAX,
    StepOp.MIN,
    StepOp.POW,
    StepOp.RPOW,
    StepOp.LESS,
    StepOp.LESS_OR_EQUAL,
    StepOp.GREATER,
    StepOp.GREATER_OR_EQUAL,
    StepOp.EQUAL,
    StepOp.KEEP_IF,
    StepOp.KEEP_UNLESS,
    StepOp.PRELU,
    StepOp.ELU,
}
"""Steps without an operand (CLIP has its two limits)."""


@dataclass(frozen=True, slots=True)
class Step:
    """An element-wise step of a layer's epilogue.

    Exactly one operand for the ops that have one: `parameter` (index of a per-channel vector of the layer),
    `tensor` (index into the layer's inputs: a tensor whose rows, columns and channels are each 1 or the
    output's) or `scalar`. CLIP takes (low, high).
    """

    op: StepOp
    parameter: int | None = None
    tensor: int | None = None
    scalar: float | None = None
    low: float = 0.0
    high: float = 0.0
