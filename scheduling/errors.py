"""Errors of schedules: what is wrong, where, and by how much."""


class ScheduleError(ValueError):
    """A schedule file or a schedule that cannot be used."""


class IllegalSchedule(ScheduleError):
    """A decision that does not fit the machine; the message says what is short by how many bytes, and where."""


class UnsupportedDecision(ScheduleError):
    """A decision outside what this version can lower."""
