"""Turns results into tables, timeline traces and HTML pages, and compares outputs with onnxruntime."""
