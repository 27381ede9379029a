"""A cached index is used while it holds, and built again whatever happened to its file."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from halftrack.data import VideoIndex, index_cache
from halftrack.data.index_cache import cache_folder, cached_index, fingerprint
from halftrack.data.parsed_video import ParsedVideo, assemble_index


def small_index() -> VideoIndex:
    video = ParsedVideo(name="a")
    video.add_frame("a/0.JPEG", height=80, width=100, is_key=True, source="a.xml")
    video.add_box((5, 6, 40, 30), label=0, track=None, source="a.xml")
    video.add_box((5, 6, 4, 30), label=0, track=None, source="a.xml")
    return assemble_index([video], image_root=Path("/nowhere"), classes=(("car", "n1"),))


def read(folder: Path, fingerprint: str = "f") -> tuple[VideoIndex, bool]:
    """The index, and whether it was built."""
    built = []
    index = cached_index(
        key={"a": 1},
        fingerprint=fingerprint,
        build=lambda: built.append(1) or small_index(),
        folder=folder,
    )
    return index, bool(built)


def test_what_was_built_is_what_is_read(tmp_path: Path) -> None:
    one, built = read(tmp_path)
    other, again = read(tmp_path)
    assert (built, again) == (True, False)
    assert other.odd == one.odd == {"boxes of videos without a track": 1}
    assert other.problems == one.problems != ()
    np.testing.assert_array_equal(other.boxes_xyxy, one.boxes_xyxy)
    assert read(tmp_path, "another")[1]


def rewritten(content: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    """The archive with one of its files changed, its checksums right."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        for each in old.namelist():
            new.writestr(each, change(old.read(each)) if each == name else old.read(each))
    return stream.getvalue()


def stored(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def facts(**changes: object) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        told = json.loads(bytes(np.load(io.BytesIO(content))))
        packed = json.dumps(told | changes).encode()
        return stored(np.frombuffer(packed, dtype=np.uint8))

    return change


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half of it": lambda content: content[: len(content) // 2],
    "its end is missing": lambda content: content[:-3],
    "zeros": lambda content: bytes(len(content)),
    "a flipped bit": flipped,
    "text": lambda content: b"version https://git-lfs.github.com/spec/v1\n",
    "a pickle": lambda content: b"\x80\x04K\x01.",
    "another archive": lambda content: rewritten(content, "facts.npy", lambda _: b"x"),
    "fewer boxes than it says": lambda content: rewritten(
        content, "labels.npy", lambda _: stored(np.zeros(0, np.int64))
    ),
    "boxes of three numbers": lambda content: rewritten(
        content, "boxes_xyxy.npy", lambda _: stored(np.zeros((1, 3), np.float32))
    ),
    "frames that end before they begin": lambda content: rewritten(
        content, "box_starts.npy", lambda _: stored(np.array([1, 0]))
    ),
    "a number for names": lambda content: rewritten(content, "facts.npy", facts(video_names=3)),
    "a field nobody knows": lambda content: rewritten(content, "facts.npy", facts(colour=3)),
    "a list of facts": lambda content: rewritten(
        content, "facts.npy", lambda _: stored(np.frombuffer(b"[1]", dtype=np.uint8))
    ),
}


@pytest.mark.parametrize("story", DAMAGE)
def test_a_damaged_cache_is_built_again(
    story: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(DAMAGE[story](file.read_bytes()))
    index, built = read(tmp_path)
    assert built
    assert index.boxes_xyxy.tolist() == [[5, 6, 40, 30]]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(file) in caplog.text
    assert not read(tmp_path)[1]


def test_an_older_layout_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_cache, "_LAYOUT", 1)
    read(tmp_path)
    monkeypatch.undo()
    assert read(tmp_path)[1]
    assert len(list(tmp_path.iterdir())) == 2


def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", home)


def test_without_a_home_folder_nothing_is_cached(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    no_home(monkeypatch)
    assert cache_folder() is None
    index = cached_index(key={}, fingerprint="f", build=small_index)
    assert index.num_frames == 1
    assert "set XDG_CACHE_HOME" in caplog.text


@pytest.mark.parametrize("place", ["a file", "below a file", "a folder in the file's place"])
def test_a_place_that_cannot_be_written_is_logged(
    place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / ("x" if place == "below a file" else "")
    if place == "a folder in the file's place":
        read(tmp_path / "good")
        (file,) = (tmp_path / "good").iterdir()
        file.unlink()
        file.mkdir()
        folder = tmp_path / "good"
    index, built = read(folder)
    assert built
    assert index.num_frames == 1
    assert "could not be cached" in caplog.text


def test_a_file_whose_name_is_not_utf8_counts_as_any_other(tmp_path: Path) -> None:
    before = fingerprint(folders=[tmp_path])
    (tmp_path / "caf\udce9").touch()
    assert fingerprint(folders=[tmp_path]) != before
