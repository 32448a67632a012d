"""Address assignment: exact packings cut from a rectangle, brute force, proofs that there is none."""

import itertools
import random

import pytest

from scheduling.exact.address_model import address_assignment_by_cpsat
from scheduling.exact.addresses import Addresses, Answer, Buffer, address_assignment

TOO_TIGHT = [
    (6, [(2, 5, 1), (2, 4, 2), (1, 3, 2), (0, 5, 1), (4, 8, 3), (1, 2, 3), (3, 7, 1), (7, 8, 3), (6, 7, 1),
         (0, 1, 3), (5, 7, 1), (0, 1, 1), (5, 6, 1), (0, 1, 1)]),
    (7, [(4, 5, 2), (2, 5, 1), (3, 8, 3), (0, 3, 2), (0, 5, 1), (2, 3, 2), (5, 6, 2), (5, 6, 2), (6, 7, 3),
         (6, 8, 1), (1, 2, 3), (0, 4, 1)]),
    (6, [(5, 6, 3), (3, 5, 3), (4, 5, 2), (0, 5, 1), (1, 4, 1), (0, 1, 3), (2, 4, 1), (1, 3, 2), (7, 8, 2),
         (0, 2, 2), (5, 8, 1), (2, 3, 1), (6, 8, 2)]),
]  # fmt: skip


def peak_bytes(buffers: list[Buffer]) -> int:
    return max(sum(b.size_bytes for b in buffers if b.begin <= a.begin < b.end) for a in buffers)


def overlap(a: Buffer, at: int, b: Buffer, other: int) -> bool:
    in_time = max(a.begin, b.begin) < min(a.end, b.end)
    return in_time and at < other + b.size_bytes and other < at + a.size_bytes


def checked(buffers: list[Buffer], capacity: int, nodes: int = 100_000) -> Addresses:
    return holding(address_assignment(buffers, capacity, nodes=nodes), buffers, capacity)


def holding(found: Addresses, buffers: list[Buffer], capacity: int) -> Addresses:
    """The same, if its offsets are inside the capacity and nothing overlaps."""
    if found.answer is Answer.FOUND:
        assert len(found.offsets) == len(buffers)
        for buffer, at in zip(buffers, found.offsets, strict=True):
            assert at >= 0
            assert at + buffer.size_bytes <= capacity or buffer.begin == buffer.end
        for (a, at), (b, other) in itertools.combinations(zip(buffers, found.offsets, strict=True), 2):
            assert not overlap(a, at, b, other)
    else:
        assert found.offsets == ()
    return found


def brute_force(buffers: list[Buffer], capacity: int, placed: tuple[int, ...] = ()) -> bool:
    """Whether any offsets fit, by trying them all."""
    if len(placed) == len(buffers):
        return True
    buffer = buffers[len(placed)]
    return any(
        brute_force(buffers, capacity, (*placed, at))
        for at in range(capacity - buffer.size_bytes + 1)
        if not any(overlap(buffer, at, b, o) for b, o in zip(buffers, placed, strict=False))
    )


def random_buffers(count: int, times: int, sizes: int, rng: random.Random) -> list[Buffer]:
    ends = (sorted(rng.sample(range(times + 1), 2)) for _ in range(count))
    return [Buffer(begin, end, rng.randint(1, sizes)) for begin, end in ends]


def crowded_buffers(times: int, capacity: int, rng: random.Random) -> list[Buffer]:
    """Random buffers as long as they fit the capacity at each time: nearly no room is left."""
    load = [0] * times
    buffers = []
    for _ in range(60):
        begin, end = sorted(rng.sample(range(times + 1), 2))
        size = rng.randint(1, 3)
        if all(load[t] + size <= capacity for t in range(begin, end)):
            buffers.append(Buffer(begin, end, size))
            load[begin:end] = (held + size for held in load[begin:end])
    return buffers


def cut_rectangle(count: int, times: int, capacity: int, rng: random.Random) -> list[Buffer]:
    """Buffers that fill the capacity all the time: a rectangle cut in two again and again."""
    pieces = [(0, times, 0, capacity)]
    while len(pieces) < count:
        begin, end, low, high = pieces.pop(rng.randrange(len(pieces)))
        if rng.random() < 0.5 and end - begin > 1:
            middle = rng.randint(begin + 1, end - 1)
            pieces += [(begin, middle, low, high), (middle, end, low, high)]
        elif high - low > 1:
            middle = rng.randint(low + 1, high - 1)
            pieces += [(begin, end, low, middle), (begin, end, middle, high)]
        else:
            pieces.append((begin, end, low, high))
    rng.shuffle(pieces)
    return [Buffer(begin, end, high - low) for begin, end, low, high in pieces]


def test_against_brute_force() -> None:
    rng = random.Random(1)
    for _ in range(300):
        buffers = random_buffers(rng.randint(1, 7), 6, 4, rng)
        capacity = peak_bytes(buffers)
        found = checked(buffers, capacity)
        assert found.answer is (Answer.FOUND if brute_force(buffers, capacity) else Answer.IMPOSSIBLE)


def test_crowded_buffers_against_brute_force() -> None:
    rng = random.Random(7)
    for _ in range(300):
        capacity = rng.randint(5, 8)
        buffers = crowded_buffers(rng.randint(6, 10), capacity, rng)
        found = checked(buffers, capacity)
        assert found.answer is (Answer.FOUND if brute_force(sorted(buffers), capacity) else Answer.IMPOSSIBLE)


