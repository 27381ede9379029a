"""Images that are missing, empty, torn or of another size are named, in the order of the set."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from halftrack.data.check import images as check_images
from halftrack.data.check.images import bad_images


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
    problems = bad_images(images, str, threads=3, progress=None, **how)
    return [f"{Path(problem.file).name}: {problem.reason}" for problem in problems]


@pytest.mark.parametrize("piece", [1, 2, 4096])
def test_problems_come_in_the_order_of_the_images(
    piece: int, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_images, "_PIECE", piece)
    seen = []
    problems = bad_images(
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
