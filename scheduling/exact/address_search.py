"""Branch and bound for address assignment, compiled.

Buffers are placed from the bottom up, each as low as what lies below lets it. Only canonical solutions are looked
at: offsets never fall along the way, and at equal offsets one order is kept. So of the buffers those that are not
placed yet, the members of a node, all end up at the last offset or above.

Bounds. In a section (an interval of time in which a fixed set of buffers lives) members cannot overlap, and each
has a lowest offset: packed in the order of these, they end at a height that the capacity must allow. A member
that was passed by, that is could have been placed below the last offset but was not, has to rest on another member,
so its lowest offset is the lowest top of one. This is asked after each placement, and again before each placement
that comes after a failed one: all that is left to try passes by what failed, so where the bound fails then, the node
does.

Dominance. No member may be placed at or above a height below which another would fit whole, nor before another of
the same size and interval.

Decomposition. Where no member crosses a point of time, what lies before and after is solved by itself; when one
fails, the others are not tried again. The order within each part can be made anew, for now other members crowd it;
a member that was passed by at an offset remains so.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled, compiled_inner
from scheduling.lowering.tables import Ints

FOUND, NONE, UNDECIDED = 0, 1, 2
FAR = 2**62


class Given(NamedTuple):
    """What is to be placed: buffer i lives in sections first[i] <= s < stop[i].

    Buffers in section s are `section_buffer[section_start[s]:section_start[s + 1]]`, those that live at the same time
    as buffer i `overlap[overlap_start[i]:overlap_start[i + 1]]`; `twin[i]` is the one before i that is of the same
    size and interval, or -1. With `crowded` the parts into which members fall are sorted anew.
    """

    first: Ints
    stop: Ints
    size: Ints
    twin: Ints
    section_start: Ints
    section_buffer: Ints
    overlap_start: Ints
    overlap: Ints
    capacity: int
    crowded: bool


class State(NamedTuple):
    """Where a search is; `low`, `offsets` and `passed` by buffer.

    `low[i]` is the top of what is placed below i, `offsets[i]` is -1 until i is placed, and `passed[i]` is the last
    offset at which i was passed by. `nodes[0]` counts placements down. `tight[0]` is the section where a bound failed
    last. `bound`, `packed` and `group`, by buffer, and `top`, by section and one more, are room to work in.
    """

    low: Ints
    offsets: Ints
    passed: Ints
    nodes: Ints
    tight: Ints
    bound: Ints
    packed: Ints
    group: Ints
    top: Ints


def start(given: Given, nodes: int) -> State:
    """Nothing is placed."""
    count, sections = len(given.size), len(given.section_start) - 1
    none = np.full(count, -1, np.int64)
    return State(
        np.zeros(count, np.int64),
        none,
        none.copy(),
        np.array([nodes], np.int64),
        np.zeros(1, np.int64),
        none.copy(),
        none.copy(),
        none.copy(),
        np.zeros(sections + 1, np.int64),
    )


@compiled_inner
def follows(i: int, state: State, last_offset: int) -> bool:
    """Whether member i can still be placed at its low: it was not passed by."""
    return bool(
        state.low[i] > last_offset or (state.low[i] == last_offset and state.passed[i] != last_offset)
    )


@compiled_inner
def lowest(i: int, given: Given, state: State, last_offset: int) -> int:
    """Lowest offset at which member i can still end up."""
    if follows(i, state, last_offset):
        return int(state.low[i])
    rest = FAR
    for k in range(given.overlap_start[i], given.overlap_start[i + 1]):
        j = given.overlap[k]
        if state.offsets[j] < 0:
            rest = min(rest, max(state.low[j], last_offset) + given.size[j])
    return rest


@compiled_inner
def section_fits(section: int, given: Given, state: State, last_offset: int) -> bool:
    """Whether the bound of one section allows its members."""
    bound, packed = state.bound, state.packed
    count = 0
    for k in range(given.section_start[section], given.section_start[section + 1]):
        i = given.section_buffer[k]
        if state.offsets[i] >= 0:
            continue
        bound[i] = lowest(i, given, state, last_offset)
        place_at = count
        while place_at > 0 and bound[packed[place_at - 1]] > bound[i]:
            packed[place_at] = packed[place_at - 1]
            place_at -= 1
        packed[place_at] = i
        count += 1
    top = 0
    for k in range(count):
        top = max(top, bound[packed[k]]) + given.size[packed[k]]
    return top <= given.capacity


@compiled
def fits(members: Ints, given: Given, state: State, last_offset: int) -> bool:
    """Whether the bounds allow the members at the last offset and above.

    The section where a bound failed last is tried first, unless others than the members live there, for which the
    last offset says nothing.
    """
    first, stop, bound, top, tight = given.first, given.stop, state.bound, state.top, state.tight
    start, end = FAR, 0
    for i in members:
        start, end = min(start, first[i]), max(end, stop[i])
    if start <= tight[0] < end and not section_fits(tight[0], given, state, last_offset):
        return False
    for i in members:
        bound[i] = lowest(i, given, state, last_offset)
        if bound[i] + given.size[i] > given.capacity:
            tight[0] = first[i]
            return False
        for s in range(first[i], stop[i]):
            top[s] = 0
    for i in members[np.argsort(bound[members])]:
        for s in range(first[i], stop[i]):
            top[s] = max(top[s], bound[i]) + given.size[i]
            if top[s] > given.capacity:
                tight[0] = s
                return False
    return True


@compiled
def split(members: Ints, first: Ints, stop: Ints, group: Ints, crossing: Ints) -> int:
    """Number the groups of members between which no member crosses, into `group`; return how many there are."""
    crossing[:] = 0
    for i in members:
        crossing[first[i]] += 1
        crossing[stop[i] - 1] -= 1
    groups, open_members = 0, 0
    for s in range(crossing.shape[0]):  # from here on: the number of the group that holds section s
        open_members += crossing[s]
        crossing[s] = groups
        if not open_members:
            groups += 1
    # Sections in which no member lives have numbers too: close the gaps.
    used = np.full(groups + 1, -1, np.int64)
    for i in members:
        used[crossing[first[i]]] = 0
    groups = 0
    for g in range(used.shape[0]):
        if used[g] == 0:
            used[g] = groups
            groups += 1
    for i in members:
        group[i] = used[crossing[first[i]]]
    return groups


@compiled
def most_crowded_first(members: Ints, given: Given, top: Ints) -> Ints:
    """Sort members by the most bytes of members that live at once while one lives, then ascending.

    `top`, by section and one more, is room to work in.
    """
    first, stop = given.first, given.stop
    top[:] = 0
    for i in members:
        for s in range(first[i], stop[i]):
            top[s] += given.size[i]
    ascending = np.sort(members)
    crowd = np.zeros(members.shape[0], np.int64)
    for p in range(members.shape[0]):
        for s in range(first[ascending[p]], stop[ascending[p]]):
            crowd[p] = max(crowd[p], top[s])
    return ascending[np.argsort(-crowd, kind="mergesort")]


@compiled
def candidates(members: Ints, given: Given, state: State, last_offset: int) -> Ints:
    """Positions in `members` of those that may be placed next, by offset, then in the order of the members."""
    low, size, twin = state.low, given.size, given.twin
    below = FAR
    for i in members:
        below = min(below, low[i] + size[i])
    found = np.empty(members.shape[0], np.int64)
    count = 0
    for p in range(members.shape[0]):
        i = members[p]
        if follows(i, state, last_offset) and low[i] < below and (twin[i] < 0 or state.offsets[twin[i]] >= 0):
            found[count] = p
            count += 1
    found = found[:count]
    return found[np.argsort(low[members[found]], kind="mergesort")]


@compiled_inner
def restore(members: Ints, state: State, low: Ints, passed: Ints) -> None:
    """Take members away from where they were placed."""
    for k in range(members.shape[0]):
        state.offsets[members[k]] = -1
        state.low[members[k]] = low[k]
        state.passed[members[k]] = passed[k]


@compiled
def place(members: Ints, given: Given, state: State, last_offset: int) -> int:
    """Place the members, at equal offsets in the given order.

    FOUND with `state.offsets` set; or NONE, or UNDECIDED where the nodes ran out: then `state.low`, `state.offsets` and
    `state.passed` are as before.
    """
    low, offsets, passed = state.low, state.offsets, state.passed
    was_low, was_passed = low[members], passed[members]
    status, failed = NONE, False
    if not members.shape[0]:
        status = FOUND
    for position in candidates(members, given, state, last_offset):
        chosen = members[position]
        offset = low[chosen]
        for p in range(position):
            passed[members[p]] = offset
        if failed and not fits(members, given, state, offset):
            break
        state.nodes[0] -= 1
        if state.nodes[0] < 0:
            status = UNDECIDED
            break
        offsets[chosen] = offset
        for k in range(given.overlap_start[chosen], given.overlap_start[chosen + 1]):
            i = given.overlap[k]
            if offsets[i] < 0:
                low[i] = max(low[i], offset + given.size[chosen])
        rest = members[members != chosen]
        if fits(rest, given, state, offset):
            status = FOUND
            parts = split(rest, given.first, given.stop, state.group, state.top)
            own = state.group[rest]
            for g in range(parts):
                part = rest[own == g]
                if given.crowded and parts > 1:
                    part = most_crowded_first(part, given, state.top)
                status = place(part, given, state, offset)
                if status != FOUND:
                    break
        if status != NONE:
            break
        failed = True
        restore(members, state, was_low, was_passed)
    if status != FOUND:
        restore(members, state, was_low, was_passed)
    return status
