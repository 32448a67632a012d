"""Schedules neural networks on multi-core accelerators so that data stays on core."""
