"""The packages that ONNX needs, which are an extra: told before a model is loaded."""

from __future__ import annotations

import importlib.util

from halftrack.errors import UserError

__all__ = ["check_onnx"]

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_onnx() -> None:
    """Make sure that what writes and runs ONNX is installed.

    Raises:
        UserError: if it is not; says how to get it.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"--format onnx needs {', '.join(missing)}: install with `pip install halftrack[onnx]`"
        )
