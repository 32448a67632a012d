"""From ONNX operators to layers of primitives, node by node."""
