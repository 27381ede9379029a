"""Parts of a script that no CPU can stand in for, named with the script's line."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from halftrack.errors import UserError

__all__ = ["NoStandInError", "unsupported"]


class NoStandInError(UserError):
    """Something of a GPU that a CPU cannot stand in for."""


# Errors that torch and Triton raise, and what the script has asked for.
_KNOWN = (
    (r"Could not run '([^']+)' with arguments from the 'CPU", "{}: an op for GPUs alone"),
    (r"CUDA_HOME", "a CUDA extension, which is compiled as the script runs"),
    (r"No module named '(triton[^']*)'", "{}: Triton kernels"),
    (r"No module named '([^']*cuda[^']*)'", "{}: a CUDA extension"),
    (r"active drivers|libcuda\.so", "a Triton kernel or CUDA extension"),
)


def unsupported(error: Exception) -> str | None:
    """Words for the part of a GPU that a script has failed without; None if it failed otherwise.

    Args:
        error: the script's exception, whose traceback begins in the script.
    """
    told = str(error)
    if isinstance(error, NoStandInError):
        return f"{_place(error)}: {told}"
    for pattern, words in _KNOWN:
        match = re.search(pattern, told)
        if match is not None:
            what = words.format(*match.groups())
            return f"{_place(error)}: {what}, which no CPU runs; leave it out of this run"
    return None


def _place(error: Exception) -> str:
    """The innermost line of the script's own folder."""
    frames = traceback.extract_tb(error.__traceback__)
    folder = Path(frames[0].filename).resolve().parent
    own = [f for f in frames if Path(f.filename).resolve().is_relative_to(folder)]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"
