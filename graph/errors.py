"""The one error that reading a model raises, so that a caller can tell a bad file from a bug."""

from __future__ import annotations


class ModelError(ValueError):
    """A model file that is missing, broken or uses something that is not supported; the message names the
    file, the node or tensor, the value found and what was expected.
    """
