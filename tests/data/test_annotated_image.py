"""Pixels of another size than annotated are refused with both sizes and the likely reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from halftrack.data import DataError
from halftrack.data.annotated_image import load_annotated_image

STORIES = {
    "halved": (
        (20, 15),
        None,
        "image is 20x15, but 40x30 in its annotation: it was resized to 0.5",
    ),
    "enlarged": ((60, 45), None, "resized to 1.5 times"),
    "cropped": ((40, 22), None, "cropped, or it is another image"),
    "on its side with a tag": ((30, 40), 6, r"orientation tag \(6\) turns it when it is shown"),
    "on its other side with a tag": ((30, 40), 8, r"orientation tag \(8\)"),
    "on its side without a tag": ((30, 40), None, "height and width are exchanged"),
    "on its side, tag of another cause": ((30, 40), 3, "height and width are exchanged"),
    "one pixel short": ((40, 29), None, "image is 40x29, but 40x30"),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("story", STORIES)
def test_another_size_is_told_with_its_cause(story: str, kind: str, tmp_path: Path) -> None:
    size, orientation, message = STORIES[story]
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    file = tmp_path / "frame.img"
    Image.new("RGB", size).save(file, kind, exif=exif.tobytes())
    with pytest.raises(DataError, match=message) as raised:
        load_annotated_image(file, (30, 40), source="its annotation")
    assert raised.value.file == str(file)


def test_the_annotated_size_is_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # A half turn keeps the size: the pixels are taken as stored.
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif.tobytes())
    assert load_annotated_image(tmp_path / "a.jpg", (30, 40), source="x").shape == (3, 30, 40)
