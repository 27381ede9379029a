"""Text files and paths as users have them: missing, moved, downloaded as a web page, too large."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from io import FileIO
from pathlib import Path

from halftrack.data.problems import DataError

__all__ = [
    "PICTURE_ENDINGS",
    "count_clutter",
    "file_name",
    "is_clutter",
    "is_live",
    "is_playlist",
    "leads_below",
    "read_content",
    "read_lines",
    "read_text",
    "require_distinct",
    "require_utf8",
    "shortened",
    "user_path",
]

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png")
"""Endings of the pictures that a video's frames may be."""

_WINDOWS = ("thumbs.db", "ehthumbs.db", "desktop.ini")
_CLUTTER = frozenset(
    ("__macosx", "@eadir", "@tmp", "@recycle", "#recycle", "$recycle.bin", "lost+found", *_WINDOWS)
)
_LONGEST_PATH = 400  # characters, of those that a list or an annotation file names
_LONGEST_NAME = 200  # bytes: systems allow 255, and endings follow
_LFS = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype html", b"<html")
# The longest list of a published data set, ImageNet VID's every frame, has 60 MB.
_LONGEST_LIST = 256 << 20
_PART = 1 << 20  # bytes of a pipe that are asked for at a time


def user_path(path: str | Path) -> Path:
    """A path that a user gave, absolute and with ``~`` replaced.

    Raises:
        DataError: if it cannot be one: no home folder, a circle of links, a NUL character.
    """
    try:
        found = Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(shortened(str(path)), f"is no usable path: {error}") from None
    require_utf8(str(found))
    return found


def require_utf8(path: str) -> None:
    """Refuse a path with a name of other bytes than UTF-8: logs and results could not tell it.

    Raises:
        DataError: if it is one.
    """
    if path.isascii():
        return
    try:
        path.encode()
    except UnicodeEncodeError:
        raise DataError(path, "this name is not UTF-8: rename the file or folder") from None


def leads_below(path: str) -> bool:
    """True for text that may be the path of a file or folder below another, never beside it."""
    usable = 0 < len(path) <= _LONGEST_PATH and "\0" not in path
    return usable and path[0] != "/" and ".." not in path.split("/")


def is_clutter(name: str) -> bool:
    """True for a file or folder that is none of the data: hidden, or left by an archive or server.

    Every reader that lists a folder asks this: what is clutter is passed over.
    """
    return name.startswith(".") or name.lower() in _CLUTTER


def is_live(name: str) -> bool:
    """True for the number of a camera or the address of a stream, if no file has this name."""
    return bool(re.fullmatch(r"[0-9]{1,3}|(?i:[a-z][a-z0-9+.-]*://.+)", name)) and not (
        os.path.lexists(name)
    )


def is_playlist(path: Path) -> bool:
    """True for a list of videos: FFmpeg waits for ever for the end of one that is being written."""
    try:
        with open(path, "rb") as file:
            start = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    except OSError:
        return False  # told by whoever reads it
    return start.startswith((b"#EXTM3U", b"ffconcat", b"v=0")) or b"<MPD" in start


def count_clutter(folders: Iterable[str]) -> int:
    """Number of entries of these folders that are clutter; a folder that is missing has none."""
    count = 0
    for folder in folders:
        try:
            count += sum(is_clutter(name) for name in os.listdir(folder))
        except OSError:
            continue
    return count


