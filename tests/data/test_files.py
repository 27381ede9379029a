"""Paths and text files as users have them end in one line that names the file."""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

from halftrack.data import DataError
from halftrack.data.files import (
    file_name,
    is_clutter,
    leads_below,
    read_content,
    read_lines,
    require_utf8,
    shortened,
    user_path,
)


@pytest.mark.parametrize("path", ["~nobody-of-this-name/data", "a\0b", "{loop}/x"])
def test_a_path_that_cannot_be_is_refused(path: str, tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(DataError, match="is no usable path"):
        user_path(path.format(loop=loop))
    assert user_path(f"{tmp_path}/x/../y") == tmp_path.resolve() / "y"


@pytest.mark.parametrize(
    ("path", "below"),
    [
        *(("a", True), ("a/b.jpg", True), ("a../..b/c", True), ("a" * 400, True)),
        *(("", False), ("/a", False), ("..", False), ("../a", False), ("a/../b", False)),
        *(("a/..", False), ("a\0b", False), ("a" * 401, False)),
    ],
)
def test_a_path_below_a_folder_never_leaves_it(path: str, below: bool) -> None:
    assert leads_below(path) == below


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


CLUTTER = """
.ipynb_checkpoints __MACOSX ._000001.jpg @eaDir Thumbs.db thumbs.db .DS_Store .git desktop.ini
#recycle $RECYCLE.BIN lost+found
"""


@pytest.mark.parametrize("name", CLUTTER.split())
def test_clutter_is_known(name: str) -> None:
    assert is_clutter(name)


@pytest.mark.parametrize("name", ["000001.jpg", "MOT17-02-FRCNN", "macosx", "a.db", "_x", "@home"])
def test_data_are_no_clutter(name: str) -> None:
    assert not is_clutter(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MOT17-02-FRCNN", "MOT17-02-FRCNN"),
        ("two words.v2", "two words.v2"),
        ("strasse-äöü", "strasse-äöü"),
        ("../x", "_x"),
        ("..", "video"),
        ("", "video"),
        ("   ", "video"),
        (".hidden", "hidden"),
        ("/etc/passwd", "_etc_passwd"),
        ("a/../../b", "a_.._.._b"),
        ("C:\\x", "C_x"),
        ("a\nb\0c", "a_b_c"),
        ("con", "_con"),
        ("NUL.tar", "_NUL.tar"),
        ("trailing. ", "trailing"),
        ("x" * 400, "x" * 200),
        ("ü" * 150, "ü" * 100),
        ("caf\udce9", "caf"),
    ],
)
def test_a_name_never_leads_elsewhere(name: str, expected: str) -> None:
    assert file_name(name) == expected


def test_a_pipe_among_files_is_refused_without_waiting_for_somebody_to_write(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "gt.txt")
    with pytest.raises(DataError, match=r"gt\.txt: table is a pipe, expected a file$"):
        read_content(tmp_path / "gt.txt", what="table", limit=9)


def test_a_link_that_leads_nowhere_is_told_from_a_file_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "gt.txt").symlink_to("elsewhere")
    for name, told in (("gt.txt", "is a link that leads nowhere"), ("det.txt", "is missing")):
        with pytest.raises(DataError, match=f"{name}: table {told}$"):
            read_content(tmp_path / name, what="table", limit=9)


def test_what_a_shell_hands_over_as_a_pipe_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"1,2\n")
    os.close(writing)
    assert read_content(f"/dev/fd/{reading}", what="table", limit=9) == b"1,2\n"
    os.close(reading)


def test_a_pipe_that_is_filled_bit_by_bit_is_read_to_its_end_or_the_limit() -> None:
    whole = b"0123456789" * 30_000
    for limit in (len(whole), len(whole) - 1):
        reading, writing = os.pipe()
        thread = threading.Thread(target=_fill, args=(writing, whole))
        thread.start()
        told = pytest.raises(DataError, match="table has more than") if limit < len(whole) else None
        with told or nullcontext():
            assert read_content(f"/dev/fd/{reading}", what="table", limit=limit) == whole
        os.close(reading)
        thread.join()


def test_a_terminal_is_waited_for() -> None:
    controlling, terminal = os.openpty()
    thread = threading.Timer(0.1, os.write, (controlling, b"1,2\n\x04"))
    thread.start()
    assert read_content(f"/proc/self/fd/{terminal}", what="table", limit=9) == b"1,2\n"
    thread.join()
    os.close(controlling)
    os.close(terminal)


def _fill(pipe: int, content: bytes) -> None:
    with open(pipe, "wb") as stream:
        stream.write(content)


def test_a_name_in_other_bytes_than_utf8_is_refused_with_escapes(tmp_path: Path) -> None:
    require_utf8("a/caf\u00e9")
    with pytest.raises(DataError, match=r"a/caf\\udce9: this name is not UTF-8") as error:
        require_utf8("a/caf\udce9")
    str(error.value).encode()
    with pytest.raises(DataError, match="is not UTF-8"):
        user_path(tmp_path / "caf\udce9")
