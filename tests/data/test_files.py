"""Paths and text files as users have them end in one line that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from halftrack.data import DataError
from halftrack.data.files import is_clutter, read_content, read_lines, shortened, user_path


@pytest.mark.parametrize("path", ["~nobody-of-this-name/data", "a\0b", "{loop}/x"])
def test_a_path_that_cannot_be_is_refused(path: str, tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(DataError, match="is no usable path"):
        user_path(path.format(loop=loop))
    assert user_path(f"{tmp_path}/x/../y") == tmp_path.resolve() / "y"


def test_content_is_read_up_to_a_limit(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"x" * (1 << 20))
    assert len(read_content(file, what="list", limit=1 << 20)) == 1 << 20
    file.write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(DataError, match="list has more than 1 MiB, which is no such file"):
        read_content(file, what="list", limit=1 << 20)
    with pytest.raises(DataError, match="list cannot be read: Is a directory"):
        read_content(tmp_path, what="list", limit=1)
    with pytest.raises(DataError, match="list is missing"):
        read_content(tmp_path / "b", what="list", limit=1)


def test_lines_keep_their_numbers(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbfone\r\n\r\n two \n\n")
    assert read_lines(file) == [(1, "one"), (3, "two")]


def test_long_values_are_cut() -> None:
    assert shortened("x" * 10**6) == "'" + "x" * 59 + "..."
    assert shortened([1, 2]) == "[1, 2]"


@pytest.mark.parametrize(
    ("name", "clutter"),
    [("._000001.jpg", True), (".DS_Store", True), ("__MACOSX", True), ("@eaDir", True),
     ("Thumbs.db", True), ("000001.jpg", False), ("val_0", False)],
)  # fmt: skip
def test_clutter_is_known_by_its_name(name: str, clutter: bool) -> None:
    assert is_clutter(name) == clutter
