"""Videos that a command is given: files, folders, patterns, pictures, cameras and streams."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from halftrack.bounds import shown
from halftrack.cli.checks import check_file
from halftrack.data.files import PICTURE_ENDINGS, is_live
from halftrack.errors import MissingFileError

__all__ = ["find_videos"]


def find_videos(words: Sequence[str]) -> list[str | Path | tuple[Path, ...]]:
    """The videos that words name, each once, in their order.

    A pattern stands for what it fits, as a shell would replace it. Several pictures of one folder
    are the frames of one video.

    Args:
        words: paths, patterns, numbers of cameras and addresses of streams.

    Raises:
        UserError: for a word that names nothing.
    """
    videos: dict[str | Path, str | Path | dict[Path, None]] = {}
    for word in words:
        if is_live(word):
            videos[word] = word
            continue
        for path in _paths(word):
            if path.suffix.lower() not in PICTURE_ENDINGS or path.is_dir():
                videos[path.resolve()] = path
                continue
            before = videos.setdefault(path.parent.resolve(), {})
            if isinstance(before, dict):  # else the whole folder is there
                before[path] = None
    found = [tuple(each) if isinstance(each, dict) else each for each in videos.values()]
    return [each[0] if isinstance(each, tuple) and len(each) == 1 else each for each in found]


def _paths(word: str) -> list[Path]:
    """The path itself, or all that a pattern fits."""
    path = Path(word)
    if glob.has_magic(word) and not path.exists():
        found = sorted(glob.glob(word, recursive=True))
        if not found:
            raise MissingFileError(f"VIDEO {shown(word)}: no file or folder fits this pattern")
        return [Path(each) for each in found]
    if not path.is_dir():
        check_file("VIDEO", path)
    return [path]
