"""Model: a network together with what is needed to check its results against onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from graph.errors import ModelError
from graph.exporting.export import network_to_onnx
from graph.folded.constants import Array
from graph.folded.folding import FoldedGraph
from graph.folded.reference import in_file_batches, reference_model
from graph.layering.values import Value
from graph.network import Network
from graph.primitives import INDEX_BASE, Embedding

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Model:
    """A network read from an ONNX file.

    `randomised` names the constants that were fills and hold random values now (ONNX names, sorted).
    `has_weights` is False where the file was read for its structure only; then there is nothing to compare
    with. `layouts` says how ONNX tensors are stored, for those of the network's tensors that are in the file;
    the others have a name with `//` in it. `outputs` says the same for every output of the file, by its name:
    `source` is the network's tensor that holds it, and several outputs may be views of one.
    """

    network: Network
    has_weights: bool
    randomised: tuple[str, ...]
    folded: FoldedGraph
    constants: Mapping[str, Array]
    layouts: Mapping[str, Value]
    outputs: Mapping[str, Value]

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every graph input as the file has it, the images one after another along dimension 0."""
        return {name: self.folded.input_shape(name, self.network.batch) for name in self.folded.inputs}

    @property
    def input_types(self) -> dict[str, np.dtype[np.generic]]:
        """Element type of every graph input as the file has it."""
        return {name: self.folded.input_types[name] for name in self.folded.inputs}

    @property
    def index_limits(self) -> dict[str, int]:
        """For every graph input of indices, the entries of the smallest table that it is used on."""
        limits: dict[str, int] = {}
        for layer in self.network.layers:
            if isinstance(layer.anchor, Embedding):
                name, entries = self.network.tensors[layer.inputs[0]].name, layer.anchor.entries
                limits[name] = min(entries, limits.get(name, entries))
        return limits

    @cached_property
    def reference(self) -> onnx.ModelProto:
        """The file's own graph at the file's batch, with the weights that the network has; made when first
        asked for.

        Run it on each of `file_batches(feeds)`, and give the lists of results to `stored`. Raises ModelError
        without weights.
        """
        self._need_weights()
        return reference_model(self.folded, self.constants)

    def rounded_reference(
        self, dtype: np.dtype[np.floating] | type[np.floating] = np.float16
    ) -> onnx.ModelProto:
        """The network as ONNX (everything folded), weights and per-channel vectors rounded to `dtype`, kept
        float32.

        It takes `stored_inputs(feeds)`; all its tensors are (B, C, H, W) under the network's names. Raises
        ModelError without weights, or for a weight that `dtype` cannot hold.
        """
        self._need_weights()
        return network_to_onnx(self.network, np.dtype(dtype))

    def file_batches(self, feeds: Mapping[str, NDArray[Any]]) -> list[dict[str, NDArray[Any]]]:
        """Inputs of any batch, as runs of the file's batch; the last run repeats its last image."""
        return in_file_batches(feeds, self.folded)

    def stored(self, name: str, arrays: Sequence[NDArray[Any]]) -> Floats:
        """Tensor `name` as the machine stores it, (B, C, H, W), from the arrays of the file's layout that runs
        on `file_batches` gave (or that are its parts, for a graph input).
        """
        value = self.layouts[name]
        maps = np.concatenate([value.stored(array, self.folded.file_batch) for array in arrays])
        maps = maps[: self.network.batch]
        if value.indices:
            maps = np.concatenate([maps // INDEX_BASE, maps % INDEX_BASE], axis=1)
        return maps.astype(np.float32)

    def stored_inputs(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, Floats]:
        """Every graph input as the machine stores it, (B, C, H, W), from arrays of the file's shapes at this
        batch. Raises ModelError for an array of another shape, or an index that a table does not have.
        """
        shapes = self.input_shapes
        for name, shape in shapes.items():
            if name not in feeds or feeds[name].shape != shape:
                found = feeds[name].shape if name in feeds else "no array"
                raise ModelError(f"input {name!r}: {found}; expected shape {shape}")
        for name, limit in self.index_limits.items():
            low, high = int(feeds[name].min()), int(feeds[name].max())
            if low < 0 or high >= limit:
                raise ModelError(f"input {name!r}: indices {low} to {high}; expected 0 to {limit - 1}")
        runs = self.file_batches({name: feeds[name] for name in shapes})
        return {name: self.stored(name, [run[name] for run in runs]) for name in shapes}

    def file_output(self, name: str, maps: Floats) -> list[Floats]:
        """The inverse of `stored` for a batch that is a multiple of the file's: one array for each run."""
        size = self.folded.file_batch
        return [self.layouts[name].unstored(maps[i : i + size]) for i in range(0, maps.shape[0], size)]

    def _need_weights(self) -> None:
        if not self.has_weights:
            raise ModelError(
                f"{self.folded.source.origin}: was loaded without weights, so it has no reference; load it with them"
            )
