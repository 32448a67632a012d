"""Runs programs on bytes: what the instructions of a kernel compute."""