@pytest.mark.parametrize("capacity, buffers", TOO_TIGHT)
def test_the_least_sum_of_sizes_is_not_always_enough(
    capacity: int, buffers: list[tuple[int, int, int]]
) -> None:
    """At no time are more bytes live than the capacity, and still there are no offsets."""
    given = [Buffer(*buffer) for buffer in buffers]
    assert peak_bytes(given) == capacity
    assert checked(given, capacity).answer is Answer.IMPOSSIBLE
    assert not brute_force(sorted(given), capacity)
    assert checked(given, capacity + 1).answer is Answer.FOUND


def near_miss(buffers: list[tuple[int, int, int]], capacity: int, rng: random.Random) -> list[Buffer]:
    """The buffers, two of them longer, shorter or of another size, with as many bytes live at most as the capacity."""
    while True:
        found = [Buffer(*buffer) for buffer in buffers]
        for i in rng.sample(range(len(found)), 2):
            begin, end, size = found[i]
            begin, end = rng.choice(
                [(begin, end), (max(0, begin - 1), end), (begin, end + 1), (begin, end - 1)]
            )
            found[i] = Buffer(begin, max(begin + 1, end), max(1, size + rng.randint(-1, 1)))
        if peak_bytes(found) == capacity:
            return found


def test_near_misses_against_brute_force() -> None:
    """About half of them have offsets: no bound may leave out a way to place the buffers."""
    rng = random.Random(11)
    answers = []
    for case in range(60):
        capacity, buffers = TOO_TIGHT[case % len(TOO_TIGHT)]
        changed = near_miss(buffers, capacity, rng)
        answers.append(checked(changed, capacity).answer)
        assert answers[-1] is (Answer.FOUND if brute_force(sorted(changed), capacity) else Answer.IMPOSSIBLE)
    assert 20 <= answers.count(Answer.IMPOSSIBLE) <= 40


def test_both_solvers_say_the_same() -> None:
    """CP-SAT and the project's own search, where there is room and where there is none, empty buffers included."""
    rng = random.Random(9)
    cases = [(capacity, [Buffer(*buffer) for buffer in buffers]) for capacity, buffers in TOO_TIGHT]
    cases += [(60 - room, cut_rectangle(12, 40, 60, rng)) for room in (0, 1) for _ in range(5)]
    cases += [(8, crowded_buffers(8, 8, rng)) for _ in range(10)]
    cases += [(4, [Buffer(0, 0, 9), Buffer(0, 3, 0), Buffer(1, 2, 4)]), (4, [Buffer(1, 2, 5)]), (4, [])]
    for capacity, buffers in cases:
        found = holding(address_assignment_by_cpsat(buffers, capacity), buffers, capacity)
        assert found.answer is checked(buffers, capacity).answer
    with pytest.raises(ValueError, match="buffer 0"):
        address_assignment_by_cpsat([Buffer(2, 1, 1)], 4)
    again = [address_assignment_by_cpsat(cut_rectangle(40, 60, 90, random.Random(1)), 90) for _ in range(2)]
    assert again[0] == again[1]


def test_packings_without_a_gap_are_found() -> None:
    rng = random.Random(3)
    for count in (5, 10, 20, 30):
        for _ in range(5):
            buffers = cut_rectangle(count, 40, 60, rng)
            assert checked(buffers, 60).answer is Answer.FOUND
            assert checked(buffers, 59).answer is Answer.IMPOSSIBLE


@pytest.mark.parametrize("count", [60, 100])
def test_many_pieces_without_a_gap_take_few_placements(count: int) -> None:
    """About one a piece where an order fits, and the first tries of the others."""
    for seed in range(3):
        buffers = cut_rectangle(count, 400, 1000, random.Random(seed))
        assert checked(buffers, 1000, nodes=4000).answer is Answer.FOUND


def test_many_buffers_with_room_are_quick() -> None:
    rng = random.Random(4)
    buffers = random_buffers(300, 400, 50, rng)
    assert checked(buffers, peak_bytes(buffers) * 5 // 4).answer is Answer.FOUND


def test_out_of_nodes_it_is_undecided() -> None:
    buffers = cut_rectangle(60, 400, 1000, random.Random(5))
    found = checked(buffers, 1000, nodes=50)
    assert found.answer is Answer.UNDECIDED
    assert 50 <= found.nodes <= 60
    assert address_assignment(buffers, 1000, seconds=0.0).answer is Answer.UNDECIDED


def test_buffers_that_need_nothing() -> None:
    assert address_assignment([], 0).answer is Answer.FOUND
    found = checked([Buffer(3, 3, 10), Buffer(0, 9, 0), Buffer(0, 9, 4)], 4)
    assert (found.answer, found.offsets) == (Answer.FOUND, (0, 0, 0))
    assert checked([Buffer(0, 1, 1)], 0).answer is Answer.IMPOSSIBLE


def test_the_same_question_has_the_same_answer() -> None:
    buffers = cut_rectangle(40, 100, 200, random.Random(6))
    assert address_assignment(buffers, 200) == address_assignment(buffers, 200)


@pytest.mark.parametrize("buffer", [Buffer(2, 1, 3), Buffer(0, 1, -1)])
def test_buffers_that_cannot_be(buffer: Buffer) -> None:
    with pytest.raises(ValueError, match="buffer 1 is Buffer"):
        address_assignment([Buffer(0, 1, 1), buffer], 10)
