"""Images that are missing, empty, torn or of another size are named, in the order of the set."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from halftrack.data.check import images as check_images
from halftrack.data.check.images import look_at_images


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """A good image, a missing one, an empty one, a torn one, and a good one."""
    paths = [tmp_path / f"{number}.jpg" for number in range(5)]
    for number in (0, 3, 4):
        Image.new("RGB", (40, 30)).save(paths[number])
    paths[2].touch()
    paths[3].write_bytes(paths[3].read_bytes()[:200])
    return paths


def reasons(images: list[Path], **how) -> list[str]:
    problems, *_ = look_at_images(images, str, threads=3, progress=None, **how)
    return [f"{Path(problem.file).name}: {problem.reason}" for problem in problems]


@pytest.mark.parametrize("piece", [1, 2, 4096])
def test_problems_come_in_the_order_of_the_images(
    piece: int, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_images, "_PIECE", piece)
    seen = []
    problems, *_ = look_at_images(
        images, str, decode=False, threads=3, progress=lambda *told: seen.append(told)
    )
    assert [problem.file for problem in problems] == [str(images[1]), str(images[2])]
    assert seen == [(done, 5) for done in range(1, 6)]


def test_a_torn_image_is_found_by_decoding_alone(images: list[Path]) -> None:
    missing = ["1.jpg: image is missing", "2.jpg: image is an empty file"]
    assert reasons(images, decode=False) == missing
    *first, torn = reasons(images, decode=True)
    assert first == missing
    assert torn.startswith("3.jpg: image cannot be decoded")


def test_an_image_of_another_size_is_named_with_both(images: list[Path]) -> None:
    good = [images[0], images[4]]
    assert reasons(good, decode=True, size=lambda _: (30, 40)) == []
    for decode in (False, True):
        told = reasons(good, decode=decode, size=lambda _: (40, 30), source="seqinfo.ini")
        assert told[0].startswith("0.jpg: image is 40x30, but 30x40 in seqinfo.ini: height and")
        assert len(told) == 2


def test_images_that_are_used_otherwise_than_they_look_are_listed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (40, 30)).save(tmp_path / "turned.jpg", exif=exif.tobytes())
    Image.new("I;16", (40, 30)).save(tmp_path / "deep.png")
    Image.new("RGB", (40, 30)).save(tmp_path / "plain.png")
    files = [tmp_path / name for name in ("turned.jpg", "plain.png", "deep.png")]
    for decode in (False, True):
        problems, odd, _ = look_at_images(files, str, decode=decode, threads=2, progress=None)
        assert problems == []
        assert [f"{Path(each.file).name}: {each.reason}" for each in odd] == [
            "turned.jpg: orientation tag 3 is ignored: pixels are taken as stored",
            "deep.png: image has 16 bits a channel, the upper 8 are used",
        ]


def test_what_lies_beside_images_is_counted(tmp_path: Path) -> None:
    files = [tmp_path / "train" / "a" / "img1" / f"{number}.png" for number in range(3)]
    files[0].parent.mkdir(parents=True)
    for file in files:
        Image.new("RGB", (4, 3)).save(file)
    look = partial(look_at_images, files, str, decode=False, threads=2, progress=None)
    assert look().passed_over == {}
    for clutter in ("__MACOSX", "a/.ipynb_checkpoints", "a/img1/@eaDir"):
        (tmp_path / "train" / clutter).mkdir()
    for clutter in ("a/img1/._0.png", "a/img1/Thumbs.db"):
        (tmp_path / "train" / clutter).touch()
    assert look().passed_over == {"hidden and foreign files": 5}
