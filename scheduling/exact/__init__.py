"""Exact methods for memory: order, residence and addresses, each with a proof or a bound (docs/exact.md)."""
