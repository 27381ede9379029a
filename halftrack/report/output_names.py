"""Names of output files that replace nothing of another video: a second of one name is numbered."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

__all__ = ["claim_name"]


def claim_name(folder: Path, name: str, origin: str, endings: Sequence[str]) -> str:
    """Take a name for the files of a video, for this run and later ones of the same video.

    A hidden file ``.<name>.source`` holds the video's origin, so that its tracks may be replaced by
    newer ones of it. It is made in one step: of two processes at a time only one makes it.

    Args:
        folder: the folder, which must exist.
        name: the video's name.
        origin: the video's path or address, see ``VideoSource.origin``.
        endings: the endings of the files that will be written.

    Returns:
        ``name``, or ``name-2``, ``name-3``, ... where that is another video's.
    """
    for number in itertools.count(1):
        taken = name if number == 1 else f"{name}-{number}"
        claim = folder / f".{taken}.source"
        if _read(claim) == origin:
            return taken
        files = [
            folder / f"{taken}{ending}{part}" for ending in endings for part in ("", ".partial")
        ]
        if claim.exists() or any(file.exists() for file in files):
            continue
        try:
            with open(claim, "x", encoding="utf-8", errors="surrogateescape") as file:
                file.write(origin)
        except FileExistsError:  # another process was faster
            continue
        return taken
    raise AssertionError("counting never ends")


def _read(claim: Path) -> str | None:
    try:
        return claim.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None
