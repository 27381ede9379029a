"""Images of every kind a user may have: converted as documented, or refused with the file."""

from __future__ import annotations

import logging
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from halftrack.data import DataError, load_image
from halftrack.data import images as data_images
from halftrack.data.images import GivenImage, pixels_of

NOISE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
PICTURE = Image.fromarray(NOISE)
GREY = np.asarray(PICTURE.convert("L"))


def encoded(picture: Image.Image, kind: str, **extra: object) -> bytes:
    stream = BytesIO()
    picture.save(stream, kind, **extra)
    return stream.getvalue()


def rgb(pixels: np.ndarray) -> torch.Tensor:
    if pixels.ndim == 2:
        pixels = pixels[..., None].repeat(3, axis=2)
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    stream: bytes,
    *,
    colour: int = 2,
    bits: int = 8,
    end: bool = True,
    size: tuple[int, int] = (40, 30),
) -> bytes:
    """A PNG file around a stream of pixels, every checksum of a chunk right."""
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", stream)
    return content + (chunk(b"IEND", b"") if end else b"")


def wide_png(pixels: np.ndarray, colour: int) -> bytes:
    """A PNG file of 16 bits a channel."""
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png(zlib.compress(lines), colour=colour, bits=16)


LINES = b"".join(b"\0" + row.tobytes() for row in NOISE)
WIDE = NOISE.astype(np.uint16) * 257
ALPHA = np.dstack([NOISE, GREY])
PALETTE = PICTURE.convert("P")
LOW = np.random.default_rng(1).integers(0, 65536, (30, 40, 3), dtype=np.uint16)

CONVERTED = {
    "png": (encoded(PICTURE, "PNG"), NOISE),
    "png of 16 bits": (wide_png(WIDE, 2), NOISE),
    "png of 16 bits, any values": (wide_png(LOW, 2), (LOW >> 8).astype(np.uint8)),
    "grey png of 16 bits": (wide_png(GREY.astype(np.uint16) * 257, 0), GREY),
    "png of 16 bits with alpha": (
        wide_png(np.dstack([WIDE, LOW[..., 0]]), 6),
        NOISE,
    ),
    "grey png of 16 bits with alpha": (
        wide_png(np.dstack([GREY.astype(np.uint16) * 257, LOW[..., 0]]), 4),
        GREY,
    ),
    "png of 1 bit": (
        encoded(PICTURE.convert("1"), "PNG"),
        np.asarray(PICTURE.convert("1")).astype(np.uint8) * 255,
    ),
    "png of 4 bits": (
        encoded(PICTURE.quantize(16), "PNG"),
        np.asarray(PICTURE.quantize(16).convert("RGB")),
    ),
    "palette png": (encoded(PALETTE, "PNG"), np.asarray(PALETTE.convert("RGB"))),
    "palette png with a transparent colour": (
        encoded(PALETTE, "PNG", transparency=3),
        np.asarray(PALETTE.convert("RGB")),
    ),
    "png with alpha": (encoded(Image.fromarray(ALPHA), "PNG"), NOISE),
    "png that is transparent all over": (
        encoded(Image.fromarray(np.dstack([NOISE, 0 * GREY])), "PNG"),
        NOISE,
    ),
    "grey png": (encoded(Image.fromarray(GREY), "PNG"), GREY),
    "grey png with alpha": (encoded(Image.fromarray(ALPHA).convert("LA"), "PNG"), GREY),
    "lossless webp": (encoded(PICTURE, "WebP", lossless=True, exact=True), NOISE),
    "webp with alpha": (
        encoded(Image.fromarray(ALPHA), "WebP", lossless=True, exact=True),
        NOISE,
    ),
    "still gif": (encoded(PALETTE, "GIF"), np.asarray(PALETTE.convert("RGB"))),
    "png whose last chunk is missing": (png(zlib.compress(LINES), end=False), NOISE),
    "png with more pixels than its size": (png(zlib.compress(LINES * 2)), NOISE),
}


