"""Turns an ONNX file into layers of primitives and says which input region an output region needs."""
