"""File of trials: goes on where it stopped, refuses another search, names a damaged line."""

from __future__ import annotations

from pathlib import Path

import pytest

from halftrack.errors import UserError
from halftrack.studies.tune.trials_file import Trial, TrialsFile

QUESTION = {"metric": "idf1", "fields": {"tracker.reid_iou": [0.0, 1.0]}, "inputs": {"data": "x"}}


def trial(number: int) -> Trial:
    return Trial(
        number=number, settings={"tracker.reid_iou": 0.5}, scores={"idf1": 0.1}, seconds=0.01
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    trials = TrialsFile(tmp_path / "trials.jsonl")
    trials.begin(QUESTION)
    for number in range(2):
        trials.add(trial(number))
    return trials.path


def test_trials_are_read_again(file: Path) -> None:
    found = TrialsFile(file)
    assert found.trials == [trial(0), trial(1)]
    found.check(QUESTION)
    found.begin(QUESTION)
    found.add(trial(2))
    assert TrialsFile(file).trials == [trial(0), trial(1), trial(2)]


def test_a_line_that_was_cut_off_is_written_again(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-9])
    found = TrialsFile(file)
    assert found.trials == [trial(0)]
    assert file.read_bytes() == content[:-9]  # another process may be about to write the rest
    found.add(trial(1))
    assert file.read_bytes() == content


def test_a_first_line_that_was_cut_off_is_written_again(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20])
    found = TrialsFile(file)
    found.begin(QUESTION)
    assert TrialsFile(file).question == QUESTION


def test_a_file_of_something_else_without_a_line_s_end_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "trials.jsonl"
    file.write_text('{"somebody": "elses"}')
    with pytest.raises(UserError, match=r"line 1: .* is no line of a search"):
        TrialsFile(file)
    assert file.read_text() == '{"somebody": "elses"}'


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"metric": "mota"}, "metric was 'idf1', now 'mota'"),
        ({"fields": {"tracker.reid_iou": [0.0, 0.9]}}, "reid_iou was [0.0, 1.0], now [0.0, 0.9]"),
        ({"fields": {"tracker.reid_distance": [1, 2]}}, "there is no fields.tracker.reid_iou now"),
        ({"inputs": {"data": "y"}}, "inputs.data was 'x', now 'y'"),
    ],
)
def test_another_search_is_refused(file: Path, change: dict[str, object], told: str) -> None:
    with pytest.raises(UserError) as caught:
        TrialsFile(file).check({**QUESTION, **change})
    assert told in str(caught.value)
    assert "take another folder (--out)" in str(caught.value)


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"number": 5}', "\x00", "1e999"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_line_of_something_else_is_named(file: Path, place: int, line: str) -> None:
    lines = file.read_text().splitlines()
    lines[place] = line
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=f"line {place + 1}: "):
        TrialsFile(file)


def test_a_line_that_was_lost_is_found(file: Path) -> None:
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0] + lines[2])
    with pytest.raises(UserError, match="line 2: "):
        TrialsFile(file)
