"""halftrack: video perception models in half precision, on PyTorch alone."""

__version__ = "0.1.0"
__all__ = ["__version__"]
