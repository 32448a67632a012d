"""load_model: from the name or path of an ONNX file to a Model."""

from __future__ import annotations

from dataclasses import replace

from graph.errors import ModelError
from graph.files.source import Source, read_source
from graph.files.zoo import find_model, model_name
from graph.folded.control_flow import CONTROL_FLOW
from graph.folded.folding import FoldedGraph, fold_constants, node_name
from graph.folded.masks import finite_masks
from graph.folded.open_batch import ones_for_batch
from graph.folded.patterns import recognised
from graph.folded.randomise import randomise_fills
from graph.layering.building import build_network
from graph.layering.fusing import fuse
from graph.layering.reading import read_graph
from graph.model import Model
from graph.operators import OPERATORS

MOST_IMAGES = 1 << 16
"""Images in a batch: with more, a search would take days and counts of bytes could pass what 64 bits hold."""


def load_model(name_or_path: str, batch: int = 1, *, weights: bool = True, seed: int = 0) -> Model:
    """Read a zoo model by name, or an ONNX file by path, at a given batch.

    `weights=False` reads the structure only, which is fast: layers then have no weight, and parameters and
    constants are zeros that take no memory. A file without real weights (all of them constant fills, as in
    the zoo) gets random ones, deterministic in `seed`. A file that leaves its batch open is read for several images,
    and for one at a time where it cannot be and a constant has a 1 in place of the batch. Raises ModelError for a
    missing or broken file, dynamic shapes, and anything that is not supported; all unsupported operators of a file are
    listed at once.
    """
    if not 1 <= batch <= MOST_IMAGES:
        raise ModelError(f"batch is {batch}; expected 1 to {MOST_IMAGES}")
    source = read_source(find_model(name_or_path), weights)
    folded = fold_constants(source, weights)
    _check_operators(folded)
    name = model_name(name_or_path)
    try:
        return _model(name, folded, batch, weights, seed)
    except ModelError as error:
        if folded.file_batch > 1 and not folded.batch_is_open:
            return _as_one(name, source, batch, weights, seed, error)
        if not folded.batch_is_open:
            raise
        reason = error
    ones = ones_for_batch(folded)
    try:
        model = _model(name, fold_constants(source, weights, open_batch=1), batch, weights, seed)
    except ModelError as error:
        if not ones:
            raise reason from None
        raise ModelError(
            f"{error}; the file leaves its batch open and is read for one image, since it cannot be read for several "
            f"and has a 1 in {ones[0]}"
        ) from reason
    if ones:
        return model
    raise ModelError(
        f"{reason}; the file leaves its batch open, so it is read for {folded.file_batch} images; if it is for one "
        "image at a time, expected dimension 0 of its inputs to be 1"
    ) from reason


def _as_one(name: str, source: Source, batch: int, weights: bool, seed: int, reason: ModelError) -> Model:
    """A file for several images that cannot be read as one, such as of sequences before the batch: all of it is one
    image. Raises `reason` where it cannot be read so either.
    """
    try:
        return _model(name, fold_constants(source, weights, as_one=True), batch, weights, seed)
    except ModelError:
        raise reason from None


def _model(name: str, folded: FoldedGraph, batch: int, weights: bool, seed: int) -> Model:
    randomised = randomise_fills(folded, seed) if weights else {}
    constants = {**folded.constants, **randomised}
    masks = finite_masks(folded.nodes, constants)
    constants |= masks
    nodes, origins = recognised(folded.nodes, constants, folded.outputs)
    unchanged = {name: number for name, number in folded.identities.items() if name not in masks}
    read = read_graph(replace(folded, nodes=nodes, identities=unchanged), constants, origins, weights)
    sources = list(dict.fromkeys(value.source for value in read.outputs.values()))
    network = build_network(
        name=name,
        batch=batch,
        inputs=list(read.inputs.values()),
        constants=read.constants,
        groups=fuse(read.items, sources),
        outputs=sources,
        names=read.names,
        weights=weights,
        model_hash=folded.source.model_hash,
    )
    present = {tensor.name for tensor in network.tensors}
    layouts = {name: value for name, value in read.layouts.items() if name in present}
    outputs = {
        name: replace(value, source=read.names.get(value.source, value.source))
        for name, value in read.outputs.items()
    }
    return Model(network, weights, tuple(sorted(randomised)), folded, constants, layouts, outputs)


def _check_operators(folded: FoldedGraph) -> None:
    unsupported: dict[str, list[str]] = {}
    for node in folded.nodes:
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
            kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            unsupported.setdefault(kind, []).append(node_name(node))
    if unsupported:
        found = "; ".join(f"{kind} ({', '.join(names)})" for kind, names in sorted(unsupported.items()))
        control = " and If, Loop and Scan whose conditions and turns are constants"
        raise ModelError(
            f"{folded.source.origin}: unsupported operators: {found}; "
            f"expected only {', '.join(sorted(OPERATORS))}{control if CONTROL_FLOW & set(unsupported) else ''}"
        )
