"""Pickles of arrays are read in every protocol; what could run code is never looked up."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published import RunsCode

from halftrack.errors import UserError
from halftrack.pickles import read_arrays

HELD = {
    "a.jpg": [np.array([[1, 2, 3, 4, 0.5]], np.float32), np.zeros((0, 5), np.float32)],
    "columns first": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "big end first": np.arange(3, dtype=">i4"),
    "numbers": (np.float64(0.25), np.int64(3), np.bool_(True), np.str_("né"), 1.5, None),
    "bytes": b"\xff\0",
}


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, np.ndarray):
        return found.dtype == expected.dtype and np.array_equal(found, expected)
    if isinstance(expected, list | tuple):
        return type(found) is type(expected) and all(map(same, found, expected))
    return bool(found == expected)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_arrays_come_back_from_every_protocol(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(HELD, protocol))
    found = read_arrays(tmp_path / "a.pkl")
    assert list(found) == list(HELD)
    assert all(same(found[name], value) for name, value in HELD.items())
    found["a.jpg"][0][0, 0] = 7  # may be written to
    assert type(found["numbers"][0]) is float


@pytest.mark.parametrize("protocol", range(6))
def test_code_is_refused_and_has_not_run(tmp_path: Path, protocol: int) -> None:
    evil = RunsCode(tmp_path / "ran")
    for held in (evil, {"a": [1, evil]}, np.array([evil], dtype=object)):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(held, protocol))
        with pytest.raises(
            UserError, match=r"a\.pkl cannot be read safely: it holds (posix|nt|an array)"
        ):
            read_arrays(tmp_path / "a.pkl")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.pkl"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04\x8e" + (10 << 30).to_bytes(8, "little") + b"ab", "damaged"),
        (b"\x80\x04Nr\xff\xff\xff\xff", "damaged"),
        (b"\x80\x04" + b"]" * 20000 + b"a" * 19999 + b".", "damaged"),
        (pickle.dumps(HELD)[:-20], "damaged"),
        (b"hello", "damaged or no pickle"),
        (b"", "damaged or no pickle"),
    ],
    ids=["ten gigabytes", "a far memo", "deep", "cut short", "text", "empty"],
)
def test_damage_is_told_at_once(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_arrays(tmp_path / "a.pkl")


def test_an_array_is_as_large_as_its_bytes(tmp_path: Path) -> None:
    content = pickle.dumps(np.zeros(100_000, np.uint8), 2)
    claimed = content.replace((100_000).to_bytes(4, "little"), (2**31 - 1).to_bytes(4, "little"), 1)
    assert claimed != content
    (tmp_path / "a.pkl").write_bytes(claimed)
    with pytest.raises(UserError, match=r"an array of shape \(2147483647,\) in 100000 bytes"):
        read_arrays(tmp_path / "a.pkl")


def test_a_list_named_many_times_is_looked_at_once(tmp_path: Path) -> None:
    nested: list[Any] = []
    for _ in range(60):
        nested = [nested, nested]
    nested.append(nested)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(nested))
    found = read_arrays(tmp_path / "a.pkl")
    assert found[0] is found[1]
    assert found[2] is found


def test_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*, it is a folder"):
        read_arrays(tmp_path)
