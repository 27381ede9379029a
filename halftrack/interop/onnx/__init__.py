"""Inference as ONNX graphs, which run in onnxruntime without PyTorch and without halftrack."""
