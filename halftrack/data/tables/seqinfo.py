"""``seqinfo.ini`` of MOTChallenge: a sequence's length, rate, size, and where its images are."""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from halftrack.data.files import read_content, shortened
from halftrack.data.problems import DataError
from halftrack.data.tables.once import kept_once

__all__ = ["FASTEST", "MOST_FRAMES", "SLOWEST", "SeqInfo", "read_seqinfo"]

MOST_FRAMES = 1_000_000
"""Most frames that a sequence may have: nine hours at 30 frames a second."""
SLOWEST, FASTEST = 0.001, 100_000
"""Frames a second that a sequence may have."""

# The longest side that JPEG knows.
_LONGEST_SIDE = 65_535
_WHOLE = re.compile(r"[0-9]{1,15}(\.0{1,9})?")
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{0,15})?|\.[0-9]{1,15}")
_ENDING = re.compile(r"\.?[A-Za-z0-9]{1,10}")
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
# A file of MOTChallenge has some hundred bytes.
_LARGEST = 1 << 20


@dataclass(frozen=True, kw_only=True)
class SeqInfo:
    """Contents of a ``seqinfo.ini`` but for its ``name``: a sequence is named by its folder.

    A copied file names another sequence, and a name may lead outside the folder for results.
    """

    num_frames: int | None
    """Number of frames; None where it does not say."""
    frame_rate: float | None
    """Frames a second; None where it does not say."""
    size: tuple[int, int] | None
    """Height and width of the images; None unless it says both."""
    image_folder: str
    """Folder of the images below the sequence's."""
    image_ending: str
    """Ending of the images' names, with its dot."""


@kept_once
def read_seqinfo(file: Path) -> SeqInfo:
    """Read a ``seqinfo.ini``, in whatever encoding an editor left it.

    Raises:
        DataError: if it is missing, no such file, or a value in it is none that is allowed.
    """
    section = _read_section(file)
    height, width = (_side(section, key, file) for key in ("imHeight", "imWidth"))
    folder = section.get("imDir", "img1").strip() or "img1"
    parts = (PurePosixPath(folder), PureWindowsPath(folder))
    outside = any(path.is_absolute() or path.drive or ".." in path.parts for path in parts)
    if outside or not folder.isprintable() or len(folder) > 255:
        allowed = "allowed is the name of a folder below the sequence's, as img1"
        raise DataError(str(file), f"imDir={shortened(folder)}: {allowed}")
    ending = section.get("imExt", ".jpg").strip()
    if not _ENDING.fullmatch(ending):
        raise DataError(
            str(file), f"imExt={shortened(ending)}: expected an ending of files, as .jpg"
        )
    return SeqInfo(
        num_frames=_whole(section, "seqLength", file, MOST_FRAMES, "frames"),
        frame_rate=_rate(section, file),
        size=None if height is None or width is None else (height, width),
        image_folder=folder,
        image_ending=f".{ending.removeprefix('.')}",
    )


def _read_section(file: Path) -> configparser.SectionProxy:
    content = read_content(file, what="seqinfo.ini", limit=_LARGEST)
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(_decoded(content), source="seqinfo.ini")
    except (configparser.Error, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(str(file), f"cannot be read as a [Sequence]: {reason[:200]}") from None
    for name in parser.sections():
        if name.strip().lower() == "sequence":
            return parser[name]
    found = ", ".join(shortened(name) for name in parser.sections()[:3]) or "none"
    raise DataError(str(file), f"expected a section [Sequence], found {found}")


def _decoded(content: bytes) -> str:
    if content.startswith(_BYTE_ORDER_MARKS):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Only the name, which nobody reads, has letters beyond ASCII in most of such files.
        return content.decode("latin-1")


def _side(section: configparser.SectionProxy, key: str, file: Path) -> int | None:
    return _whole(section, key, file, _LONGEST_SIDE, "pixels")


def _whole(
    section: configparser.SectionProxy, key: str, file: Path, most: int, what: str
) -> int | None:
    text = section.get(key)
    if text is None:
        return None
    text = text.strip()
    number = int(float(text)) if _WHOLE.fullmatch(text) else 0
    if not 1 <= number <= most:
        allowed = f"expected a whole number of {what}, 1 to {most}"
        raise DataError(str(file), f"{key}={shortened(text)}: {allowed}")
    return number


def _rate(section: configparser.SectionProxy, file: Path) -> float | None:
    text = section.get("frameRate")
    if text is None:
        return None
    text = text.strip()
    number = float(text) if _NUMBER.fullmatch(text) else 0.0
    if not SLOWEST <= number <= FASTEST:
        allowed = f"expected frames a second, {SLOWEST} to {FASTEST}"
        raise DataError(str(file), f"frameRate={shortened(text)}: {allowed}")
    return number
