"""Chains of sub-graphs: what runs of layers cost by themselves, and the cheapest way to put them in a row."""
