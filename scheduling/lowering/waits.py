"""Waits: who touched what last, and the final program order with no wait that another one implies."""

from __future__ import annotations

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from scheduling.lowering.rows import C_ENGINE, C_OP, C_WAIT0, COLUMNS, OP_LAUNCH, OP_LOADW
from scheduling.lowering.tables import Ints


@compiled_leaf
def later(latest: Ints, engine: int, index: int) -> None:
    latest[engine] = max(latest[engine], index)


@compiled
def arrange_rows(rows: Ints, raw: Ints, anchor_of: Ints, total: int, overlap_allowed: int) -> Ints:
    """Final program order, with waits reduced to those that no engine queue and no other wait implies.

    With overlap, a weight load moves forward to just behind the row that frees its place (to the very front when
    its place is free); the rest keeps its order.
    """
    order = np.empty(total, np.int64)
    place_of = np.empty(total, np.int64)
    head = np.full(total + 1, -1, np.int64)
    follow = np.empty(total, np.int64)
    _final_order(rows, anchor_of, overlap_allowed, head, follow, order, place_of)
    final = np.empty((total, COLUMNS), np.int64)
    known = np.full(
        (3, 3), -1, np.int64
    )  # per engine: latest row of each engine surely finished at its next start
    after = np.empty((total, 3), np.int64)  # the same once a row has finished
    wait = np.empty(3, np.int64)
    _reduce_waits(rows, raw, order, place_of, known, after, wait, final)
    return final


@compiled_leaf
def _final_order(
    rows: Ints, anchor_of: Ints, overlap_allowed: int, head: Ints, follow: Ints, order: Ints, place_of: Ints
) -> None:
    """Fill in which row comes at each place, and its inverse. `head`, all -1, begins the list of the rows that move
    to behind each row; at 0 those that move to the front."""
    total = order.shape[0]
    for i in range(total - 1, -1, -1):
        if overlap_allowed and rows[i, C_OP] == OP_LOADW:
            follow[i] = head[anchor_of[i] + 1]
            head[anchor_of[i] + 1] = i
    k = 0
    for i in range(-1, total):
        if i >= 0 and not (overlap_allowed and rows[i, C_OP] == OP_LOADW):
            order[k] = i
            place_of[i] = k
            k += 1
        moved = head[i + 1]
        while moved >= 0:
            order[k] = moved
            place_of[moved] = k
            k += 1
            moved = follow[moved]


@compiled_leaf
def _reduce_waits(
    rows: Ints, raw: Ints, order: Ints, place_of: Ints, known: Ints, after: Ints, wait: Ints, final: Ints
) -> None:
    for k in range(order.shape[0]):
        i = order[k]
        for column in range(COLUMNS):
            final[k, column] = rows[i, column]
        engine = rows[i, C_ENGINE]
        wait[0], wait[1], wait[2] = -1, -1, -1
        for source in range(4):
            if raw[i, source] >= 0:
                slot = min(source, 2)
                wait[slot] = max(wait[slot], place_of[raw[i, source]])
        for other in range(3):
            if other == engine or wait[other] <= known[engine, other]:
                wait[other] = -1
        for other in range(3):  # a wait that another wait implies
            if wait[other] >= 0:
                for third in range(3):
                    if third != other and wait[third] >= 0 and after[wait[third], other] >= wait[other]:
                        wait[other] = -1
                        break
        for other in range(3):
            if wait[other] >= 0:
                for third in range(3):
                    known[engine, third] = max(known[engine, third], after[wait[other], third])
        for other in range(3):
            final[k, C_WAIT0 + other] = wait[other]
            after[k, other] = known[engine, other]
        after[k, engine] = k
        known[engine, engine] = k
        if rows[i, C_OP] == OP_LAUNCH:
            known[1, 0] = k  # it holds the vector engine too
