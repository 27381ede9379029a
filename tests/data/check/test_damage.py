"""Damage that decoders pass over is found, file by file; good files are left alone."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halftrack.data import load_image
from halftrack.data.check.damage import libjpeg_warnings
from halftrack.data.check.images import look_at_images

HEIGHT, WIDTH = 120, 160
_Y, _X = np.mgrid[0:HEIGHT, 0:WIDTH]
SMOOTH = np.stack([127 + 60 * np.sin(_X / 9 + k) + 40 * np.cos(_Y / (5 + k)) for k in range(3)], -1)
NOISE = np.random.default_rng(0).normal(0, 10, (HEIGHT, WIDTH, 3))
PICTURE = Image.fromarray((SMOOTH + NOISE).clip(0, 255).astype(np.uint8))


def encoded(picture: Image.Image = PICTURE, kind: str = "JPEG", **extra: object) -> bytes:
    stream = BytesIO()
    picture.save(stream, kind, **extra)
    return stream.getvalue()


BASELINE = encoded(quality=90)
PROGRESSIVE = encoded(quality=90, progressive=True)
RESTARTS = encoded(quality=90, restart_marker_rows=1)
FULL_COLOUR = encoded(quality=80, subsampling=0)
PNG = encoded(kind="PNG")


def zeroed(content: bytes, length: int = 1024) -> bytes:
    """A disk's sector that was never written, in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes(length) + content[middle + length :]


def overwritten(content: bytes) -> bytes:
    middle = len(content) // 2
    noise = np.random.default_rng(3).integers(0, 255, 400, dtype=np.uint8).tobytes()
    return content[:middle] + noise + content[middle + 400 :]


def shortened(content: bytes, length: int = 300) -> bytes:
    """Bytes lost in the middle."""
    middle = len(content) // 2
    return content[:middle] + content[middle + length :]


def ended(content: bytes) -> bytes:
    """Cut at two thirds, with the mark of the end put behind."""
    return content[: len(content) * 2 // 3] + b"\xff\xd9"


def repeated(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + content[middle - 500 :]


def without_a_restart(content: bytes) -> bytes:
    at = content.index(b"\xff\xd3")
    return content[:at] + content[at + 2 :]


DAMAGED = {
    f"{kind}, {damage.__name__}": damage(content)
    for kind, content in {
        "baseline": BASELINE,
        "progressive": PROGRESSIVE,
        "restart markers": RESTARTS,
        "full colour": FULL_COLOUR,
    }.items()
    for damage in (zeroed, overwritten, shortened, ended, repeated)
}
DAMAGED["a restart marker is missing"] = without_a_restart(RESTARTS)
DAMAGED["jpeg whose end is missing"] = BASELINE[:-2]
DAMAGED["png with a wrong checksum"] = PNG[:-14] + bytes([PNG[-14] ^ 1]) + PNG[-13:]
DAMAGED["png whose last chunk is missing"] = PNG[:-12]
DAMAGED["png, zeroed"] = zeroed(PNG)

_EXIF = Image.Exif()
_EXIF[0x0112] = 6
GOOD = {
    "baseline": BASELINE,
    "progressive": PROGRESSIVE,
    "restart markers": RESTARTS,
    "a restart after every block": encoded(restart_marker_blocks=1),
    "full colour": FULL_COLOUR,
    "half colour": encoded(subsampling="4:2:2"),
    "optimised": encoded(optimize=True, quality=100),
    "coarse": encoded(quality=1),
    "no colour transform": encoded(keep_rgb=True),
    "grey": encoded(PICTURE.convert("L")),
    "grey progressive": encoded(PICTURE.convert("L"), progressive=True),
    "cmyk": encoded(PICTURE.convert("CMYK")),
    "one pixel": encoded(PICTURE.resize((1, 1))),
    "odd sides": encoded(PICTURE.resize((17, 9)), progressive=True),
    "turned": encoded(exif=_EXIF.tobytes()),
    "profile": encoded(icc_profile=bytes(100_000)),
    "bytes behind it": BASELINE + bytes(700),
    "several pictures": encoded(kind="MPO", save_all=True, append_images=[PICTURE]),
    "png": PNG,
    "webp": encoded(kind="WebP"),
    "gif": encoded(kind="GIF"),
}


def reasons(contents: dict[str, bytes], folder: Path, *, threads: int = 3) -> dict[str, str]:
    """The problem of each file that has one."""
    files = {str(folder / f"{n}.jpg"): story for n, story in enumerate(contents)}
    for file, story in files.items():
        Path(file).write_bytes(contents[story])
    problems, *_ = look_at_images(list(files), str, decode=True, threads=threads, progress=None)
    return {files[problem.file]: problem.reason for problem in problems}


def test_no_good_image_is_called_damaged(tmp_path: Path) -> None:
    assert reasons(GOOD, tmp_path) == {}


def test_every_damaged_image_is_named_among_good_ones(tmp_path: Path) -> None:
    found = reasons({**GOOD, **DAMAGED}, tmp_path)
    assert list(found) == list(DAMAGED)
    assert all(reason.startswith("image ") for reason in found.values())


@pytest.mark.parametrize("story", [story for story in DAMAGED if story.endswith("ended")])
def test_such_damage_is_no_error_of_a_decoder(story: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(DAMAGED[story])
    assert load_image(tmp_path / "a.jpg").shape == (3, HEIGHT, WIDTH)
    (reason,) = reasons({story: DAMAGED[story]}, tmp_path).values()
    assert "pixels are wrong; fetch the file again" in reason


def test_other_text_on_the_error_stream_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with libjpeg_warnings() as warnings:
        os.write(2, b"a line of somebody else\nCorrupt JPEG data: bad Huffman code\n")
        os.write(2, b"Corrupt JPEG data: bad ICC marker\n")
    assert warnings == [
        "image is damaged: libjpeg says 'Corrupt JPEG data: bad Huffman code'; some of its pixels "
        "are wrong; fetch the file again, or leave it out"
    ]
    told = "a line of somebody else\nCorrupt JPEG data: bad ICC marker\n"
    assert capfd.readouterr().err == told


def test_without_an_error_stream_nothing_fails(tmp_path: Path) -> None:
    kept = os.dup(2)
    os.close(2)
    try:
        found = reasons({"good": BASELINE, "bad": DAMAGED["baseline, shortened"]}, tmp_path)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert list(found) == ["bad"]  # FFmpeg's word, without libjpeg's
