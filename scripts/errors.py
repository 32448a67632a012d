"""Errors of the command itself."""

from __future__ import annotations


class InputError(ValueError):
    """Something that the user asked for and cannot have; the message is one line."""


class VerificationError(Exception):
    """Kernels that do not do what their schedule promised; the message says what differs."""
