"""Waits: who touched what last, and the final program order with no wait that another one implies."""

from __future__ import annotations

import numpy as np

from hwmodel.compiled import compiled
from scheduling.rows import C_ENGINE, C_OP, C_WAIT0, COLUMNS, OP_LAUNCH, OP_LOADW
from scheduling.tables import Ints


@compiled
def later(latest: Ints, engine: int, index: int) -> None:
    latest[engine] = max(latest[engine], index)


@compiled
def log_write(
    written: Ints, last_access: Ints, tensor: int, piece: int, pieces: int, engine: int, row: int
) -> None:
    last_access[tensor, engine] = row
    for q in range(piece, pieces):
        written[tensor, q, engine] = row


@compiled
def log_read(
    logs: Ints,
    heads: Ints,
    count: int,
    last_access: Ints,
    tensor: int,
    reader: int,
    edge: int,
    piece: int,
    engine: int,
    row: int,
) -> int:
    logs[count, 0] = heads[tensor]
    logs[count, 1] = reader
    logs[count, 2] = edge
    logs[count, 3] = piece
    logs[count, 4] = engine
    logs[count, 5] = row
    heads[tensor] = count
    last_access[tensor, engine] = max(last_access[tensor, engine], row)
    return count + 1


@compiled
def arrange_rows(rows: Ints, raw: Ints, anchor_of: Ints, total: int, overlap_allowed: int) -> Ints:
    """Final program order, with waits reduced to those that no engine queue and no other wait implies.

    With overlap, a weight load moves forward to just behind the row that frees its place (to the very front when
    its place is free); the rest keeps its order.
    """
    key = np.empty(total, np.int64)
    for i in range(total):
        if overlap_allowed and rows[i, C_OP] == OP_LOADW:
            key[i] = 2 * anchor_of[i] + 1
        else:
            key[i] = 2 * i
    order = np.argsort(key, kind="mergesort")
    place_of = np.empty(total, np.int64)
    for k in range(total):
        place_of[order[k]] = k
    final = np.empty((total, COLUMNS), np.int64)
    known = np.full(
        (3, 3), -1, np.int64
    )  # per engine: latest row of each engine surely finished at its next start
    after = np.full((total, 3), -1, np.int64)  # the same once a row has finished
    wait = np.empty(3, np.int64)
    for k in range(total):
        i = order[k]
        final[k, :] = rows[i, :]
        engine = rows[i, C_ENGINE]
        wait[:] = -1
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
        final[k, C_WAIT0 : C_WAIT0 + 3] = wait
        after[k, :] = known[engine, :]
        after[k, engine] = k
        known[engine, engine] = k
        if rows[i, C_OP] == OP_LAUNCH:
            known[1, 0] = k  # it holds the vector engine too
    return final
