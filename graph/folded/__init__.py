"""What is left of an ONNX graph when everything that depends on constants alone is computed."""
