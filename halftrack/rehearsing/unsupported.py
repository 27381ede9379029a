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
    (r"active drivers", "a Triton kernel"),
)


def unsupported(error: BaseException, script: str) -> str | None:
    """Words for the part of a GPU that a script has failed without; None if it failed otherwise.

    Args:
        error: the script's exception.
        script: the script, beside which its own code is looked for.
    """
    told = str(error)
    if isinstance(error, NoStandInError):
        return f"{_place(error, script)}: {told}"
    for pattern, words in _KNOWN:
        match = re.search(pattern, told)
        if match is not None:
            what = words.format(*match.groups())
            return f"{_place(error, script)}: {what}, which no CPU runs; leave it out of this run"
    return None


def _place(error: BaseException, script: str) -> str:
    """The innermost line of the script's own folder; of all code if none is there."""
    folder = Path(script).resolve().parent
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).resolve().is_relative_to(folder)]
    own = [frame for frame in own if "site-packages" not in frame.filename] or list(frames)
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"
