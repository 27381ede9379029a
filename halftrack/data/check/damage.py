"""Damage within images that decoders pass over: wrong pixels without an error.

A JPEG file has no checksum. libjpeg fills what it cannot read with grey and writes a line on the
standard error stream; FFmpeg's decoder, told to be strict, stops at most of such places. A changed
bit after which a stream still makes sense, and damage within WebP and GIF, no decoder can see.
"""

from __future__ import annotations

import os
import re
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import av

from halftrack.data.image_header import ImageHeader, png_chunks

__all__ = ["damage", "libjpeg_warnings"]

_WARNING = re.compile(
    r"Corrupt JPEG data: (?!bad ICC)|Premature end of JPEG|Inconsistent progression"
)
_STRICT = {"err_detect": "explode+crccheck+bitstream+careful"}
_ADVICE = "some of its pixels are wrong; fetch the file again, or leave it out"


def damage(content: bytearray, header: ImageHeader) -> str | None:
    """Damage of an image that its decoder took, in one sentence; None where nothing is seen.

    Args:
        content: the whole file.
        header: the file's own.
    """
    if header.kind == "JPEG" and (reason := _second_opinion(content)) is not None:
        return f"image is damaged: {reason}; {_ADVICE}"
    if header.kind == "PNG" and (reason := _png_damage(content)) is not None:
        return f"image is damaged: {reason}; fetch the file again, or leave it out"
    return None


@contextmanager
def libjpeg_warnings() -> Iterator[list[str]]:
    """Collect libjpeg's warnings: the list is filled at the end of the ``with`` block.

    The process's standard error stream goes to a file meanwhile; what is not libjpeg's is written
    on afterwards. Without such a stream there are no warnings.
    """
    warnings: list[str] = []
    try:
        kept = os.dup(2)
    except OSError:
        yield warnings
        return
    with tempfile.TemporaryFile() as file:
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(file.fileno(), 2)
        try:
            yield warnings
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            for line in file:
                text = line.decode(errors="replace").strip()
                if _WARNING.match(text):
                    warnings.append(f"image is damaged: libjpeg says '{text}'; {_ADVICE}")
                else:
                    os.write(2, line)


def _second_opinion(content: bytearray) -> str | None:
    """FFmpeg's, of a JPEG file; None too for kinds of JPEG that it does not decode."""
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options = _STRICT
    try:
        frames = [*decoder.decode(av.Packet(bytes(content))), *decoder.decode(None)]
    except av.error.InvalidDataError:
        return "FFmpeg finds invalid data in it"
    except av.error.FFmpegError:
        return None
    return "FFmpeg finds gaps in it" if any(frame.is_corrupt for frame in frames) else None


def _png_damage(content: bytearray) -> str | None:
    for kind, start, length in png_chunks(content):
        end = start + length
        if kind == b"IEND":
            return None
        (stored,) = struct.unpack_from(">I", content, end) if end + 4 <= len(content) else (None,)
        if kind == b"IDAT" and zlib.crc32(memoryview(content)[start - 4 : end]) != stored:
            return "the checksum of its pixels is wrong"
    return "it ends before its last chunk"
