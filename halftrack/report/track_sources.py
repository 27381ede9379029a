"""The videos that an output folder's tracks belong to: of two with one name none is replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from halftrack.errors import UserError

__all__ = ["SOURCES", "check_unclaimed", "claim"]

SOURCES = "sources.json"
"""Name of the file beside the tracks that holds each video's path by its name."""


def check_unclaimed(out: Path, name: str, video: Path, files: Sequence[Path]) -> None:
    """Check that no file would be replaced but by a later run of the same video.

    Args:
        out: the output folder.
        name: what the video's files are called.
        video: where the video lies.
        files: what will be written.

    Raises:
        UserError: if one of the files is there already and of another video.
    """
    present = next((file for file in files if file.exists()), None)
    owner = _read(out / SOURCES).get(name)
    if present is not None and owner != str(video.resolve()):
        told = f"of {owner}" if owner else "not known to be of this video"
        raise UserError(
            f"{present} is there already, {told}; the tracks of {video} would replace it: "
            "choose another --out, or move the file away"
        )


def claim(out: Path, name: str, video: Path) -> None:
    """Note in the output folder, which must exist, that files of this name are of ``video``."""
    sources = _read(out / SOURCES)
    text = json.dumps({**sources, name: str(video.resolve())}, indent=1, sort_keys=True)
    partial = out / f"{SOURCES}.partial"
    partial.write_text(text + "\n", encoding="utf-8")
    os.replace(partial, out / SOURCES)


def _read(file: Path) -> dict[str, str]:
    """The path of each video by its name; nothing where the file is missing or damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: path for name, path in found.items() if isinstance(path, str)}
