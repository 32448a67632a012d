"""Best-first search for the order and the residence with the least traffic, compiled.

A state is the set of operators that have run and, for each tensor, whether it is outside, in memory with a copy
outside (clean) or in memory only (dirty): a row of N flags and T of OUTSIDE, CLEAN, DIRTY. A tensor that is of no
more use is OUTSIDE. A step runs an operator: it evicts what must go, and no more, loads what the operator reads,
and runs it; evicting or loading earlier gains nothing. An eviction costs at once the bytes of its write (of a
dirty tensor; none for an output, which must be written anyway) and of the load that must follow.

Bound. When an operator runs, tensors that exist before it and are read after it in every order are in memory or
outside; what of them does not fit beside what the operator reads and writes must have been evicted by then.

Dominance. Of two states with the same operators done, one is of no use if the other can be turned into it by
evictions and writes (loads are paid for) for no more than it is cheaper.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from hwmodel.compiled import compiled
from scheduling.exact.hash_table import slot_of
from scheduling.lowering.tables import Ints

Rows = NDArray[np.uint8]
OUTSIDE, CLEAN, DIRTY = 0, 1, 2
TRIES = 20  # children looked at per state that may be held


@compiled
def eviction_bytes(status: int, size: int, write: int) -> int:
    """Bytes that evicting a tensor costs: its write where it is dirty, and the load that follows."""
    return size + write if status == DIRTY else size


@compiled
def conversion_bytes(this: Rows, other: Rows, operators: int, size: Ints, write: Ints) -> int:
    """Bytes of the evictions and writes that turn one state into another with the same operators done."""
    total = 0
    for t in range(size.shape[0]):
        a, b = this[operators + t], other[operators + t]
        if a == DIRTY and b == CLEAN:
            total += write[t]
        elif a != OUTSIDE and b == OUTSIDE:
            total += eviction_bytes(a, size[t], write[t])
    return total


@compiled
def bound_bytes(
    row: Rows,
    operators: int,
    size: Ints,
    write: Ints,
    producer: Ints,
    cross_start: Ints,
    cross: Ints,
    surely: Ints,
    working_set: Ints,
    capacity: int,
) -> int:
    """Least bytes of evictions that are still to come."""
    most = 0
    for v in range(operators):
        if row[v]:
            continue
        cheap, dear = 0, 0  # bytes that cost once and twice themselves to evict
        for k in range(cross_start[v], cross_start[v + 1]):
            t = cross[k]
            status = row[operators + t]
            born = producer[t] < 0 or row[producer[t]]
            if status == CLEAN or (write[t] == 0 and (status == DIRTY or (not born and surely[k]))):
                cheap += size[t]
            elif status == DIRTY or (not born and surely[k]):
                dear += size[t]
        excess = cheap + dear + working_set[v] - capacity
        if excess > 0:
            most = max(most, excess + max(0, excess - cheap))
    return most


@compiled
def search_traffic(
    before_start: Ints,
    before: Ints,
    read_start: Ints,
    read: Ints,
    make_start: Ints,
    make: Ints,
    user_start: Ints,
    user: Ints,
    producer: Ints,
    size: Ints,
    write: Ints,
    cross_start: Ints,
    cross: Ints,
    surely: Ints,
    working_set: Ints,
    capacity: int,
    known: int,
    most_states: int,
) -> tuple[Rows, Ints, int]:
    """The cheapest way that costs fewer than `known` bytes beyond the compulsory ones, and a bound on any.

    N operators, T tensors; `before`, `read`, `make`: predecessors, tensors read and made of operator n from
    `.._start[n]` on; `user` the consumers of tensor t; `write` (T,) the bytes of a first write that nothing else
    asks for; `cross` the tensors that cross operator n, `surely` whether their producer is always before it.
    Returns the states along the way (N + 1, N + T) and the operators (N,), or none where the search found no such
    way, and the bound: `known` where there is none.
    """
    operators, tensors = working_set.shape[0], size.shape[0]
    width = operators + tensors
    rows = np.zeros((most_states, width), np.uint8)
    cost = np.empty(most_states, np.int64)
    parent = np.empty(most_states, np.int64)
    ran = np.empty(most_states, np.int64)
    following = np.empty(most_states, np.int64)  # next state with the same operators done
    useful = np.ones(most_states, np.bool_)
    table_size = 1 << 10
    while table_size < 2 * most_states:
        table_size *= 2
    table = np.full(table_size, -1, np.int64)
    cost[0], parent[0], ran[0], following[0] = 0, -1, -1, -1
    count, tries = 1, 0
    table[slot_of(table, rows, rows[0], operators)] = 0
    start = bound_bytes(
        rows[0], operators, size, write, producer, cross_start, cross, surely, working_set, capacity
    )
    heap: list[tuple[int, int, int]] = [(start, 0, 0)]
    row = np.empty(width, np.uint8)
    base = np.empty(width, np.uint8)
    evictable = np.empty(tensors, np.int64)
    picked = np.empty(tensors + 1, np.int64)
    while heap:
        total, negative_depth, state = heapq.heappop(heap)
        if total >= known:
            break
        if not useful[state]:
            continue
        depth = -negative_depth
        if depth == operators:
            way = np.empty((operators + 1, width), np.uint8)
            order = np.empty(operators, np.int64)
            for position in range(operators, -1, -1):
                way[position] = rows[state]
                if position:
                    order[position - 1] = ran[state]
                state = parent[state]
            return way, order, total
        used = 0
        for t in range(tensors):
            if rows[state, operators + t] != OUTSIDE:
                used += size[t]
        for v in range(operators):
            runs = not rows[state, v]
            for k in range(before_start[v], before_start[v + 1]):
                runs = runs and rows[state, before[k]] != 0
            if not runs:
                continue
            base[:] = rows[state]
            needed = used - capacity
            for k in range(make_start[v], make_start[v + 1]):
                needed += size[make[k]]
            for k in range(read_start[v], read_start[v + 1]):
                if base[operators + read[k]] == OUTSIDE:
                    needed += size[read[k]]
            # What may be evicted, largest first: then a choice that stops once it is enough has nothing to spare.
            choices = 0
            for t in range(tensors):
                if base[operators + t] == OUTSIDE or size[t] == 0:
                    continue
                reads = False
                for k in range(read_start[v], read_start[v + 1]):
                    reads = reads or read[k] == t
                if reads:
                    continue
                i = choices
                while i > 0 and size[evictable[i - 1]] < size[t]:
                    evictable[i] = evictable[i - 1]
                    i -= 1
                evictable[i] = t
                choices += 1
            # What running changes: reads that end, results that stay.
            base[v] = 1
            for k in range(read_start[v], read_start[v + 1]):
                t = read[k]
                left = False
                for u in range(user_start[t], user_start[t + 1]):
                    left = left or base[user[u]] == 0
                if not left:
                    base[operators + t] = OUTSIDE
                elif base[operators + t] == OUTSIDE:
                    base[operators + t] = CLEAN
            for k in range(make_start[v], make_start[v + 1]):
                t = make[k]
                base[operators + t] = DIRTY if user_start[t + 1] > user_start[t] else OUTSIDE
            # Every smallest set of evictions, depth first: picked[:depth_picked] are places in evictable.
            depth_picked, place, gone, price = 0, 0, 0, cost[state]
            while True:
                if gone >= needed:
                    tries += 1
                    if count == most_states or tries > TRIES * most_states:
                        return np.empty((0, width), np.uint8), np.empty(0, np.int64), total
                    row[:] = base
                    for i in range(depth_picked):
                        row[operators + evictable[picked[i]]] = OUTSIDE
                    slot = slot_of(table, rows, row, operators)
                    dominated = price >= known
                    other = table[slot]
                    while other >= 0 and not dominated:
                        if useful[other]:
                            if cost[other] <= price:
                                extra = conversion_bytes(rows[other], row, operators, size, write)
                                dominated = cost[other] + extra <= price
                            if not dominated and price <= cost[other]:
                                extra = conversion_bytes(row, rows[other], operators, size, write)
                                useful[other] = price + extra > cost[other]
                        other = following[other]
                    if not dominated:
                        least = price + bound_bytes(
                            row,
                            operators,
                            size,
                            write,
                            producer,
                            cross_start,
                            cross,
                            surely,
                            working_set,
                            capacity,
                        )
                        least = max(least, total)
                        if least < known:
                            rows[count] = row
                            cost[count], parent[count], ran[count] = price, state, v
                            following[count] = table[slot]
                            table[slot] = count
                            heapq.heappush(heap, (least, -(depth + 1), count))
                            count += 1
                elif place < choices:
                    t = evictable[place]
                    eviction = eviction_bytes(base[operators + t], size[t], write[t])
                    if price + eviction < known:
                        picked[depth_picked] = place
                        depth_picked += 1
                        gone += size[t]
                        price += eviction
                    place += 1
                    continue
                # Undo the last pick and go on behind it.
                if depth_picked == 0:
                    break
                depth_picked -= 1
                place = picked[depth_picked] + 1
                t = evictable[picked[depth_picked]]
                gone -= size[t]
                price -= eviction_bytes(base[operators + t], size[t], write[t])
    return np.empty((0, width), np.uint8), np.empty(0, np.int64), known
