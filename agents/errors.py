"""Errors of policies and training: one line each, meant for the user."""


class PolicyError(ValueError):
    """A policy file that cannot be used."""


class TrainingError(ValueError):
    """Training settings or a checkpoint that cannot be used."""
