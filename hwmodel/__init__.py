"""Describes accelerators and simulates programs on them: cycles, bytes moved, energy and computed values."""
