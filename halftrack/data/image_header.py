"""Kind, size, depth and orientation of an image, read from its first bytes: nothing is decoded.

A header that asks for gigabytes, or a kind that would be read as something else, is refused here:
it costs microseconds and no memory.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from halftrack.data.problems import DataError

__all__ = [
    "MAX_PIXELS",
    "ImageHeader",
    "first_bytes",
    "header_of",
    "orientation",
    "png_chunks",
    "read_bytes",
    "read_header",
    "upright_size",
]

MAX_PIXELS: Final = 2**26
"""Pixels of the largest image that is decoded, 67 million: 192 MiB as RGB."""
_MAX_BYTES: Final = 2**29
_ALLOWED: Final = "allowed are JPEG, PNG, WebP and GIF stills"
# Markers that start a frame: its precision, height and width follow.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE: Final = frozenset((0x00, 0x01, *range(0xD0, 0xD8)))
_CUT_SHORT: Final = "image is cut short: its header is incomplete"
_FIRST: Final = 1 << 13  # bytes: enough for most headers, a fraction of most files
_ORIENTATION_TAG: Final = 0x0112
_OTHERS: Final = (
    (b"II*\0", "a TIFF file"),
    (b"MM\0*", "a TIFF file"),
    (b"II+\0", "a TIFF file"),
    (b"BM", "a BMP file"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 file"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 file"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL file"),
    (b"\xff\x0a", "a JPEG XL file"),
    (b"\x76\x2f\x31\x01", "an OpenEXR file"),
    (b"P5", "a PGM file"),
    (b"P6", "a PPM file"),
    (b"8BPS", "a Photoshop file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF file"),
    (b"version https://git-lfs", "a Git LFS pointer, not the image: fetch it with `git lfs pull`"),
)


class ImageHeader(NamedTuple):
    """The facts that an image file states before its pixels."""

    kind: str
    """``JPEG``, ``PNG``, ``GIF`` or ``WebP``, whatever the file is called."""
    height: int
    """Rows of pixels as stored."""
    width: int
    """Columns of pixels as stored."""
    bits: int
    """Bits of a channel: 8 for all but some PNG files."""


def read_bytes(name: str, *, most: int | None = None) -> bytearray:
    """The content of an image file, or its first ``most`` bytes.

    Raises:
        DataError: if it is missing, empty, no plain file, above 512 MiB or cannot be read.
    """
    try:
        status = os.stat(name)
        content = bytearray()
        if stat.S_ISREG(status.st_mode) and status.st_size <= _MAX_BYTES:
            with open(name, "rb") as stream:
                content = bytearray(stream.read() if most is None else stream.read(most))
    except FileNotFoundError:
        raise DataError(name, "image is missing") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in its name
        reason = getattr(error, "strerror", None) or error
        raise DataError(name, f"image cannot be read: {reason}") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or pipe"
        raise DataError(name, f"image is {kind}, expected a file")
    if status.st_size > _MAX_BYTES:
        size = f"{status.st_size >> 20} MiB"
        raise DataError(name, f"image is a file of {size}, allowed are {_MAX_BYTES >> 20}")
    if not content:
        raise DataError(name, "image is an empty file")
    return content


def read_header(content: bytearray, name: str) -> ImageHeader:
    """The facts that the file states of itself; nothing is decoded.

    Args:
        content: the file from its first byte on, as far as it was read.
        name: the file, for errors.

    Raises:
        DataError: if it is of no kind that is read, an animation, cut short within its header, or
            would take more than ``MAX_PIXELS``.
    """
    try:
        header = _header(content, name)
    except DataError:
        raise
    except (IndexError, ValueError, struct.error):
        raise DataError(name, _CUT_SHORT) from None
    pixels = header.height * header.width
    if pixels == 0:
        raise DataError(name, f"image is {header.width}x{header.height}: it has no pixel")
    if pixels > MAX_PIXELS:
        raise DataError(
            name,
            f"image is {header.width}x{header.height}, {pixels / 1e6:.0f} million pixels; "
            f"allowed are {MAX_PIXELS / 1e6:.0f} million",
        )
    return header


def first_bytes(path: str | os.PathLike[str]) -> tuple[ImageHeader, bytearray]:
    """The header of a file, and what was read to see it: as little as tells it.

    Raises:
        DataError: as ``read_bytes`` and ``read_header`` do.
    """
    name = os.fspath(path)
    content = read_bytes(name, most=_FIRST)
    try:
        return read_header(content, name), content
    except DataError as error:
        if error.reason != _CUT_SHORT or len(content) < _FIRST:
            raise
    content = read_bytes(name)
    return read_header(content, name), content


def header_of(path: str | os.PathLike[str]) -> ImageHeader:
    """The header of a file.

    Raises:
        DataError: as ``first_bytes`` does.
    """
    return first_bytes(path)[0]


def upright_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width of an image file as a viewer shows it.

    Raises:
        DataError: as ``first_bytes`` does.
    """
    content = read_bytes(os.fspath(path))  # all of it: the orientation may stand behind the pixels
    header = read_header(content, os.fspath(path))
    turned = orientation(content) >= 5
    return (header.width, header.height) if turned else (header.height, header.width)


