"""Branch and bound for address assignment, compiled.

Buffers are placed from the bottom up, each as low as what lies below lets it. Only canonical solutions are looked
at: offsets never fall along the way, and at equal offsets one order is kept. So of the buffers those that are not
placed yet, the members of a node, all end up at the last offset or above.

Bounds. In a section (an interval of time in which a fixed set of buffers lives) members cannot overlap, and each
has a lowest offset: packed in the order of these, they end at a height that the capacity must allow. A member
that could have been placed below the last offset but was not has to rest on another member, so its lowest offset
is the lowest top of one.

Dominance. No member may be placed at or above a height below which another would fit whole, nor before another of
the same size and interval.

Decomposition. Where no member crosses a point of time, what lies before and after is solved by itself; when one
fails, the others are not tried again. The order within each part can be made anew, for now other members crowd it;
a member that was passed by at an offset remains so.
"""

from __future__ import annotations

import numpy as np

from hwmodel.compiled import compiled
from scheduling.lowering.tables import Ints

FOUND, NONE, UNDECIDED = 0, 1, 2
FAR = 2**62


@compiled
def lowest(
    i: int,
    size: Ints,
    overlap_start: Ints,
    overlap: Ints,
    low: Ints,
    offsets: Ints,
    passed: Ints,
    last_offset: int,
) -> int:
    """Lowest offset at which member i can still end up."""
    if low[i] > last_offset or (low[i] == last_offset and passed[i] != last_offset):
        return int(low[i])
    rest = FAR
    for k in range(overlap_start[i], overlap_start[i + 1]):
        j = overlap[k]
        if offsets[j] < 0:
            rest = min(rest, max(low[j], last_offset) + size[j])
    return rest


@compiled
def section_fits(
    section: int,
    section_start: Ints,
    section_buffer: Ints,
    size: Ints,
    overlap_start: Ints,
    overlap: Ints,
    low: Ints,
    offsets: Ints,
    passed: Ints,
    bound: Ints,
    last_offset: int,
    capacity: int,
) -> bool:
    """Whether the bound of one section allows its members."""
    count = 0
    packed = np.empty(section_start[section + 1] - section_start[section], np.int64)
    for k in range(section_start[section], section_start[section + 1]):
        i = section_buffer[k]
        if offsets[i] >= 0:
            continue
        bound[i] = lowest(i, size, overlap_start, overlap, low, offsets, passed, last_offset)
        place_at = count
        while place_at > 0 and bound[packed[place_at - 1]] > bound[i]:
            packed[place_at] = packed[place_at - 1]
            place_at -= 1
        packed[place_at] = i
        count += 1
    top = 0
    for k in range(count):
        top = max(top, bound[packed[k]]) + size[packed[k]]
    return top <= capacity


@compiled
def fits(
    members: Ints,
    first: Ints,
    stop: Ints,
    section_start: Ints,
    section_buffer: Ints,
    size: Ints,
    overlap_start: Ints,
    overlap: Ints,
    low: Ints,
    offsets: Ints,
    passed: Ints,
    bound: Ints,
    top: Ints,
    tight: Ints,
    last_offset: int,
    capacity: int,
) -> bool:
    """Whether the bounds allow the members above the last placed one.

    `bound` and `top` are room to work in; `tight[0]` is the section where a bound failed last: it is tried first,
    unless others than the members live there, for which the last offset says nothing.
    """
    start, end = FAR, 0
    for i in members:
        start, end = min(start, first[i]), max(end, stop[i])
    if start <= tight[0] < end and not section_fits(
        tight[0], section_start, section_buffer, size, overlap_start, overlap, low, offsets, passed, bound,
        last_offset, capacity,
    ):  # fmt: skip
        return False
    for i in members:
        bound[i] = lowest(i, size, overlap_start, overlap, low, offsets, passed, last_offset)
        if bound[i] + size[i] > capacity:
            tight[0] = first[i]
            return False
        for s in range(first[i], stop[i]):
            top[s] = 0
    for i in members[np.argsort(bound[members])]:
        for s in range(first[i], stop[i]):
            top[s] = max(top[s], bound[i]) + size[i]
            if top[s] > capacity:
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
def most_crowded_first(members: Ints, first: Ints, stop: Ints, size: Ints, top: Ints) -> Ints:
    """Sort members by the most bytes of members that live at once while one lives, then ascending.

    `top` is room to work in.
    """
    top[:] = 0
    for i in members:
        for s in range(first[i], stop[i]):
            top[s] += size[i]
    ascending = np.sort(members)
    crowd = np.zeros(members.shape[0], np.int64)
    for p in range(members.shape[0]):
        for s in range(first[ascending[p]], stop[ascending[p]]):
            crowd[p] = max(crowd[p], top[s])
    return ascending[np.argsort(-crowd, kind="mergesort")]


@compiled
def place(
    members: Ints,
    first: Ints,
    stop: Ints,
    section_start: Ints,
    section_buffer: Ints,
    size: Ints,
    twin: Ints,
    overlap_start: Ints,
    overlap: Ints,
    low: Ints,
    offsets: Ints,
    passed: Ints,
    bound: Ints,
    top: Ints,
    group: Ints,
    tight: Ints,
    last_offset: int,
    capacity: int,
    crowded: bool,
    nodes: Ints,
) -> int:
    """Place the members, at equal offsets in the given order: FOUND with `offsets` set, else nothing has changed.

    `passed[i]` is the offset at which i comes too late; with `crowded` the parts into which members fall are sorted
    anew. `nodes[0]` counts placements down; below 0 the answer is UNDECIDED.
    """
    if not members.shape[0]:
        return FOUND
    below = FAR
    for i in members:
        below = min(below, low[i] + size[i])
    candidates = np.empty(members.shape[0], np.int64)
    count = 0
    for p in range(members.shape[0]):
        i = members[p]
        follows = low[i] > last_offset or (low[i] == last_offset and passed[i] != last_offset)
        if follows and low[i] < below and (twin[i] < 0 or offsets[twin[i]] >= 0):
            candidates[count] = p
            count += 1
    candidates = candidates[:count]
    was = low[members]
    was_passed = passed[members]
    for position in candidates[np.argsort(low[members[candidates]], kind="mergesort")]:
        nodes[0] -= 1
        if nodes[0] < 0:
            return UNDECIDED
        chosen = members[position]
        offset = low[chosen]
        offsets[chosen] = offset
        for p in range(position):
            passed[members[p]] = offset
        for k in range(overlap_start[chosen], overlap_start[chosen + 1]):
            i = overlap[k]
            if offsets[i] < 0:
                low[i] = max(low[i], offset + size[chosen])
        rest = members[members != chosen]
        status = NONE
        if fits(
            rest, first, stop, section_start, section_buffer, size, overlap_start, overlap, low, offsets, passed, bound,
            top, tight, offset, capacity,
        ):  # fmt: skip
            groups = split(rest, first, stop, group, top)
            own = group[rest]
            status = FOUND
            for g in range(groups):
                part = rest[own == g]
                if crowded and groups > 1:
                    part = most_crowded_first(part, first, stop, size, top)
                status = place(
                    part, first, stop, section_start, section_buffer, size, twin, overlap_start, overlap,
                    low, offsets, passed, bound, top, group, tight, offset, capacity, crowded, nodes,
                )  # fmt: skip
                if status != FOUND:
                    break
        if status == FOUND:
            return FOUND
        for k in range(members.shape[0]):
            low[members[k]] = was[k]
            offsets[members[k]] = -1
            passed[members[k]] = was_passed[k]
        if status == UNDECIDED:
            return UNDECIDED
    return NONE
