"""Checkpoints: written atomically, read safely, resumed exactly; damage is found and told.

The layout is MMTracking's ({meta, state_dict, optimizer}) with what an exact resume needs beside
it. Everything is of plain types, so ``torch.load(weights_only=True)`` reads it.
"""

from __future__ import annotations

import errno
import os
import pickle
import platform
import re
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from safetensors import safe_open

from halftrack.errors import MissingFileError, UserError, naming_file
from halftrack.pickles import as_plain, read_arrays
from halftrack.training.files.admitted import admitted
from halftrack.training.files.integrity import check_intact, is_safetensors, seal
from halftrack.training.ranks import ALONE, Ranks

__all__ = [
    "NewestCheckpoint",
    "clear_partial",
    "code_versions",
    "newest_checkpoint",
    "prune",
    "read_checkpoint",
    "whole_file",
    "write_checkpoint",
]

# What torch.save pickled before it wrote zip archives: the protocol, then a magic number.
_TORCH_PICKLE = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")


@cache  # the code that was imported: a commit made while it runs is not in it
def code_versions() -> dict[str, str | None]:
    """Versions of what computes a run: halftrack, torch, Python and the git commit, if any."""
    from halftrack import __version__

    try:
        here = Path(__file__).parent
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False
        )
        commit = answer.stdout.strip() or None
    except OSError:
        commit = None
    return {
        "halftrack": __version__,
        "torch": str(torch.__version__),  # TorchVersion is no plain type
        "python": platform.python_version(),
        "git": commit,
    }


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write ``state``; ``path`` is at every moment absent, the old file or the whole new one.

    When it returns, a power cut cannot undo it.

    Raises:
        OSError: if it cannot be written, as on a full disk; names the file.
    """
    with whole_file(path) as partial, partial.open("w+b") as file:
        _save(dict(state), file)
        seal(file)
        file.flush()
        os.fsync(file.fileno())
    with naming_file(path):
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Bring a folder's list of names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot, and need not
            raise
    finally:
        os.close(descriptor)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write to, which takes its place when all of it is written.

    Raises:
        OSError: if it cannot be written, as on a full disk; names ``path``.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException as error:
        with suppress(OSError):  # half a file would keep a full disk full
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = str(path)
        raise


def _save(state: dict[str, Any], file: BinaryIO) -> None:
    """``torch.save``, which says "enforce fail at inline_container" where the disk is full."""
    try:
        torch.save(state, file)
    except RuntimeError as error:
        cause = error.__context__
        if isinstance(cause, OSError):
            raise cause from None
        raise


def read_checkpoint(path: Path, *, trust: bool = False) -> dict[str, Any]:
    """Read a checkpoint on the CPU: of ``torch.save``, safetensors, or a pickle of numpy arrays.

    Beside tensors it may hold what published files do: plain values, numpy's numbers and arrays,
    time stamps and the dicts of config files. They arrive as plain values.

    Args:
        path: the file.
        trust: unpickle arbitrary objects too; runs code the file holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, torn or something else, or holds more than plain types and
            ``trust`` is false.
    """
    if not path.is_file():
        raise MissingFileError(f"no checkpoint at {path}{', a folder' * path.is_dir()}")
    check_intact(path)
    with path.open("rb") as file:
        head = file.read(len(_TORCH_PICKLE))
    if is_safetensors(head):
        return _of_safetensors(path)
    if head.startswith(b"\x80") and head != _TORCH_PICKLE:
        state = _with_tensors(read_arrays(path))
    else:
        state = _of_torch(path, trust=trust)
    if not isinstance(state, dict):
        raise UserError(
            f"{path} holds a {type(state).__name__}, expected a dict of tensors or of parts"
        )
    return state


def _of_torch(path: Path, *, trust: bool) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"), admitted():  # of pickles that then fail
            return as_plain(torch.load(path, map_location="cpu", weights_only=not trust))
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} cannot be read safely: {_unsafe(error)}. "
            "If you trust its source, allow it with trust=True (--trust on the command line)."
        ) from error
    except ImportError as error:
        raise UserError(
            f"{path} needs the module {error.name!r}, which is not installed here: install it, or "
            "save the file's tensors alone where it is: torch.save(checkpoint['state_dict'], ...)"
        ) from error
    except Exception as error:  # damage shows as errors of every kind
        raise UserError(f"{path} is not a readable checkpoint: {_reason(error)}") from error


def _of_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return {"meta": dict(file.metadata() or {}), "state_dict": tensors}
    except Exception as error:  # its own error is no class of Python's
        raise UserError(f"{path} is not a readable checkpoint: {_reason(error)}") from error


def _with_tensors(state: Any) -> Any:
    """Tensors in the place of a dict's arrays, and of those of the dicts in it."""
    if not isinstance(state, dict):
        return state
    parts = {
        key: {name: _tensor(value) for name, value in part.items()} if type(part) is dict else part
        for key, part in state.items()
    }
    return {key: _tensor(value) for key, value in parts.items()}


