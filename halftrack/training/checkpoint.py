"""Checkpoints: written atomically, read safely, resumed exactly; no key is dropped silently.

The layout is MMTracking's ({meta, state_dict, optimizer}) with what an exact resume needs beside
it. Everything is of plain types, so ``torch.load(weights_only=True)`` reads it.
"""

from __future__ import annotations

import os
import pickle
import platform
import re
import subprocess
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from halftrack.errors import MissingFileError, UserError, naming_file

__all__ = [
    "LoadReport",
    "code_versions",
    "load_weights",
    "newest_checkpoint",
    "prune",
    "read_checkpoint",
    "write_checkpoint",
]

_READ_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    zipfile.BadZipFile,
    KeyError,
)


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """Report of loaded weights: what became of each key."""

    prefix: str
    """Path in the model that the file's keys were put at; empty for the whole model."""
    part: str
    """Part of the file that was read, e.g. ``detector.`` of a tracker's; empty for all of it."""
    loaded: tuple[str, ...]
    """Keys of the model that were filled."""
    missing: tuple[str, ...]
    """Keys below ``prefix`` that the file does not have; they keep their values."""
    unexpected: tuple[str, ...]
    """Keys of that part that the model does not have; they were ignored."""
    mismatched: tuple[str, ...]
    """Keys whose shapes differ, with both shapes; they were ignored."""

    def __str__(self) -> str:
        where = f" from its {self.part!r}" if self.part else ""
        where += f" into {self.prefix!r}" if self.prefix else ""
        lines = [f"{len(self.loaded)} tensors loaded{where}"]
        for label in ("missing", "unexpected", "mismatched"):
            keys: tuple[str, ...] = getattr(self, label)
            if keys:
                more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
                lines.append(f"{len(keys)} {label}: {', '.join(keys[:5])}{more}")
        return "; ".join(lines)


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
    """Write ``state``; ``path`` is at every moment absent, the old file or the whole new one."""
    partial = path.with_name(path.name + ".partial")
    with naming_file(partial), partial.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def read_checkpoint(path: Path, *, trust: bool = False) -> dict[str, Any]:
    """Read a checkpoint on the CPU.

    Args:
        path: the file.
        trust: unpickle arbitrary objects too, as some published files need; runs code the file
            holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is torn, or holds more than plain types and ``trust`` is false.
    """
    if not path.is_file():
        raise MissingFileError(f"no checkpoint at {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} cannot be read safely: {_unsafe(error)}. "
            "If you trust its source, allow it with trust=True (--trust on the command line)."
        ) from error
    except _READ_ERRORS as error:
        raise UserError(f"{path} is not a readable checkpoint: {error}") from error
    if not isinstance(state, dict):
        raise UserError(
            f"{path} holds a {type(state).__name__}, expected a dict of tensors or of parts"
        )
    return state


def _unsafe(error: pickle.UnpicklingError) -> str:
    """The object or code that was refused, without torch's advice to load it all the same."""
    found = re.search(
        r"WeightsUnpickler error:\s*(?:Unsupported global: )?(.+?)(?: was not|\n|$)", str(error)
    )
    refused = str(error).splitlines()[0] if found is None else found[1]
    return f"it holds more than tensors and plain values, or is no checkpoint ({refused})"


def newest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any], list[str]]:
    """The newest intact step checkpoint of a run, and a line for every torn one passed over.

    Raises:
        FileNotFoundError: if the folder holds none.
    """
    torn: list[str] = []
    for path in sorted(folder.glob("step_*.pth"), key=_step_of, reverse=True):
        try:
            return path, read_checkpoint(path), torn
        except ValueError as error:
            torn.append(str(error))
    details = "".join(f"\n  {line}" for line in torn)
    raise MissingFileError(f"nothing to resume: no intact step_*.pth in {folder}{details}")


def prune(folder: Path, *, keep: int, written: Path | None = None) -> None:
    """Delete all but the ``keep`` newest step checkpoints; the best has another name and stays.

    So does the one just ``written``: a torn file of a later step may pass for newer.
    """
    for path in sorted(folder.glob("step_*.pth"), key=_step_of, reverse=True)[keep:]:
        if path != written:
            path.unlink()


def _step_of(path: Path) -> int:
    number = re.fullmatch(r"step_(\d+)", path.stem)
    return int(number.group(1)) if number else -1


def load_weights(model: nn.Module, path: str | Path, *, trust: bool = False) -> LoadReport:
    """Fill a model from a halftrack, MMTracking or torchvision checkpoint.

    A file of a sub-module (torchvision's ImageNet ResNet, a bare detector) goes where its keys fit
    best, for instance ``detector.backbone.``; of a file of more than the model (a tracker's, for a
    detector) the part that fits best is read.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read or none of its keys fit.
    """
    path = Path(path)
    state = read_checkpoint(path, trust=trust)
    weights = _tensors(state)
    own = model.state_dict()
    part, prefix = _best_place(own, weights)
    weights = {key[len(part) :]: value for key, value in weights.items() if key.startswith(part)}
    if not any(prefix + key in own for key in weights):
        raise UserError(
            f"{path} fits nowhere in {type(model).__name__}: "
            f"its keys look like {sorted(weights)[:3]}, the model's like {list(own)[:3]}"
        )
    loaded, unexpected, mismatched = [], [], []
    with torch.no_grad():
        for key, value in weights.items():
            name = prefix + key
            if name not in own:
                unexpected.append(key)
            elif own[name].shape != value.shape:
                mismatched.append(f"{name} {tuple(value.shape)} for {tuple(own[name].shape)}")
            else:
                own[name].copy_(value)
                loaded.append(name)
    filled = set(loaded) | {line.split(" ")[0] for line in mismatched}
    # num_batches_tracked counts BN's training steps; many published files predate it and nothing
    # reads it.
    missing = [
        name
        for name in own
        if name.startswith(prefix)
        and name not in filled
        and not name.endswith("num_batches_tracked")
    ]
    return LoadReport(
        prefix=prefix,
        part=part,
        loaded=tuple(loaded),
        missing=tuple(missing),
        unexpected=tuple(unexpected),
        mismatched=tuple(mismatched),
    )


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, under whichever of the usual keys they lie."""
    for key in ("state_dict", "model"):
        if isinstance(state.get(key), Mapping):
            state = state[key]
            break
    return {str(key): value for key, value in state.items() if isinstance(value, Tensor)}


def _best_place(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> tuple[str, str]:
    """The part of the file and the path in the model between which most tensors match in shape."""
    parts = {"", *(key.partition(".")[0] + "." for key in weights)}
    places = [("", prefix) for prefix in _prefixes(own)] + [(part, "") for part in parts]

    def fitting(place: tuple[str, str]) -> int:
        part, prefix = place
        return sum(
            (name := prefix + key[len(part) :]) in own and own[name].shape == value.shape
            for key, value in weights.items()
            if key.startswith(part)
        )

    # The shortest wins a tie: a whole model's file belongs to the whole model.
    return max(sorted(places, key=lambda place: len(place[0] + place[1])), key=fitting)


def _prefixes(own: Mapping[str, Tensor]) -> set[str]:
    """Every module path of a model, with a dot behind."""
    paths = {""}
    for name in own:
        steps = name.split(".")
        paths.update(".".join(steps[:depth]) + "." for depth in range(1, len(steps)))
    return paths
