"""Describes accelerators and simulates programs on them: cycles, bytes moved, energy and the values computed."""
