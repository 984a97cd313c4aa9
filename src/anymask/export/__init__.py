"""Models as ONNX files: made, checked against the original, and run without torch."""
