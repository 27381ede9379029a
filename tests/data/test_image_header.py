"""A header tells kind, size, depth and orientation, and refuses what would be read wrongly."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from halftrack.data import DataError
from halftrack.data.image_header import ImageHeader, header_of, orientation, read_header

STILL = Image.new("RGB", (40, 30), (200, 90, 10))
OTHER = Image.new("RGB", (40, 30), (10, 90, 200))


def encoded(kind: str, turned: int | None = None, **extra: object) -> bytes:
    stream = io.BytesIO()
    if turned is not None:
        exif = Image.Exif()
        exif[0x010F] = "a camera"
        exif[0x0112] = turned
        extra["exif"] = exif.tobytes()
    STILL.save(stream, kind, **extra)
    return stream.getvalue()


def animated(kind: str) -> bytes:
    return encoded(kind, save_all=True, append_images=[OTHER])


def png(width: int, height: int, *, bits: int = 8) -> bytes:
    """A PNG file that claims a size: its one chunk of pixels is empty."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    )
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        checksum = zlib.crc32(kind + data)
        content += struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", checksum)
    return content


def resized(content: bytes, width: int, height: int) -> bytes:
    """A JPEG file whose header claims another size."""
    start = content.index(b"\xff\xc0")
    return content[: start + 5] + struct.pack(">HH", height, width) + content[start + 9 :]


def gif(width: int, height: int, image: tuple[int, int]) -> bytes:
    """A GIF file that claims a screen and an image upon it."""
    screen = struct.pack("<6sHHBBB", b"GIF89a", width, height, 0, 0, 0)
    return screen + struct.pack("<BHHHHBB", 0x2C, 0, 0, *image, 0, 2) + b"\x01\x44\x00\x3b"


def webp(width: int, height: int) -> bytes:
    """A WebP file that claims a canvas."""
    chunk = struct.pack("<4sIB3x", b"VP8X", 10, 0)
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + chunk + sides
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("turned", [None, 1, 3, 6, 8])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP"])
def test_kind_size_and_orientation(kind: str, turned: int | None) -> None:
    content = bytearray(encoded(kind, turned))
    assert read_header(content, "x") == ImageHeader(kind, 30, 40, 8)
    assert orientation(content) == (turned or 1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("value", "expected"), [(6, 6), (0, 1), (9, 1), (65535, 1)])
def test_an_orientation_in_either_byte_order(order: str, value: int, expected: int) -> None:
    mark = b"II" if order == "<" else b"MM"
    entry = struct.pack(f"{order}2sHIHHHIH", mark, 42, 8, 1, 0x0112, 3, 1, value)
    exif = b"Exif\0\0" + entry + bytes(8)
    content = encoded("JPEG", exif=exif)
    assert orientation(bytearray(content)) == expected


WELCOME = {
    "progressive": encoded("JPEG", progressive=True),
    "profile beyond the first read": encoded("JPEG", icc_profile=bytes(200_000)),
    "comment of 60 kB": encoded("JPEG", comment=b"x" * 60_000),
    "fill bytes before a marker": encoded("JPEG").replace(b"\xff\xc0", b"\xff\xff\xff\xc0", 1),
    "png with a profile beyond the first read": encoded("PNG", icc_profile=os.urandom(50_000)),
    "still gif": encoded("GIF"),
    "lossless webp": encoded("WebP", lossless=True),
    "webp with an alpha channel": encoded("WebP", exif=b"Exif\0\0"),
    "largest that is allowed": resized(encoded("JPEG"), 8192, 8192),
    "16 bits": png(40, 30, bits=16),
}


