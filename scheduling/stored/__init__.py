"""Schedules that were stored, back as decisions: their exact replay."""
