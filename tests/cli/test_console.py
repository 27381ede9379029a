"""A progress bar is drawn when there is progress, not before."""

from __future__ import annotations

import io

import pytest

from halftrack.cli.console import console, progress_bar


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(console, "_file", stream)
    return stream


def test_nothing_is_drawn_of_work_that_ends_before_its_first_progress(drawn: io.StringIO) -> None:
    with pytest.raises(ValueError, match="no such file"), progress_bar("scoring"):
        raise ValueError("no such file")
    with progress_bar("scoring", 3):
        pass
    assert not drawn.getvalue()


def test_progress_is_drawn_and_the_bar_ends_with_its_block(drawn: io.StringIO) -> None:
    with progress_bar("scoring", 3) as progress:
        progress(1, 3)
        progress(3, 3)
    assert "scoring" in drawn.getvalue()
    assert "100%" in drawn.getvalue()
    with progress_bar("again") as progress:  # two bars at once would be an error of rich
        progress(1, None)
