"""Trained rankers that ship."""
