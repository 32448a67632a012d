"""Accelerators' descriptions: machine files, what they say, and the tables that compiled code takes."""
