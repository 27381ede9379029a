"""A log's records are read as they were written, and a half one at its end is not there yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from halftrack.training import read_log
from halftrack.training.files.log_file import first_and_last

LINES = '{"mode": "meta"}\n{"mode": "train", "step": 1}\n'


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_log_that_ends_within_a_line_has_those_before(tmp_path: Path, cut: int) -> None:
    (tmp_path / "log.jsonl").write_text(LINES + '{"mode": "train", "s'[:cut])
    assert read_log(tmp_path / "log.jsonl") == [{"mode": "meta"}, {"mode": "train", "step": 1}]


def test_a_run_is_named_by_its_folder_too(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(LINES)
    for given in (tmp_path, str(tmp_path), str(tmp_path / "log.jsonl")):
        assert len(read_log(given)) == 2
    with pytest.raises(FileNotFoundError, match=r"log\.jsonl"):
        read_log(tmp_path / "other/log.jsonl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LINES + '{"mode": \n', r"log\.jsonl, line 3: not JSON: "),
        (LINES[:9], r"log\.jsonl, line 1: not JSON: "),
        ('{"mode": \n' + LINES, r"log\.jsonl, line 1: not JSON: "),
        (LINES + "7\n", r"log\.jsonl, line 3: expected an object, got '7'"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "log.jsonl").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_log(tmp_path / "log.jsonl")
    if "\n" in text:
        with pytest.raises(ValueError, match=message):
            first_and_last(tmp_path / "log.jsonl")


@pytest.mark.parametrize("text", ["", LINES[:9], LINES[:17], LINES, LINES + '{"mode": "tr'])
def test_first_and_last_record_are_of_whole_lines(tmp_path: Path, text: str) -> None:
    log = tmp_path / "log.jsonl"
    assert first_and_last(log) == ({}, {})
    log.write_text(text)
    first, last = {"mode": "meta"}, {"mode": "train", "step": 1}
    if text.count("\n") < 2:
        first, last = ({"mode": "meta"},) * 2 if "\n" in text else ({}, {})
    assert first_and_last(log) == (first, last)
