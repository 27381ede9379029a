"""Boxes and flags are read whatever separates them; a malformed line is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from halftrack.data import DataError
from halftrack.data.tables.target_text import read_boxes, read_flags, read_lines

BOX = "10,20,30,40"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "boxes.txt"


@pytest.mark.parametrize("separator", [",", "\t", " ", ", "])
def test_boxes_are_read_whatever_separates_them(separator: str, file: Path) -> None:
    lines = [separator.join(("10", "20.5", "30", "40")), separator.join(("1", "2", "0", "0"))]
    file.write_text("\ufeff" + "\r\n".join(lines) + "\n\n", encoding="utf-8")
    assert read_boxes(file).tolist() == [[10, 20.5, 40, 60.5], [1, 2, 1, 2]]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([BOX, "1,2,x,4"], "line 2, '1,2,x,4': 'x' is not a number"),
        ([BOX, "1,2,3"], "line 2, '1,2,3': 3 columns, expected 4"),
        ([BOX, "1,2,,4"], "line 2, '1,2,,4': '' is not a number"),
        (["1,2,3", BOX], "line 1, '1,2,3': 3 columns, expected 4"),
        ([BOX, "nan,2,3,4"], "line 2, 'nan,2,3,4': a value is not finite"),
        ([BOX, "", BOX], "line 2 is empty"),
        ([], "is empty"),
    ],
)
def test_a_malformed_line_is_named(lines: list[str], reason: str, file: Path) -> None:
    file.write_text("\n".join(lines))
    with pytest.raises(DataError, match=f"boxes.txt: {reason}"):
        read_boxes(file)


def test_nan_is_a_box_only_where_it_may_be_and_infinity_nowhere(file: Path) -> None:
    file.write_text(f"{BOX}\nNaN,NaN,NaN,NaN\n")
    assert np.isnan(read_boxes(file, nan=True)[1]).all()
    file.write_text(f"{BOX}\n1,2,inf,4\n")
    with pytest.raises(DataError, match="line 2, '1,2,inf,4': a value is not finite"):
        read_boxes(file, nan=True)


def test_flags_are_separated_by_commas_or_lines(file: Path) -> None:
    for text in ("0,1,0", "0\n1\n0\n"):
        file.write_text(text)
        assert read_flags(file, 3).tolist() == [False, True, False]
    with pytest.raises(DataError, match="3 flags, expected 4"):
        read_flags(file, 4)
    file.write_text("0,0,2")
    with pytest.raises(DataError, match="'2' is flag 3, allowed are 0 and 1"):
        read_flags(file, 3)


def test_a_file_that_is_missing_or_no_text_is_named(file: Path) -> None:
    with pytest.raises(DataError, match=r"boxes.txt: file is missing"):
        read_lines(file)
    file.write_bytes(b"\xff\xd8")
    with pytest.raises(DataError, match=r"boxes.txt: line 1 is not UTF-8 text"):
        read_lines(file)
