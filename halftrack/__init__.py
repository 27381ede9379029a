"""halftrack: video perception models, trained, evaluated and run in half precision on PyTorch alone."""

__version__ = "0.1.0"
__all__ = ["__version__"]
