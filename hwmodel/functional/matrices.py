"""Weights as the functional simulator's matrix products take them, kept while their bytes stay the same."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from hwmodel.functional import compute
from hwmodel.functional.storage import FloatArray

# Converted weights that are kept.
MAX_MATRICES = 16


class WeightMatrices:
    """The last few weights that were converted for a product, with the bytes that they were made of.

    Cores that share weights, and pieces that keep them, convert them once. What is found is compared byte by
    byte with what the memory holds now, so a weight that was overwritten is never taken for the old one.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], tuple[FloatArray, compute.Array]] = OrderedDict()

    def get(self, weights: FloatArray, pixels: int) -> compute.Array:
        """The matrix that compute.convolve wants for `weights`, (K, C, kernel_h, kernel_w) in a memory."""
        key = (weights.shape, pixels < weights.shape[0])
        found = self._kept.get(key)
        integers = np.dtype(f"u{weights.itemsize}")
        if found is None or not np.array_equal(found[0].view(integers), weights.view(integers)):
            values = weights.astype(np.float32, copy=False)
            found = (weights.copy(), np.ascontiguousarray(compute.weight_matrix(values, pixels)))
            if np.may_share_memory(found[1], weights):
                found = (found[0], found[1].copy())
            self._kept[key] = found
            if len(self._kept) > MAX_MATRICES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return found[1]
