"""Readers answer from memory within a look at a data set, and read again outside of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from halftrack.data import DataError
from halftrack.data.tables.once import kept_once, reading_once

READ: list[str] = []


@kept_once
def read(file: Path, *, limit: int = 1) -> list[int]:
    READ.append(file.name)
    if file.name == "bad":
        raise DataError(str(file), "is bad")
    return [limit]


def test_a_table_is_read_once_within_and_each_time_outside() -> None:
    READ.clear()
    read(Path("a"))
    read(Path("a"))
    assert READ == ["a", "a"]
    with reading_once():
        first = read(Path("a"))
        with reading_once():
            assert read(Path("a")) is first
        assert read(Path("a")) is first
        assert read(Path("a"), limit=2) == [2]
        assert read(Path("b")) == [1]
    assert READ == ["a", "a", "a", "a", "b"]
    read(Path("a"))
    assert READ[-1] == "a"


def test_an_error_is_raised_again_without_reading() -> None:
    READ.clear()
    with reading_once():
        for _ in range(2):
            with pytest.raises(DataError, match="bad: is bad"):
                read(Path("bad"))
    assert READ == ["bad"]
