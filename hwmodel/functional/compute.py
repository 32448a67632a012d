"""The arithmetic of the primitives on NHWC float32 arrays, which the functional simulator runs.

Shape letters: B images, H rows, W columns, C channels, K output channels. Nothing here knows of memories.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Array = NDArray[np.float32]

# A pair is (vertical, horizontal): rows first.
Pair = tuple[int, int]


def span(out: int, kernel: int, stride: int, dilation: int = 1) -> int:
    """Input positions along one axis that `out` outputs of a window cover."""
    return (out - 1) * stride + (kernel - 1) * dilation + 1


def _padded(x: Array, need: Pair, pad: Pair, fill: float) -> Array:
    """The (B, need rows, need columns, C) region of x that starts `pad` before it; outside x it is `fill`."""
    rows, columns = x.shape[1], x.shape[2]
    if pad == (0, 0) and need[0] <= rows and need[1] <= columns:
        return x[:, : need[0], : need[1]]
    out = np.full((x.shape[0], *need, x.shape[3]), fill, np.float32)
    top, left = max(0, pad[0]), max(0, pad[1])
    first_row, first_column = max(0, -pad[0]), max(0, -pad[1])
    height = min(rows - first_row, need[0] - top)
    width = min(columns - first_column, need[1] - left)
    if height > 0 and width > 0:
        out[:, top : top + height, left : left + width] = x[
            :, first_row : first_row + height, first_column : first_column + width
        ]
    return out


def weight_matrix(weight: Array, pixels: int) -> Array:
    """The weight (K, C, kernel_h, kernel_w) in the order in which `convolve` wants it for so many outputs.

    That is (taps, C, K) where the windows are the larger operand, else, and where there is one tap, as it is.
    """
    k, c, kernel_h, kernel_w = weight.shape
    if kernel_h * kernel_w == 1 or pixels < k:
        return weight.reshape(k, c * kernel_h * kernel_w)
    return weight.transpose(2, 3, 1, 0).reshape(kernel_h * kernel_w, c, k)


def convolve(
    x: Array, matrix: Array, out: Pair, kernel: Pair, stride: Pair, dilation: Pair, pad: Pair
) -> Array:
    """Convolution of x (B, H, W, C) with a weight_matrix of K channels: (B, out rows, out columns, K).

    Positions outside x are zero. A pointwise one is a matrix product of x as it lies. Others gather the
    windows or, with stride 1, add up a product for each tap, of the rows of x shifted by it.
    """
    c = x.shape[3]
    taps = kernel[0] * kernel[1]
    need = (span(out[0], kernel[0], stride[0], dilation[0]), span(out[1], kernel[1], stride[1], dilation[1]))
    x = _padded(x, need, pad, 0.0)
    images = x.shape[0]
    pixels = images * out[0] * out[1]
    if taps == 1:
        rows = x[:, :: stride[0], :: stride[1]].reshape(pixels, c)
        return (rows @ matrix.T).reshape(images, *out, -1)
    if matrix.ndim == 3:
        waste = images * need[0] * need[1] / pixels - 1
        if stride == (1, 1) and waste * matrix.shape[2] < _WASTE:
            return _shifted(x, matrix, out, kernel, dilation)
    by_image, by_row, by_column, by_channel = x.strides
    windows = as_strided(
        x,
        (images, *out, *kernel, c),
        (
            by_image,
            by_row * stride[0],
            by_column * stride[1],
            by_row * dilation[0],
            by_column * dilation[1],
            by_channel,
        ),
        writeable=False,
    )
    if matrix.ndim == 2:  # the windows are the smaller operand: bring them into the order of the weights
        columns = windows.transpose(0, 1, 2, 5, 3, 4).reshape(pixels, c * taps)
        return (columns @ matrix.T).reshape(images, *out, -1)
    result = windows.reshape(pixels, taps * c) @ matrix.reshape(taps * c, -1)
    return result.reshape(images, *out, -1)


def matmul(x: Array, w: Array, transposed: bool) -> Array:
    """Product of x (B, H, W, C) with w of the same image: (B, H, W, K).

    w is (B, K, 1, C) with `transposed`, else (B, C, 1, K).
    """
    images, rows, columns, c = x.shape
    right = w[:, :, 0].transpose(0, 2, 1) if transposed else w[:, :, 0]
    result = np.matmul(x.reshape(images, rows * columns, c), right)
    return np.asarray(result, np.float32).reshape(images, rows, columns, -1)


# Gathering an element of a window takes about as long as so many multiply-adds of a matrix product.
_WASTE = 64


def _shifted(x: Array, matrix: Array, out: Pair, kernel: Pair, dilation: Pair) -> Array:
    """A convolution of stride 1 without gathering: what runs over the end of a row is left out afterwards."""
    images, height, width, c = x.shape
    k = matrix.shape[2]
    flat = x.reshape(images * height * width, c)
    total = np.empty((flat.shape[0], k), np.float32)
    count = ((images - 1) * height + out[0] - 1) * width + out[1]
    product = np.empty((count, k), np.float32)
    for tap in range(kernel[0] * kernel[1]):
        row, column = divmod(tap, kernel[1])
        shift = row * dilation[0] * width + column * dilation[1]
        if tap == 0:
            np.matmul(flat[shift : shift + count], matrix[tap], out=total[:count])
        else:
            np.matmul(flat[shift : shift + count], matrix[tap], out=product)
            total[:count] += product
    return total.reshape(images, height, width, k)[:, : out[0], : out[1]]


def _taps(x: Array, out: Pair, kernel: Pair, stride: Pair) -> list[Array]:
    rows, columns = (out[0] - 1) * stride[0] + 1, (out[1] - 1) * stride[1] + 1
    return [
        x[:, i : i + rows : stride[0], j : j + columns : stride[1]]
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]


def window_max(x: Array, out: Pair, kernel: Pair, stride: Pair, pad: Pair) -> Array:
    """Maximum over windows of x (B, H, W, C): (B, out rows, out columns, C). Padding never wins."""
    return _window_extreme(np.maximum, -np.inf, x, out, kernel, stride, pad)


def window_min(x: Array, out: Pair, kernel: Pair, stride: Pair, pad: Pair) -> Array:
    """Minimum over windows, as `window_max`."""
    return _window_extreme(np.minimum, np.inf, x, out, kernel, stride, pad)


def _window_extreme(
    best: np.ufunc, fill: float, x: Array, out: Pair, kernel: Pair, stride: Pair, pad: Pair
) -> Array:
    need = (span(out[0], kernel[0], stride[0]), span(out[1], kernel[1], stride[1]))
    x = _padded(x, need, pad, fill)
    if out == (1, 1):
        return np.asarray(best.reduce(x, axis=(1, 2), keepdims=True), np.float32)
    first, *rest = _taps(x, out, kernel, stride)
    result = first.copy()
    for tap in rest:
        best(result, tap, out=result)
    return result


def _inside(out: int, kernel: int, stride: int, pad: int, size: int) -> NDArray[np.int64]:
    start = np.arange(out) * stride - pad
    return np.clip(start + kernel, 0, size) - np.clip(start, 0, size)


def window_average(
    x: Array, out: Pair, kernel: Pair, stride: Pair, pad: Pair, count_include_pad: bool
) -> Array:
    """Mean over windows of x (B, H, W, C): (B, out rows, out columns, C).

    Divides by the positions inside x, or by the whole window with `count_include_pad`.
    """
    rows, columns = x.shape[1], x.shape[2]
    need = (span(out[0], kernel[0], stride[0]), span(out[1], kernel[1], stride[1]))
    padded = _padded(x, need, pad, 0.0)
    if out == (1, 1):
        total = np.asarray(np.sum(padded, axis=(1, 2), keepdims=True), np.float32)
    else:
        first, *rest = _taps(padded, out, kernel, stride)
        total = first.copy()
        for tap in rest:
            total += tap
    if count_include_pad:
        return np.divide(total, np.float32(kernel[0] * kernel[1]), out=total)
    inside = np.outer(
        _inside(out[0], kernel[0], stride[0], pad[0], rows),
        _inside(out[1], kernel[1], stride[1], pad[1], columns),
    )
    return np.divide(total, inside.astype(np.float32)[None, :, :, None], out=total)


def channel_norm(
    x: Array, start: int, count: int, size: int, alpha: float, beta: float, bias: float
) -> Array:
    """Local response normalisation of channels start + [0, count) of x (B, H, W, C).

    Sums the squares of the channels from c - floor((size - 1) / 2) to c + ceil((size - 1) / 2) that x has.
    """
    before, after = (size - 1) // 2, size // 2
    low, high = max(0, start - before), min(x.shape[3], start + count + after)
    square = np.square(x[..., low:high])
    total = np.zeros((*x.shape[:3], count), np.float32)
    for shift in range(-before, after + 1):
        first, last = max(low, start + shift), min(high, start + count + shift)
        if first < last:
            total[..., first - shift - start : last - shift - start] += square[..., first - low : last - low]
    total *= np.float32(alpha / size)
    total += np.float32(bias)
    np.power(total, np.float32(beta), out=total)
    return np.divide(x[..., start : start + count], total, out=total)


def _grouped(x: Array, start: int, count: int, group: int) -> tuple[Array, slice]:
    """The groups (B, H, W, groups, group) that hold channels start + [0, count), and where these lie in them."""
    first, last = start // group, -(-(start + count) // group)
    part = x[..., first * group : last * group].reshape(*x.shape[:3], last - first, group)
    return part, slice(start - first * group, start - first * group + count)


def _ungrouped(x: Array, chosen: slice) -> Array:
    return x.reshape(*x.shape[:3], -1)[..., chosen]


def softmax(x: Array, start: int, count: int, group: int, log: bool = False) -> Array:
    """Channels start + [0, count) of the softmax of x (B, H, W, C) over each `group` of its channels.

    With `log` its logarithm. `group` divides C.
    """
    part, chosen = _grouped(x, start, count, group)
    part = part - np.max(part, axis=4, keepdims=True)
    exponent = np.exp(part)
    total = np.sum(exponent, axis=4, keepdims=True)
    return _ungrouped(part - np.log(total) if log else exponent / total, chosen)


def normalize(x: Array, start: int, count: int, group: int, epsilon: float, center: bool) -> Array:
    """Channels start + [0, count) of x (B, H, W, C) normalised over each `group` of its channels.

    That is (x - mean) / sqrt(variance + epsilon) or, without `center`, x / sqrt(mean of x^2 + epsilon). `group`
    divides C.
    """
    part, chosen = _grouped(x, start, count, group)
    if center:
        part = part - np.mean(part, axis=4, keepdims=True)
    square = np.mean(np.square(part), axis=4, keepdims=True)
    return _ungrouped(part / np.sqrt(square + np.float32(epsilon)), chosen)


def reduce_channels(x: Array, start: int, count: int, group: int, function: Callable[..., Any]) -> Array:
    """Groups start + [0, count) of channels of x (B, H, W, C), each reduced to one: (B, H, W, count).

    `function` is np.sum or one like it.
    """
    part, _ = _grouped(x, start * group, count * group, group)
    return np.asarray(function(part, axis=4), np.float32)


def digit_sums(numbers: NDArray[np.int64], sizes: Sequence[int], strides: Sequence[int]) -> NDArray[np.int64]:
    """The sum of digit x stride of each number, whose digits have these sizes, the slowest first."""
    total = np.zeros_like(numbers)
    for size, stride in zip(reversed(sizes), reversed(strides), strict=True):
        numbers, digit = np.divmod(numbers, size)
        total += digit * stride
    return total
