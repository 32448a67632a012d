"""Free places in the last-level buffer over time: first fit among items that are there in some steps only."""

from __future__ import annotations

from hwmodel.compiled import compiled_leaf
from scheduling.lowering.tables import Ints


@compiled_leaf
def first_fit(items: Ints, sorted_items: Ints, count: int, windows: Ints, size: int, capacity: int) -> int:
    """Lowest offset free in all `windows` (first, last step); -1 if there is none.

    `items`: (begin, end, address, size) rows; `sorted_items`: the first `count` of them by address.
    """
    offset = 0
    for k in range(count):
        i = sorted_items[k]
        if items[i, 2] >= offset + size:
            break
        if items[i, 2] + items[i, 3] > offset:
            for w in range(windows.shape[0]):
                if items[i, 0] <= windows[w, 1] and windows[w, 0] <= items[i, 1]:
                    offset = items[i, 2] + items[i, 3]
                    break
    return offset if offset + size <= capacity else -1


@compiled_leaf
def first_fit_always(items: Ints, sorted_items: Ints, count: int, size: int, capacity: int) -> int:
    """The same where all of these items are there in some of the steps."""
    offset = 0
    for k in range(count):
        i = sorted_items[k]
        if items[i, 2] >= offset + size:
            break
        offset = max(offset, items[i, 2] + items[i, 3])
    return offset if offset + size <= capacity else -1


@compiled_leaf
def insert(items: Ints, sorted_items: Ints, count: int, begin: int, end: int, address: int, size: int) -> int:
    items[count, 0] = begin
    items[count, 1] = end
    items[count, 2] = address
    items[count, 3] = size
    insert_sorted(items, sorted_items, count, count)
    return count + 1


@compiled_leaf
def insert_sorted(items: Ints, sorted_items: Ints, count: int, item: int) -> None:
    """Put an item among the first `count` of `sorted_items`, by address."""
    address = items[item, 2]
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if items[sorted_items[middle], 2] > address:
            high = middle
        else:
            low = middle + 1
    for k in range(count, low, -1):
        sorted_items[k] = sorted_items[k - 1]
    sorted_items[low] = item


@compiled_leaf
def at_the_time(items: Ints, sorted_items: Ints, count: int, windows: Ints, found: Ints) -> int:
    """Write into `found` those of the first `count` of `sorted_items` that are there in some of `windows` (first, last
    step); returns how many these are."""
    number = 0
    for k in range(count):
        i = sorted_items[k]
        for w in range(windows.shape[0]):
            if items[i, 0] <= windows[w, 1] and windows[w, 0] <= items[i, 1]:
                found[number] = i
                number += 1
                break
    return number
