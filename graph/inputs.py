"""Random inputs that differ from image to image and from place to place, also after many averaging layers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_PATCHES = 4


def random_inputs(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """An array for each name and shape, (B, C, H, W) or (B, D), of about unit variance; deterministic in
    `seed`.

    A map is a coarse 4 x 4 pattern with finer noise on it: pure noise averages out in a deep network, which
    then gives nearly the same output for every image and would hide a wrong one.
    """
    generator = np.random.default_rng(seed)
    feeds: dict[str, NDArray[np.float32]] = {}
    for name, shape in shapes.items():
        values = generator.standard_normal(shape, dtype=np.float32)
        if len(shape) == 4:
            coarse = generator.standard_normal((*shape[:2], _PATCHES, _PATCHES), dtype=np.float32)
            rows, columns = (np.arange(size) * _PATCHES // size for size in shape[2:])
            values = np.float32(0.5) * values + np.float32(0.85) * coarse[:, :, rows][:, :, :, columns]
        feeds[name] = values
    return feeds
