"""Who touched what: which rows must have finished before bytes are read, written or written over."""

from __future__ import annotations

from hwmodel.compiled import compiled_inner
from scheduling.choice import RECOMPUTE
from scheduling.lowering.draft import LOGGED, Draft, Site
from scheduling.lowering.geometry import Geometry
from scheduling.lowering.region_maps import needed_rows
from scheduling.lowering.shares import piece_rows
from scheduling.lowering.tables import Ints, NetworkTable
from scheduling.lowering.waits import later


@compiled_inner
def wait_for_writers(written: Ints, waits: Ints, tensor: int, piece: int) -> None:
    """Wait for the rows that wrote pieces up to `piece` of a local tensor. `written` is a Draft's."""
    for engine in range(3):
        later(waits, engine, written[tensor, piece, engine])


@compiled_inner
def wait_for_place(site: Site, draft: Draft, position: int) -> None:
    """Wait until the piece that the operation at `position` writes has its place: for readers of the rows that its
    ring overwrites and, of the first piece, for every access to tensors that had these addresses before."""
    plan, latest, births, last_access = site.plan, draft.latest, draft.births, draft.last_access
    size, address, dies = plan.size_bytes, plan.address, plan.dies
    t = plan.tensor[position]
    _wait_for_readers(
        site.net, site.geo, draft.reads, draft.read_head, latest, plan.ring_rows[t], t, plan.piece[position]
    )
    caches = site.choice.halo != RECOMPUTE
    if plan.born[t] == position and size[t] > 0:
        for other in range(size.shape[0]):
            if (
                size[other] > 0
                and 0 <= dies[other] < position
                and address[other] < address[t] + size[t]
                and address[t] < address[other] + size[other]
            ):
                for engine in range(3):
                    later(latest, engine, last_access[other, engine])
        if caches:
            for engine in range(4):
                births[t, engine] = latest[engine]
    elif caches:  # another engine may have written it first
        for engine in range(3):
            later(latest, engine, births[t, engine])


@compiled_inner
def _wait_for_readers(
    net: NetworkTable,
    geo: Geometry,
    reads: Ints,
    read_head: Ints,
    waits: Ints,
    ring_rows: int,
    t: int,
    p: int,
) -> None:
    start, ends = geo.start, geo.ends
    highest = 0
    for way in range(start.shape[0]):
        highest = max(highest, ends[way, t, p])
    entry = read_head[t] if highest > ring_rows else -1  # else no row is written over
    while entry >= 0:
        sent = reads[entry, 2] < 0 and reads[entry, 1] != t  # to its copy; until then nothing is written over
        if sent or reads[entry, 5] <= waits[reads[entry, 4]]:  # it would change nothing
            entry = reads[entry, 0]
            continue
        for way in range(start.shape[0]):
            low, high = piece_rows(start, ends, way, t, p)
            first, stop = piece_rows(start, ends, way, reads[entry, 1], reads[entry, 3])
            if first >= stop or low >= high:
                continue
            e = reads[entry, 2]
            if e >= 0:  # from rows of the reading layer's output to rows of this tensor
                first, stop = needed_rows(net, e, first, stop)
            if first < high - ring_rows and stop > low - ring_rows:
                later(waits, reads[entry, 4], reads[entry, 5])
        entry = reads[entry, 0]


@compiled_inner
def log_write(draft: Draft, tensor: int, piece: int, engine: int, row: int) -> None:
    """Note that `row` is the last one that writes a piece of a local tensor."""
    draft.last_access[tensor, engine] = row
    written = draft.written
    for later_piece in range(piece, written.shape[1]):
        written[tensor, later_piece, engine] = row


@compiled_inner
def log_read(draft: Draft, tensor: int, reader: int, edge: int, piece: int, engine: int, row: int) -> None:
    """Note that `row` is the last one that reads a local tensor for a piece of `reader`, a layer's output that reads
    it by `edge`; or with edge -1 for a piece of the tensor itself or of its copy."""
    reads, head, state, last_access = draft.reads, draft.read_head, draft.state, draft.last_access
    count = state[LOGGED]
    reads[count, 0] = head[tensor]
    reads[count, 1] = reader
    reads[count, 2] = edge
    reads[count, 3] = piece
    reads[count, 4] = engine
    reads[count, 5] = row
    head[tensor] = count
    state[LOGGED] = count + 1
    last_access[tensor, engine] = max(last_access[tensor, engine], row)