def orientation(content: bytearray) -> int:
    """The orientation that EXIF notes, 1 to 8; 1, upright, where there is none or it is damaged."""
    try:
        tiff = _exif(content)
        order = {b"II": "<", b"MM": ">"}[bytes(tiff[:2])]
        (start,) = struct.unpack_from(f"{order}4xI", tiff)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == _ORIENTATION_TAG and kind == 3 and values == 1:
                return value if 1 <= value <= 8 else 1
    except (KeyError, IndexError, struct.error):
        pass
    return 1


def _header(content: bytearray, name: str) -> ImageHeader:
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg(content, name)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(content, name)
    if content.startswith((b"GIF87a", b"GIF89a")):
        return _gif(content, name)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _webp(content, name)
    raise DataError(name, f"image is {_what(content)}; {_ALLOWED}")


def _what(content: bytearray) -> str:
    for start, what in _OTHERS:
        if content.startswith(start):
            return what
    if content[4:8] == b"ftyp":
        return "an AVIF or HEIC file, or a video"
    if not content.rstrip(b"\0"):
        return "nothing but zero bytes"
    head = bytes(content[:256]).lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "a web page, not the image: fetch it anew"
    return "no image of a known kind"


def _jpeg(content: bytearray, name: str) -> ImageHeader:
    position = 2
    while True:
        position = content.index(0xFF, position) if content[position] != 0xFF else position
        marker = content[position + 1]
        if marker in _FRAMES:
            bits, height, width = struct.unpack_from(">4xBHH", content, position)
            if bits != 8:
                raise DataError(name, f"image has {bits} bits a channel; a JPEG file must have 8")
            return ImageHeader("JPEG", height, width, bits)
        if marker in (0xDA, 0xD9):
            raise DataError(name, "image has no size: its header is damaged")
        if marker == 0xFF:
            position += 1
        elif marker in _ALONE:
            position += 2
        else:
            position += 2 + struct.unpack_from(">H", content, position + 2)[0]


def _png(content: bytearray, name: str) -> ImageHeader:
    width, height, bits = struct.unpack_from(">IIB", content, 16)
    if content[12:16] != b"IHDR":
        raise DataError(name, "image has no size: its header is damaged")
    for kind, start, _ in png_chunks(content):
        if kind == b"IDAT":
            break
        if kind == b"acTL" and (frames := struct.unpack_from(">I", content, start)[0]) > 1:
            raise DataError(name, _animated("PNG", f"of {frames} frames"))
    else:
        raise IndexError
    return ImageHeader("PNG", height, width, bits)


def _gif(content: bytearray, name: str) -> ImageHeader:
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    position, images = 13 + _colours(flags), 0
    while content[position] in (0x21, 0x2C):
        if content[position] == 0x21:
            position += 2
        else:
            images += 1
            if images > 1:
                raise DataError(name, _animated("GIF", "of several frames"))
            own_width, own_height, flags = struct.unpack_from("<4xHHB", content, position + 1)
            # An image may be larger than the screen it says it is shown on.
            width, height = max(width, own_width), max(height, own_height)
            position += 11 + _colours(flags)
        while content[position]:
            position += 1 + content[position]
        position += 1
    return ImageHeader("GIF", height, width, 8)


def _colours(flags: int) -> int:
    """Bytes of the table of colours."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _webp(content: bytearray, name: str) -> ImageHeader:
    kind = content[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return ImageHeader("WebP", height & 0x3FFF, width & 0x3FFF, 8)
    if kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", content, 21)
        return ImageHeader("WebP", (packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1, 8)
    if kind != b"VP8X":
        raise DataError(name, "image has no size: its header is damaged")
    if content[20] & 0x02:
        raise DataError(name, _animated("WebP", "of several frames"))
    width = int.from_bytes(content[24:27], "little") + 1
    height = int.from_bytes(content[27:30], "little") + 1
    return ImageHeader("WebP", height, width, 8)


def _animated(kind: str, extent: str) -> str:
    return f"image is an animated {kind} {extent}: pick the one to learn from; {_ALLOWED}"


def png_chunks(content: bytearray) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and length of the data of each chunk of a PNG file."""
    position = 8
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        yield kind, position + 8, length
        position += 12 + length


def _exif(content: bytearray) -> bytearray:
    """The TIFF block of EXIF; IndexError where there is none."""
    if content.startswith(b"\xff\xd8"):
        position = 2
        while content[position] == 0xFF and content[position + 1] not in (0xDA, 0xD9):
            (length,) = struct.unpack_from(">H", content, position + 2)
            if content[position + 4 : position + 10] == b"Exif\0\0":
                return content[position + 10 : position + 2 + length]
            position += 2 + length
    elif content.startswith(b"\x89PNG"):
        for kind, start, length in png_chunks(content):
            if kind == b"eXIf":
                return content[start : start + length]
    elif content.startswith(b"RIFF"):
        position = 12
        while position + 8 <= len(content):
            kind, length = struct.unpack_from("<4sI", content, position)
            if kind == b"EXIF":
                block = content[position + 8 : position + 8 + length]
                return block[6:] if block.startswith(b"Exif\0\0") else block
            position += 8 + length + length % 2
    raise IndexError
