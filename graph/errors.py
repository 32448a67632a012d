"""The one error that reading a model raises, so that a caller can tell a bad file from a bug, and the sizes from
which on a model is refused.
"""

from __future__ import annotations

# Elements of any tensor that a file declares or a graph makes. A fill takes no memory, so a table of embeddings
# may be large; beyond this, a shape is taken for a mistake.
MOST_ELEMENTS = 2**33

# Elements of an array that has to be computed and held, as folding does: 256 MiB of float32.
MOST_COMPUTED_ELEMENTS = 2**26

# Elements of a fill that weights are drawn for or that is held as a weight: 1 GiB of float32.
MOST_FILLED_ELEMENTS = 2**28

# Bytes of all arrays that folding computes for one file.
MOST_COMPUTED_BYTES = 2**30

# Layers, and steps that are fused into them, that the nodes of one file become: about eight seconds of reading.
MOST_ITEMS = 2**16


class ModelError(ValueError):
    """A model file that is missing, broken or uses something that is not supported; the message names the
    file, the node or tensor, the value found and what was expected.
    """