@pytest.mark.parametrize("story", CONVERTED)
def test_what_is_converted(story: str, tmp_path: Path) -> None:
    content, expected = CONVERTED[story]
    (tmp_path / "frame.jpg").write_bytes(content)
    image = load_image(tmp_path / "frame.jpg")
    assert image.dtype == torch.uint8
    assert torch.equal(image, rgb(expected))


JPEG = {
    "colour": encoded(PICTURE, "JPEG", quality=95),
    "progressive": encoded(PICTURE, "JPEG", progressive=True),
    "grey": encoded(PICTURE.convert("L"), "JPEG"),
    "cmyk": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "with restart markers": encoded(PICTURE, "JPEG", restart_marker_blocks=1),
    "of several pictures": encoded(PICTURE, "MPO", save_all=True, append_images=[PICTURE]),
    "with bytes behind it": encoded(PICTURE, "JPEG") + bytes(500),
}


@pytest.mark.parametrize("story", JPEG)
def test_kinds_of_jpeg_have_the_pixels_that_pillow_sees(story: str, tmp_path: Path) -> None:
    (tmp_path / "frame.png").write_bytes(JPEG[story])
    image = load_image(tmp_path / "frame.png")
    expected = rgb(np.asarray(Image.open(BytesIO(JPEG[story])).convert("RGB")))
    assert (image.int() - expected.int()).abs().max() <= 4


DAMAGED = {
    "png with a flipped bit": encoded(PICTURE, "PNG")[:900]
    + bytes([encoded(PICTURE, "PNG")[900] ^ 1])
    + encoded(PICTURE, "PNG")[901:],
    "png cut short": encoded(PICTURE, "PNG")[:-400],
    "png whose pixels end early": png(zlib.compress(LINES[:1000])),
    "png of another size than its pixels": png(zlib.compress(LINES), size=(4000, 3000)),
    "png without any pixel": png(b""),
    "png with a wrong sum of its pixels": png(zlib.compress(LINES)[:-4] + b"abcd"),
    "png with a filter that is none": png(zlib.compress(b"\x09" + LINES[1:])),
    "png of a colour type that is none": png(zlib.compress(LINES), colour=5),
    "palette png without a palette": png(zlib.compress(LINES), colour=3),
    "jpeg cut short": encoded(PICTURE, "JPEG")[:-300],
    "jpeg without its end": encoded(PICTURE, "JPEG")[:-2],
    "webp cut short": encoded(PICTURE, "WebP", lossless=True)[:-300],
    "gif cut short": encoded(PALETTE, "GIF")[:-300],
}


@pytest.mark.parametrize("story", DAMAGED)
def test_damage_is_an_error_that_names_the_file(story: str, tmp_path: Path) -> None:
    (tmp_path / "frame.jpg").write_bytes(DAMAGED[story])
    with pytest.raises(DataError, match=r"frame\.jpg: image (is|cannot be) "):
        load_image(tmp_path / "frame.jpg")


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP"])
def test_an_orientation_is_applied_where_that_is_asked_for(
    kind: str, turned: int, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = turned
    extra = {"lossless": True} if kind == "WebP" else {}
    (tmp_path / "a").write_bytes(encoded(PICTURE, kind, exif=exif.tobytes(), **extra))
    stored = load_image(tmp_path / "a")
    assert stored.shape == (3, 30, 40)
    shown = ImageOps.exif_transpose(Image.open(tmp_path / "a")).convert("RGB")
    upright = load_image(tmp_path / "a", upright=True)
    assert upright.is_contiguous() or turned == 1
    assert torch.equal(upright, rgb(np.asarray(shown)))


def test_16_bits_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(data_images, "_told", set())
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(wide_png(WIDE, 2))
        with caplog.at_level(logging.WARNING):
            load_image(tmp_path / f"{number}.png")
    (record,) = caplog.records
    assert "0.png has 16 bits a channel" in record.getMessage()


@pytest.mark.parametrize("given", [NOISE, torch.from_numpy(NOISE).permute(2, 0, 1)])
def test_an_image_that_is_given_is_not_copied(given: GivenImage) -> None:
    pixels = pixels_of(given)
    assert np.shares_memory(pixels, NOISE)
    assert np.array_equal(pixels, NOISE)
    assert np.array_equal(pixels_of(PICTURE), NOISE)
