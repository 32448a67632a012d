"""Reads an ONNX file, or builds a named network: bytes to a checked ModelProto."""
