"""Views, parts and copies."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tests.graph.drawing import Drawing
from tests.graph.drawn.registry import INT64, draws


@draws("Reshape")
def reshape(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3), 1, 6)
    elements = int(np.prod(sizes))
    target = [d.batch]
    while elements > 1 and len(target) < 4:
        target.append(d.pick(*[n for n in range(1, elements + 1) if elements % n == 0]))
        elements //= target[-1]
    target.append(elements)
    if d.pick(True, False, False):
        target[0:2] = [target[0] * target[1]]
    elif d.pick(True, False):
        target[0] = 0
    if d.pick(True, False) and 0 not in target[1:]:
        target[-1] = -1
    return d.b.node(name, d.x(*sizes), d.b.integers(*target))


@draws("Flatten")
def flatten(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    axis = d.size(1, 1 + len(sizes))
    if axis <= len(sizes):
        axis = d.axis(axis, 1 + len(sizes))
    return d.b.node(name, d.x(*sizes), axis=axis)


@draws("Transpose")
def transpose(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 4), 1, 4)
    return d.b.node(name, d.x(*sizes), **d.optional(perm=[0, *(1 + axis for axis in d.order(len(sizes)))]))


@draws("Squeeze", opsets=[11, 17])
def squeeze(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3), 2, 4)
    ones = sorted(d.some(range(4)))
    shape = list(sizes)
    for place in ones:
        shape.insert(min(place, len(shape)), 1)
    axes = [1 + axis for axis, size in enumerate(shape) if size == 1]
    if d.opset < 13:
        return d.b.node(name, d.x(*shape), axes=axes)
    if d.batch > 1 and d.pick(True, False):
        return d.b.node(name, d.x(*shape))
    return d.b.node(name, d.x(*shape), d.b.integers(*(d.axis(axis, 1 + len(shape)) for axis in axes)))


@draws("Unsqueeze", opsets=[11, 17])
def unsqueeze(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    count = d.size(1, 2)
    axes = d.some(range(1 + len(sizes) + count), count)[:count]
    if d.opset < 13:
        return d.b.node(name, d.x(*sizes), axes=sorted(axes))
    axes = [d.axis(axis, 1 + len(sizes) + count) for axis in axes]
    return d.b.node(name, d.x(*sizes), d.b.integers(*axes))


@draws("Expand")
def expand(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    given = [d.pick(1, size) for size in sizes]
    return d.b.node(name, d.x(*given), d.b.integers(*sizes[d.size(0, len(sizes) - 1) :]))


@draws("Tile")
def tile(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3), 1, 4)
    return d.b.node(name, d.x(*sizes), d.b.integers(1, *d.sizes(len(sizes), 1, 3)))


@draws("Slice", opsets=[9, 17])
def slice_(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3), 1, 6)
    axes = d.some(range(1, 1 + len(sizes)))
    starts, ends, steps = [], [], []
    for axis in axes:
        size = sizes[axis - 1]
        start = d.size(0, size - 1)
        stop = d.size(start + 1, size)
        step = d.pick(1, 1, 2, 3)
        if d.opset > 9 and d.pick(True, False):
            # The same positions from behind; before the first one is -size - 1.
            start, stop, step = stop - 1, (start - 1 if start else -size - 1), -step
        elif d.pick(True, False):
            start -= size
        starts.append(start)
        ends.append(stop)
        steps.append(step)
    if d.opset < 10:
        return d.b.node(name, d.x(*sizes), axes=axes, starts=starts, ends=ends)
    places = [
        d.b.integers(*values) for values in (starts, ends, [d.axis(a, 1 + len(sizes)) for a in axes], steps)
    ]
    return d.b.node(name, d.x(*sizes), *places)


@draws("Split", opsets=[11, 17, 18])
def split(d: Drawing, name: str) -> tuple[str, ...]:
    sizes = d.sizes(d.size(1, 3), 2, 6)
    axis = d.size(1, len(sizes))
    place = d.axis(axis, 1 + len(sizes))
    size = sizes[axis - 1]
    count = d.size(2, min(3, size))
    x = d.x(*sizes)
    if d.opset == 18 and d.pick(True, False):
        outputs = d.b.nodes_of(name, count, x, axis=place, num_outputs=count)
        return (
            tuple(outputs)
            if -(-size // count) * (count - 1) < size
            else _parts(d, name, x, place, size, count)
        )
    return _parts(d, name, x, place, size, count)


def _parts(d: Drawing, name: str, x: str, axis: int, size: int, count: int) -> tuple[str, ...]:
    cuts = [0, *sorted(d.some(range(1, size), count - 1)[: count - 1]), size]
    parts = [b - a for a, b in pairwise(cuts)]
    if d.opset < 13:
        return tuple(d.b.nodes_of(name, count, x, axis=axis, split=parts))
    return tuple(d.b.nodes_of(name, count, x, d.b.integers(*parts), axis=axis))


@draws("Concat")
def concat(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    axis = d.size(1, len(sizes))
    items = [d.x(*sizes)]
    for _ in range(d.size(0, 2)):
        other = list(sizes)
        other[axis - 1] = d.size()
        constant = d.batch == 1 and d.pick(True, False, False)
        items.append(d.b.random(1, *other) if constant else d.x(*other))
    return d.b.node(name, *(items[i] for i in d.order(len(items))), axis=d.axis(axis, 1 + len(sizes)))


@draws("Pad", opsets=[7, 17])
def pad(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3), 2, 5)
    mode = d.pick("constant", "constant", "reflect", "edge")
    least = -1 if mode == "constant" else 0
    around = [
        [d.size(0 if size < 3 else least, 1 if mode == "reflect" else 3) for size in sizes] for _ in range(2)
    ]
    pads = [0, *around[0], 0, *around[1]]
    value = d.pick(0.0, d.number())
    if d.opset < 11:
        return d.b.node(name, d.x(*sizes), pads=pads, mode=mode, value=value)
    filler = [d.b.number(value)] if mode == "constant" and d.pick(True, False) else []
    return d.b.node(name, d.x(*sizes), d.b.integers(*pads), *filler, mode=mode)


@draws("Gather")
def gather(d: Drawing, name: str) -> str:
    if d.pick(True, False):
        entries = d.pick(3, 3000)
        indices = d.b.input("i", d.batch, *d.sizes(d.size(1, 2)), kind=INT64)
        return d.b.node(name, d.b.random(entries, d.size()), indices)
    sizes = d.sizes(d.size(1, 3))
    axis = d.size(1, len(sizes))
    shape = d.pick((), (1,), (3,), (2, 2))
    size = sizes[axis - 1]
    places = np.array([d.size(-size, size - 1) for _ in range(int(np.prod(shape)))], np.int64).reshape(shape)
    return d.b.node(name, d.x(*sizes), d.b.constant(places), axis=d.axis(axis, 1 + len(sizes)))


@draws("DepthToSpace")
def depth_to_space(d: Drawing, name: str) -> str:
    block = d.size(1, 3)
    x = d.x(block * block * d.size(1, 2), *d.sizes(2, 1, 3))
    return d.b.node(name, x, blocksize=block, **d.optional(mode=d.pick("DCR", "CRD")))


@draws("SpaceToDepth")
def space_to_depth(d: Drawing, name: str) -> str:
    block = d.size(1, 3)
    return d.b.node(name, d.x(d.size(1, 3), block * d.size(1, 2), block * d.size(1, 2)), blocksize=block)


@draws("Resize", opsets=[11, 18])
def resize(d: Drawing, name: str) -> str:
    sizes = [d.size(1, 3), *d.sizes(2, 1, 5)]
    mode = d.pick("nearest", "linear", "cubic")
    coordinates = d.pick("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    attributes: dict[str, object] = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if mode == "nearest":
        attributes["nearest_mode"] = d.pick("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    x = d.x(*sizes)
    none = "" if d.opset > 11 else d.b.constant(np.zeros(0, np.float32))
    if d.pick(True, False):
        scales = np.array([1, 1, *(d.pick(1.0, 2.0, 3.0, 1.5, 0.5) for _ in range(2))], np.float32)
        scales = np.maximum(scales, 1 / np.array([1, 1, *sizes[1:]], np.float32))
        return d.b.node(name, x, none, d.b.constant(scales), **attributes)
    return d.b.node(name, x, none, none, d.b.integers(d.batch, sizes[0], *d.sizes(2, 1, 8)), **attributes)


@draws("Upsample", opsets=[9])
def upsample(d: Drawing, name: str) -> str:
    scales = np.array([1, 1, *(d.pick(1.0, 2.0, 3.0, 1.5) for _ in range(2))], np.float32)
    sizes = d.sizes(3)
    y = d.b.node(name, d.x(*sizes), d.b.constant(scales), mode=d.pick("nearest", "linear"))
    d.b.shapes[y] = [
        d.batch,
        sizes[0],
        *(int(size * scale) for size, scale in zip(sizes[1:], scales[2:], strict=True)),
    ]
    return y


@draws("Trilu")
def trilu(d: Drawing, name: str) -> str:
    k = [d.b.constant(np.array(d.size(-3, 3), np.int64))] if d.pick(True, False) else []
    return d.b.node(name, d.x(*d.sizes(d.size(2, 3))), *k, **d.optional(upper=d.pick(0, 1)))


def _indices(d: Drawing, sizes: list[int], boxed: bool) -> np.ndarray:
    """Rows of positions of some leading dimensions, the batch first: all pairs of some of each, or any."""
    count = d.size(1, len(sizes))
    lists = [list(range(d.batch))] + [d.some(range(size)) for size in sizes[:count]]
    if boxed or d.batch > 1:
        return np.stack(np.meshgrid(*lists, indexing="ij"), axis=-1).astype(np.int64)
    return np.array([[d.pick(*places) for places in lists] for _ in range(d.size(1, 5))], np.int64)


@draws("GatherND")
def gather_nd(d: Drawing, name: str) -> str:
    sizes = d.sizes(d.size(1, 3))
    if d.pick(True, False):
        return d.b.node(name, d.x(*sizes), d.b.constant(_indices(d, sizes, d.pick(True, False))))
    rows = [d.size(-size, size - 1) for size in sizes]
    inner = np.repeat(np.array([[rows]], np.int64), d.batch, axis=0)
    return d.b.node(name, d.x(*sizes), d.b.constant(inner), batch_dims=1)


@draws("ScatterND", opsets=[13])
def scatter_nd(d: Drawing, name: str) -> str:
    """Assignments to slices, of activations and constants to activations and constants."""
    sizes = d.sizes(d.size(1, 3))
    indices = _indices(d, sizes, True)
    shape = [*indices.shape[1:-1], *sizes[indices.shape[-1] - 1 :]]
    constant = d.pick("none", "data", "updates")
    data = d.b.repeated(d.batch, *sizes) if constant == "data" else d.x(*sizes)
    updates = d.b.repeated(d.batch, *shape) if constant == "updates" else d.x(*shape)
    return d.b.node(name, data, d.b.constant(indices), updates)
