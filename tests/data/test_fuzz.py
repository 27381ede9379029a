"""Whatever image files hold, they give a picture or an error of ours, soon."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzzing import Reader, mutated_bytes, run
from PIL import Image

from halftrack.data import load_image
from halftrack.data.check.images import look_at_images

RNG = np.random.default_rng(0)
NOISE = Image.fromarray(RNG.integers(0, 255, (24, 32, 3), dtype=np.uint8))
FLAT = Image.new("RGB", (32, 24), (20, 130, 240))
TOKENS = [
    b"\xff\xd8", b"\xff\xd9", b"\xff\xc0", b"\xff\xc2", b"\xff\xda", b"IHDR", b"IDAT", b"IEND",
    b"\xff\xff", b"PLTE", b"acTL", b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"GIF89a",
    b"\x21\xf9", b"\x2c", b"\x3b",
]  # fmt: skip


def encoded(*kinds: tuple[str, dict[str, object]]) -> list[bytes]:
    contents = []
    for kind, how in kinds:
        for picture in (NOISE, FLAT):
            stream = io.BytesIO()
            picture.save(stream, kind, **how)
            contents.append(stream.getvalue())
    return contents


KINDS = {
    "JPEG": encoded(("JPEG", {}), ("JPEG", {"progressive": True, "quality": 30})),
    "PNG": encoded(("PNG", {}), ("PNG", {"compress_level": 0})),
    "WebP": encoded(("WebP", {}), ("WebP", {"lossless": True})),
    "GIF": encoded(("GIF", {})),
}


def read(content: bytes, folder: Path) -> None:
    """Load a file, and look at it as ``data check --decode`` does, which never raises."""
    file = folder / "a.jpg"
    file.write_bytes(content)
    problems, *_ = look_at_images([str(file)], str, decode=True, threads=1, progress=None)
    image = load_image(file)
    assert image.dtype == torch.uint8
    assert image.ndim == 3
    assert image.shape[0] == 3
    # What is loaded may still be told to be damaged; what is refused must be told.
    assert len(problems) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_no_damaged_image_does_more_than_raise_our_error(kind: str) -> None:
    figures = run(Reader(kind, mutated_bytes(KINDS[kind], TOKENS), read), 75)
    assert 0 < figures.refused < figures.inputs