def file_name(name: str) -> str:
    """The name itself where a file may be called so, else one that is as near as can be.

    It never leads to another folder, and is not hidden, empty, overlong or reserved anywhere.
    """
    cleaned = re.sub(r"[/\\:\x00-\x1f\x7f]+", "_", name).strip(" ").lstrip(".").rstrip(". ")
    cleaned = cleaned.encode(errors="surrogateescape")[:_LONGEST_NAME].decode(errors="ignore")
    if re.fullmatch(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", cleaned, re.IGNORECASE):
        cleaned = f"_{cleaned}"
    return cleaned or "video"


def read_content(file: str | Path, *, what: str, limit: int) -> bytes:
    """The bytes of a text file that a data set needs.

    Args:
        file: where it lies.
        what: the thing it holds, for messages, e.g. ``annotation``.
        limit: most bytes that such a file has.

    Raises:
        DataError: if it is missing, cannot be read, is too large, or is a Git LFS pointer or a web
            page in the file's place.
    """
    name = str(file)
    try:
        with open(name, "rb", buffering=0, opener=_open_at_once) as stream:
            status = os.fstat(stream.fileno())
            if stat.S_ISFIFO(status.st_mode):
                _require_shells_pipe(name, what)
            os.set_blocking(stream.fileno(), True)
            # All of a file at once; of a pipe, which has no size, as much as is allowed.
            whole = 0 < status.st_size <= limit
            content = stream.readall() if whole else _read_at_most(stream, limit + 1)
    except FileNotFoundError:
        fault = "is a link that leads nowhere" if os.path.islink(name) else "is missing"
        raise DataError(name, f"{what} {fault}") from None
    except DataError:
        raise
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise DataError(name, f"{what} cannot be read: {told}") from None
    if len(content) > limit:
        raise DataError(name, f"{what} has more than {limit >> 20} MiB, which is no such file")
    if content.startswith(_LFS):
        raise DataError(
            name, f"{what} is a Git LFS pointer, not the file: fetch it with `git lfs pull`"
        )
    start = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:14].lower().startswith(_PAGES):
        raise DataError(name, f"{what} is a web page: the download failed, fetch the file again")
    return content


def _open_at_once(name: str, flags: int) -> int:
    """Open a file without waiting: a pipe that nobody writes to would be waited for for ever."""
    return os.open(name, flags | os.O_NONBLOCK)


def _require_shells_pipe(name: str, what: str) -> None:
    """Refuse a pipe among files; one that a shell made for ``<(command)`` is read to its end."""
    if not name.startswith(("/dev/", "/proc/")):
        raise DataError(name, f"{what} is a pipe, expected a file")


def _read_at_most(stream: FileIO, count: int) -> bytes:
    """The first bytes of a stream, of which one reading of a pipe gives only a part."""
    content = bytearray()
    while part := stream.read(min(count - len(content), _PART)):
        content += part
    return bytes(content)


def read_text(file: str | Path, *, what: str, limit: int = _LONGEST_LIST) -> str:
    """The text of a UTF-8 file, with or without a byte order mark; arguments as ``read_content``.

    Raises:
        DataError: if it cannot be read, or is in another encoding; names the line.
    """
    content = read_content(file, what=what, limit=limit)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        reason = f"line {line} is not UTF-8 text: save the {what} as UTF-8"
        raise DataError(str(file), reason) from None


def read_lines(file: str | Path, *, what: str = "list") -> list[tuple[int, str]]:
    """The lines of a text file that are not blank, each with its number from 1.

    Raises:
        DataError: if it cannot be read as UTF-8 text.
    """
    numbered = enumerate(read_text(file, what=what).split("\n"), start=1)
    return [(number, line.strip()) for number, line in numbered if line.strip()]


def require_distinct(file: Path, classes: Sequence[str], *, first: int) -> None:
    """Refuse a name that two classes have: boxes are counted, and files written, by it.

    Args:
        file: the list, for the error.
        classes: names in the order of their numbers.
        first: number of the first.

    Raises:
        DataError: names both.
    """
    numbers: dict[str, int] = {}
    for number, name in enumerate(classes, start=first):
        other = numbers.setdefault(name, number)
        if other != number:
            told = f"{shortened(name)} is the name of the classes {other} and {number}"
            raise DataError(str(file), f"{told}; name each class once")


def shortened(value: object, length: int = 60) -> str:
    """A value for an error message: its ``repr``, cut where it is long."""
    told = repr(value[: length + 1] if isinstance(value, str) else value)
    return told if len(told) <= length else f"{told[:length]}..."
