"""Random inputs that differ from image to image and from place to place, also after many averaging layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.model import Model

_PATCHES = 4


def random_inputs(model: Model, seed: int = 0) -> dict[str, NDArray[Any]]:
    """An array for each graph input in the file's shape at the model's batch, deterministic in `seed`.

    Floats have about unit variance. A map is a coarse 4 x 4 pattern with finer noise on it: pure noise
    averages out in a deep network, which then gives nearly the same output for every image and would hide a
    wrong one. Indices are below the entries of every table that they are used on; other integers and booleans
    are masks of 0 and 1, mostly 1, that begin with 1.
    """
    generator = np.random.default_rng(seed)
    feeds: dict[str, NDArray[Any]] = {}
    limits = model.index_limits
    for name, shape in model.input_shapes.items():
        dtype = model.input_types[name]
        if name in limits:
            feeds[name] = generator.integers(0, limits[name], shape).astype(dtype)
            continue
        if dtype.kind in "ib":
            mask = generator.random(shape) < 0.75
            mask[..., :1] = True
            feeds[name] = mask.astype(dtype)
            continue
        values = generator.standard_normal(shape, dtype=np.float32)
        if len(shape) == 4:
            coarse = generator.standard_normal((*shape[:2], _PATCHES, _PATCHES), dtype=np.float32)
            rows, columns = (np.arange(size) * _PATCHES // size for size in shape[2:])
            values = np.float32(0.5) * values + np.float32(0.85) * coarse[:, :, rows][:, :, :, columns]
        feeds[name] = values
    return feeds