def _tensor(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
    return value


def _reason(error: Exception) -> str:
    return (str(error).partition("\n")[0] or type(error).__name__)[:300]


def _unsafe(error: pickle.UnpicklingError) -> str:
    """The object or code that was refused, without torch's advice to load it all the same."""
    found = re.search(
        r"(?:WeightsUnpickler error:\s*(?:Unsupported global: )?|Trying to load unsupported )(.+?)"
        r"(?: was not| whose module|\n|$)",
        str(error),
    )
    refused = str(error).splitlines()[0] if found is None else found[1]
    return f"it holds more than tensors and plain values, or is no checkpoint ({refused})"


class NewestCheckpoint(NamedTuple):
    """The newest intact step checkpoint of a run, read."""

    path: Path
    """The file."""
    state: dict[str, Any]
    """Everything in it."""
    torn: dict[Path, str]
    """Newer files that were passed over, and why each."""


def newest_checkpoint(folder: Path, ranks: Ranks = ALONE) -> NewestCheckpoint:
    """Read the newest intact step checkpoint in a run's folder.

    Of several processes the first one chooses: a network disk may show one machine a file some time
    before it lists it on another.

    Raises:
        FileNotFoundError: if the folder holds none.
    """
    found: list[NewestCheckpoint] = []

    def choose() -> Path:
        found.append(_newest(folder))
        return found[0].path

    path = ranks.first_does(choose)
    return found[0] if found else NewestCheckpoint(path, read_checkpoint(path), {})


def _newest(folder: Path) -> NewestCheckpoint:
    torn: dict[Path, str] = {}
    for path in sorted(folder.glob("step_*.pth"), key=_step_of, reverse=True):
        try:
            state = read_checkpoint(path)
        except ValueError as error:
            torn[path] = str(error)
        else:
            return NewestCheckpoint(path, state, torn)
    best = folder / "best.pth"
    use = f"; {best} has weights alone: begin with them elsewhere (--init)" if best.exists() else ""
    details = "".join(f"\n  {line}" for line in torn.values())
    raise MissingFileError(f"nothing to resume: no intact step_*.pth in {folder}{use}{details}")


def prune(folder: Path, *, keep: int) -> None:
    """Delete all but the ``keep`` newest step checkpoints; the best has another name and stays."""
    for path in sorted(folder.glob("step_*.pth"), key=_step_of, reverse=True)[keep:]:
        path.unlink(missing_ok=True)


def clear_partial(folder: Path) -> None:
    """Delete what killed processes have left half written."""
    for path in folder.glob("*.pth.partial"):
        path.unlink(missing_ok=True)


def _step_of(path: Path) -> int:
    number = re.fullmatch(r"step_(\d+)", path.stem)
    return int(number.group(1)) if number else -1
