"""A header tells size and orientation, and never more than a damaged file holds."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from halftrack.data.image_header import ImageHeader, read_header


def encoded(kind: str, orientation: int | None = None, size: tuple[int, int] = (40, 30)) -> bytes:
    stream = io.BytesIO()
    extra = {}
    if orientation is not None:
        exif = Image.Exif()
        exif[0x010F] = "a camera"
        exif[0x0112] = orientation
        extra["exif"] = exif.tobytes()
    if kind == "progressive":
        kind, extra["progressive"] = "JPEG", True
    Image.new("RGB", size, (200, 90, 10)).save(stream, kind, **extra)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG"])
@pytest.mark.parametrize("orientation", [None, 1, 3, 6, 8])
def test_size_and_orientation(kind: str, orientation: int | None) -> None:
    header = read_header(io.BytesIO(encoded(kind, orientation)))
    assert header == ImageHeader(30, 40, orientation or 1)


@pytest.mark.parametrize("content", [b"", b"\xff", b"GIF89a", b"<html>", b"\x89PNG\r\n\x1a\n"])
def test_other_files_have_none(content: bytes) -> None:
    assert read_header(io.BytesIO(content)) is None


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["JPEG", "PNG"]), st.data())
def test_a_damaged_file_raises_nothing(kind: str, data: st.DataObject) -> None:
    content = bytearray(encoded(kind, 6))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    read_header(io.BytesIO(bytes(content[: data.draw(st.integers(0, len(content)))])))
