"""Deliberate mistakes: each is told in words that mend it, before anything is drawn or written."""

from __future__ import annotations

from pathlib import Path

import pytest
from mistake import Mistake, faults_of, set_up
from mistaken_interop import set_up_interop
from mistakes import MISTAKES


def test_there_are_many_of_every_command() -> None:
    assert len(MISTAKES) >= 200
    commands = {mistake.words.split()[0] for mistake in MISTAKES.values()}
    assert commands >= {
        *("recipes", "show", "plan", "rehearse", "train", "parity", "replay", "eval", "track"),
        *("quickstart", "data", "import", "plot", "export", "publish", "tune"),
        *("watch", "report", "compare"),
    }


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_words_that_mend_it(
    halftrack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    mistake: Mistake,
) -> None:
    place = tmp_path / "here"
    place.mkdir()
    set_up(place)
    set_up_interop(place)
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    code = halftrack(*mistake.arguments)
    told = capsys.readouterr()
    assert not faults_of(mistake, code, told.err), told.err
    assert not told.out, "something was drawn before all was looked at"
    assert sorted(place.rglob("*")) == before, "something was written"
