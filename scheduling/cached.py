"""Copies between a tensor and its cache: columns that neighbouring instances of a sub-graph share stay in L1."""

from __future__ import annotations

from hwmodel.compiled import compiled
from hwmodel.costs import vector_cycles
from hwmodel.machine_table import MachineTable
from scheduling.choice import Choice
from scheduling.geometry import Geometry
from scheduling.operations import RESTORE
from scheduling.rows import (
    C_B,
    C_ENGINE,
    C_EXTERNAL0,
    C_EXTERNAL1,
    C_H1,
    C_HOLD,
    C_I1,
    C_K1,
    C_LATENCY,
    C_LINK,
    C_OP,
    C_PIECE,
    C_TENSOR,
    LINK_NONE,
    N_L1_READ,
    N_L1_WRITE,
    N_VECTOR,
    OP_VECTOR,
    VECTOR,
    VECTOR_KEEPS,
    VECTOR_RESTORES,
)
from scheduling.shares import active, most_rows, piece_rows
from scheduling.tables import Ints, NetworkTable


@compiled
def copy_cached(
    net: NetworkTable,
    m: MachineTable,
    choice: Choice,
    geo: Geometry,
    images: int,
    kind: int,
    t: int,
    p: int,
    rows: Ints,
    counts: Ints,
    i: int,
) -> int:
    """Write row i: a copy by the vector engine between the ring of local tensor t and its cache, of piece p. RESTORE
    copies the columns that the instance before kept, KEEP those that the next one needs. Returns the bytes copied."""
    columns = (
        geo.new_start[t] - geo.held_start[t] if kind == RESTORE else geo.held_stop[t] - geo.keep_start[t]
    )
    channels = net.tensor_channels[geo.tensor[t]]
    if geo.full[t]:
        held, all_held = channels, channels * choice.ways_channels
    else:
        held, all_held = -(-channels // choice.ways_channels), channels
    if net.tensor_constant[geo.tensor[t]]:  # one image, which every core with work holds
        most_images, all_images = 1, active(images, choice.ways_batch, 0, images)
    else:
        most_images, all_images = -(-images // choice.ways_batch), images
    sum_rows = 0
    for way in range(choice.ways_rows):
        a, b = piece_rows(geo.start, geo.ends, way, t, p)
        sum_rows += b - a
    rows_most = most_rows(geo.start, geo.ends, t, p)
    elements = all_images * sum_rows * columns * all_held
    hold = vector_cycles(m, most_images * rows_most * columns * held, net.copy_passes)
    rows[i, C_OP] = OP_VECTOR
    rows[i, C_TENSOR], rows[i, C_PIECE] = t, p
    rows[i, C_K1] = held
    rows[i, C_I1] = most_images
    rows[i, C_H1] = rows_most
    rows[i, C_B] = VECTOR_RESTORES if kind == RESTORE else VECTOR_KEEPS
    rows[i, C_ENGINE] = VECTOR
    rows[i, C_HOLD] = hold
    rows[i, C_LATENCY] = hold
    rows[i, C_LINK] = LINK_NONE
    rows[i, C_EXTERNAL0] = -1
    rows[i, C_EXTERNAL1] = -1
    counts[N_VECTOR] += elements
    moved = elements * m.element_bytes
    counts[N_L1_READ] += moved
    counts[N_L1_WRITE] += moved
    return int(moved)
