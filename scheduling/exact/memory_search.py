"""Best-first search over down-sets for the order with the least peak, compiled.

A down-set is a set of operators closed under predecessors, a row of 64-bit words. The bytes that are live after a
down-set do not depend on the order inside it, so each is visited once. States wait in a heap under the least peak
at which something new can be reached from them; the level only rises, and where the complete set comes out, the
level is the least peak. If the states run out before, the level is a lower bound.

Dominance. live is submodular over sets of operators. So if operators a1, .., ak, each of which reads from the one
before, can run now within the level and leave no more live bytes than there are now (and fewer would not be live
in between), every completion may start with them: no other child is needed. One operator that frees memory at
once is the case k = 1.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from hwmodel.compiled import compiled
from scheduling.exact.hash_table import grown, slot_of
from scheduling.lowering.tables import Ints

Words = NDArray[np.uint64]
BIT = np.uint64(1)
FAR = 2**62


@compiled
def has(row: Words, index: int) -> bool:
    """Whether bit `index` of a row of words is set."""
    return bool((row[index >> 6] >> np.uint64(index & 63)) & BIT)


@compiled
def put(row: Words, index: int) -> None:
    """Set bit `index` of a row of words."""
    row[index >> 6] |= BIT << np.uint64(index & 63)


@compiled
def ready(done: Words, before: Words, operator: int) -> bool:
    """Whether an operator has not run and all its predecessors have."""
    if has(done, operator):
        return False
    missing = BIT ^ BIT
    for w in range(done.shape[0]):
        missing |= before[operator, w] & ~done[w]
    return not missing


@compiled
def freed_bytes(
    done: Words, readers: Words, read_start: Ints, read: Ints, freeable: Ints, operator: int
) -> int:
    """Bytes that nothing needs any more once `operator` has run after `done`."""
    total = 0
    for i in range(read_start[operator], read_start[operator + 1]):
        tensor = read[i]
        last = True
        for w in range(done.shape[0]):
            left = readers[tensor, w] & ~done[w]
            if w == operator >> 6:
                left &= ~(BIT << np.uint64(operator & 63))
            if left:
                last = False
                break
        if last:
            total += freeable[tensor]
    return total


@compiled
def search_orders(
    before: Words,
    after_start: Ints,
    after: Ints,
    readers: Words,
    read_start: Ints,
    read: Ints,
    freeable: Ints,
    made: Ints,
    lasting: Ints,
    live_at_start: int,
    level: int,
    rises: bool,
    most_states: int,
) -> tuple[Ints, int, bool]:
    """The order of the N operators with the least peak, a level, and whether the search ended.

    `before` (N, W) are the predecessors and `readers` (T, W) the consumers as bits; `after`, `read` the
    successors and read tensors of operator n from `after_start[n]`, `read_start[n]` on. `freeable` (T,) are the
    bytes that end with a tensor's last consumer, `made` (N,) those that an operator writes, `lasting` (N,) those
    of them that stay. The order is empty unless the complete set was reached; the level is then its peak or the
    initial level, whichever is more. Otherwise the level is a lower bound: no order has a lower peak. Without
    `rises` the search ends where it would have to go above the initial level.
    """
    operators, words = before.shape
    sets = np.zeros((most_states, words), np.uint64)
    live = np.empty(most_states, np.int64)
    parent = np.empty(most_states, np.int64)
    ran = np.empty(most_states, np.int64)
    table = np.full(1 << 10, -1, np.int64)
    live[0], parent[0], ran[0] = live_at_start, -1, -1
    count = 1
    table[slot_of(table, sets, sets[0], words)] = 0
    heap: list[tuple[int, int, int, int]] = [(level, 0, live_at_start, 0)]
    row = np.empty(words, np.uint64)
    chain = np.empty(operators, np.int64)
    children = np.empty(operators, np.int64)
    while heap:
        need, negative_depth, bytes_now, state = heapq.heappop(heap)
        if need > level:
            if not rises:
                return np.empty(0, np.int64), need, True
            level = need
        depth = -negative_depth
        if depth == operators:
            order = np.empty(operators, np.int64)
            for position in range(operators - 1, -1, -1):
                order[position] = ran[state]
                state = parent[state]
            return order, level, True
        if count + operators > most_states:
            return np.empty(0, np.int64), level, False
        # A chain that every completion may start with.
        length = 0
        candidates = 0
        for operator in range(operators):
            if not ready(sets[state], before, operator):
                continue
            children[candidates] = operator
            candidates += 1
            row[:] = sets[state]
            bytes_then = bytes_now
            last = operator
            length = 0
            while last >= 0 and bytes_then + made[last] <= level:
                bytes_then += lasting[last] - freed_bytes(row, readers, read_start, read, freeable, last)
                put(row, last)
                chain[length] = last
                length += 1
                if bytes_then <= bytes_now:
                    break
                following = -1
                for i in range(after_start[last], after_start[last + 1]):
                    if ready(row, before, after[i]):
                        following = after[i]
                        break
                last = following
            if length and bytes_then <= bytes_now:
                break
            length = 0
        if length:
            row[:] = sets[state]
            candidates = 1
        # The chain, or every operator that can run within the level.
        next_need = FAR
        for c in range(candidates):
            if not length:
                row[:] = sets[state]
                chain[0] = children[c]
            at, bytes_then = state, bytes_now
            for i in range(max(length, 1)):
                operator = chain[i]
                if bytes_then + made[operator] > level:
                    next_need = min(next_need, bytes_then + made[operator])
                    break
                bytes_then += lasting[operator] - freed_bytes(
                    row, readers, read_start, read, freeable, operator
                )
                put(row, operator)
                slot = slot_of(table, sets, row, words)
                if table[slot] < 0:
                    sets[count] = row
                    live[count], parent[count], ran[count] = bytes_then, at, operator
                    table[slot] = count
                    at = count
                    count += 1
                    if i == max(length, 1) - 1:
                        heapq.heappush(heap, (level, -(depth + i + 1), bytes_then, at))
                    table = grown(table, sets, count, words)
                else:
                    at = table[slot]
        if next_need < FAR:
            heapq.heappush(heap, (next_need, negative_depth, bytes_now, state))
    return np.empty(0, np.int64), level, False
