"""Size of the cache of a sub-graph's overlaps where that lies in the LLB or in DRAM.

There it holds what one slice of the batch has: for every tensor, one after the other, the images, of each the row ways
with places of their own (what cores next to each other both make is there once for each), and of these the rows,
columns and channels that neighbouring slices share, the last fastest. Images of a constant are the batch ways.
"""

from __future__ import annotations

from hwmodel.compiled import compiled, compiled_leaf
from scheduling.choice import Choice
from scheduling.lowering.geometry import Geometry, geometry
from scheduling.lowering.shares import batch_part_max
from scheduling.lowering.tables import NetworkTable


@compiled_leaf
def shared_cache_bytes(net: NetworkTable, choice: Choice, geo: Geometry, t: int, element_bytes: int) -> int:
    """Bytes of a local tensor's overlaps."""
    tensor = geo.tensor[t]
    images = batch_part_max(net.batch, choice.split_batch)
    if net.tensor_constant[tensor]:
        images = choice.ways_batch
    pixels = choice.ways_rows * geo.cache_rows[t] * geo.cache_columns[t]
    return int(images * pixels * net.tensor_channels[tensor] * element_bytes)


@compiled
def whole_shared_cache_bytes(net: NetworkTable, choice: Choice, element_bytes: int) -> int:
    """Bytes of the overlaps of all tensors, which are the same in all instances of a choice in its frame."""
    geo = geometry(net, choice, 0, 0)
    total = 0
    for t in range(geo.tensor.shape[0]):
        total += shared_cache_bytes(net, choice, geo, t, element_bytes)
    return total
