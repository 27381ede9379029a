"""Parts of a script that no CPU can stand in for, named with the script's line."""

from __future__ import annotations

import os
import re
import traceback
from pathlib import Path

from halftrack.errors import UserError

__all__ = ["PACKAGE", "NoStandInError", "unsupported"]

PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"
"""Beginning of the path of all code of halftrack, which no line of a script's is in."""


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
    if error.__traceback__ is None:  # it ended before the script's first line
        return None
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
    """The innermost line of the script's own folder that is not of a package installed there."""
    frames = traceback.extract_tb(error.__traceback__)
    folder = Path(frames[0].filename).resolve().parent
    own = [frame for frame in frames if _is_own(frame.filename, folder)] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"


def _is_own(filename: str, folder: Path) -> bool:
    if filename.startswith((PACKAGE, "<")):
        return False
    path = Path(filename).resolve()
    return path.is_relative_to(folder) and "site-packages" not in path.relative_to(folder).parts
