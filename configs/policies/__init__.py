"""Trained policies, ready to be loaded."""