@pytest.mark.parametrize("story", WELCOME)
def test_what_is_read(story: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(WELCOME[story])
    side = 8192 if story == "largest that is allowed" else None
    header = header_of(tmp_path / "a.jpg")
    assert (header.height, header.width) == ((side, side) if side else (30, 40))
    assert header.bits == (16 if story == "16 bits" else 8)


REFUSED = {
    "animated png": (animated("PNG"), "animated PNG of 2 frames: pick the one to learn from"),
    "animated gif": (animated("GIF"), "animated GIF of several frames"),
    "animated webp": (animated("WebP"), "animated WebP of several frames"),
    "jpeg bomb": (resized(encoded("JPEG"), 65500, 65500), "65500x65500, 4290 million pixels"),
    "png bomb": (png(2**31 - 1, 2**31 - 1), "million pixels; allowed are 67 million"),
    "gif bomb, by its screen": (gif(65535, 65535, (1, 1)), "65535x65535, 4295 million"),
    "gif bomb, by its image": (gif(1, 1, (65535, 65535)), "65535x65535, 4295 million"),
    "webp bomb": (webp(1 << 24, 1 << 24), "16777216x16777216"),
    "one pixel over": (resized(encoded("JPEG"), 8193, 8192), "8193x8192, 67 million pixels"),
    "no width": (resized(encoded("JPEG"), 0, 30), "0x30: it has no pixel"),
    "no height": (png(40, 0), "40x0: it has no pixel"),
    "cut in the signature": (encoded("PNG")[:6], "no image of a known kind"),
    "jpeg cut in its header": (encoded("JPEG")[:100], "cut short: its header is incomplete"),
    "png cut in its header": (encoded("PNG")[:20], "cut short: its header is incomplete"),
    "png without pixels": (encoded("PNG")[:33], "cut short: its header is incomplete"),
    "gif cut in its pixels": (encoded("GIF")[:-9], "cut short"),
    "webp cut in its header": (encoded("WebP")[:22], "cut short"),
    "jpeg without a frame": (b"\xff\xd8\xff\xda\0\x02" + bytes(20), "no size: its header is dam"),
    "jpeg of 12 bits": (
        encoded("JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
        "12 bits a channel; a JPEG file must have 8",
    ),
    "tiff": (encoded("TIFF"), "a TIFF file; allowed are JPEG, PNG, WebP and GIF stills"),
    "bmp": (encoded("BMP"), "a BMP file"),
    "jpeg 2000": (encoded("JPEG2000"), "a JPEG 2000 file"),
    "ppm": (encoded("PPM"), "a PPM file"),
    "film": (b"\0\0\0\x20ftypisom" + bytes(20), "an AVIF or HEIC file, or a video"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "web page": (b"\n<!DOCTYPE html><html>", "a web page, not the image"),
    "zip": (b"PK\x03\x04" + bytes(20), "a zip archive"),
    "zero bytes": (bytes(5000), "nothing but zero bytes"),
    "text": (b"hello", "no image of a known kind"),
}


@pytest.mark.parametrize("story", REFUSED)
def test_what_is_refused_and_why(story: str, tmp_path: Path) -> None:
    content, reason = REFUSED[story]
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError) as raised:
        header_of(tmp_path / "a.jpg")
    assert raised.value.file == str(tmp_path / "a.jpg")
    assert reason in raised.value.reason


def test_no_plain_file_is_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "circle.jpg").symlink_to(tmp_path / "circle.jpg")
    (tmp_path / "empty.jpg").touch()
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(2**29 + 1)
    for name, reason in (
        ("folder.jpg", "image is a folder, expected a file"),
        ("pipe.jpg", "image is a device or pipe, expected a file"),
        ("circle.jpg", "image cannot be read: Too many levels of symbolic links"),
        ("empty.jpg", "image is an empty file"),
        ("huge.jpg", "image is a file of 512 MiB, allowed are 512"),
        ("none.jpg", "image is missing"),
        ("zero\0.jpg", "image cannot be read: embedded null byte"),
        ("x" * 300, "image cannot be read: File name too long"),
    ):
        with pytest.raises(DataError) as raised:
            header_of(tmp_path / name)
        assert raised.value.reason == reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded("JPEG"))
    (tmp_path / "a.jpg").chmod(0)
    with pytest.raises(DataError, match="image cannot be read: Permission denied"):
        header_of(tmp_path / "a.jpg")


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "WebP"]), st.data())
def test_a_damaged_file_raises_our_error_alone(kind: str, data: st.DataObject) -> None:
    content = bytearray(encoded(kind, None if kind == "GIF" else 6))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    assert 1 <= orientation(content) <= 8
    with contextlib.suppress(DataError):
        read_header(content, "x")
