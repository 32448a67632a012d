"""Errors of the exact methods."""

from scheduling.errors import ScheduleError


class GraphError(ScheduleError):
    """A graph of operators, an order or a plan that contradicts itself; the message says where."""


class CapacityError(ScheduleError):
    """A memory that is too small whatever the decisions; `short_bytes` is by how much."""

    def __init__(self, message: str, short_bytes: int) -> None:
        super().__init__(message)
        self.short_bytes = short_bytes
