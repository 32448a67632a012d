"""Model: a network together with what is needed to check its results against onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx

from graph.constants import Array
from graph.errors import ModelError
from graph.export import network_to_onnx
from graph.folding import FoldedGraph
from graph.network import Network
from graph.reference import reference_model


@dataclass(frozen=True, eq=False)
class Model:
    """A network read from an ONNX file.

    `randomised` names the constants that were fills and hold random values now (ONNX names, sorted).
    `has_weights` is False where the file was read for its structure only; then there is nothing to compare
    with.
    """

    network: Network
    path: Path
    has_weights: bool
    randomised: tuple[str, ...]
    folded: FoldedGraph
    constants: Mapping[str, Array]

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every graph input as the file has it, the batch first: (B, C, H, W) or (B, D)."""
        return {name: (self.network.batch, *dims) for name, dims in self.folded.inputs.items()}

    @cached_property
    def reference(self) -> onnx.ModelProto:
        """The file's own graph at this batch, with the weights that the network has; made when first asked
        for.

        Every tensor of the network is in it under the same name, in the file's shape: the network's (B, C, H,
        W) holds the same elements in the same order. Raises ModelError without weights.
        """
        self._need_weights()
        return reference_model(self.folded, self.constants, self.network.batch)

    def rounded_reference(
        self, dtype: np.dtype[np.floating] | type[np.floating] = np.float16
    ) -> onnx.ModelProto:
        """The network as ONNX (everything folded), weights and per-channel vectors rounded to `dtype`, kept
        float32.

        It takes the inputs that `reference` takes; its other tensors are (B, C, H, W) under the network's
        names. Raises ModelError without weights, or for a weight that `dtype` cannot hold.
        """
        self._need_weights()
        return network_to_onnx(self.network, self.input_shapes, np.dtype(dtype))

    def _need_weights(self) -> None:
        if not self.has_weights:
            raise ModelError(
                f"{self.path}: was loaded without weights, so it has no reference; load it with them"
            )
