"""Moments: rough mean and variance of activations through a network, so that random weights can be scaled.

Activations are taken as Gaussian and independent; the figures are good to a factor of two or so, which is all
that keeping within fp16's range asks for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# Change of mean (in standard deviations) and variance by taking the largest of a small window.
_MAX_SHIFT, _MAX_VARIANCE = 1.2, 0.5
# Change of variance by averaging a window: neighbours are not independent.
_MEAN_VARIANCE = 0.5


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and variance over the elements of one activation tensor."""

    mean: float = 0.0
    variance: float = 1.0

    def rectified(self) -> Moments:
        """Moments of max(x, 0)."""
        deviation = math.sqrt(self.variance)
        if not deviation:
            return Moments(max(self.mean, 0.0), 0.0)
        ratio = self.mean / deviation
        below = 0.5 * (1 + math.erf(ratio / math.sqrt(2)))
        density = math.exp(-ratio * ratio / 2) / math.sqrt(2 * math.pi)
        mean = self.mean * below + deviation * density
        square = (self.mean**2 + self.variance) * below + self.mean * deviation * density
        return Moments(mean, max(square - mean * mean, 0.0))

    def windowed(self, largest: bool) -> Moments:
        """Moments after a max (`largest`) or an average pool."""
        if largest:
            shift = _MAX_SHIFT * math.sqrt(self.variance)
            return Moments(self.mean + shift, self.variance * _MAX_VARIANCE)
        return Moments(self.mean, self.variance * _MEAN_VARIANCE)

    def added(self, other: Moments) -> Moments:
        """Moments of the sum with another tensor."""
        return Moments(self.mean + other.mean, self.variance + other.variance)

    def scaled(self, mean_square: float, shift_square: float) -> Moments:
        """Moments after per-channel factors of that mean square around 1 and shifts of that mean square
        around 0.
        """
        square = (self.mean**2 + self.variance) * mean_square + shift_square
        return Moments(self.mean, square - self.mean**2)


def joined(parts: list[Moments]) -> Moments:
    """Moments of tensors side by side, each counted once whatever its size."""
    mean = sum(part.mean for part in parts) / len(parts)
    square = sum(part.mean**2 + part.variance for part in parts) / len(parts)
    return Moments(mean, square - mean * mean)
