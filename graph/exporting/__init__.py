"""A Network as an ONNX model again, to be run by an independent implementation."""
