"""``halftrack watch``, ``report`` and ``compare`` on runs that go on and runs that are over."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from logged import EVALUATED, META, SKIPPED, trained, write_run

from halftrack.cli.console import console

Command = Callable[..., int]
EXPORTERS = "halftrack.studies.following.exporters"


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return write_run(tmp_path / "done", META, SKIPPED, trained(20), EVALUATED, trained(40))


@pytest.fixture
def going(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A run that is over at the second look."""
    folder = write_run(tmp_path / "run", META, trained(20), running=True)

    def end(_: float) -> None:
        write_run(folder, META, trained(20), trained(40))

    monkeypatch.setattr("halftrack.studies.following.run.follow.__kwdefaults__", {"sleep": end})
    return folder


@pytest.mark.parametrize("terminal", [False, True])
def test_watch_ends_when_the_run_ends(
    halftrack: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    going: Path,
    terminal: bool,
) -> None:
    monkeypatch.setattr(console, "_force_terminal", terminal)
    monkeypatch.setattr(console, "_environ", {"TERM": "xterm"})
    monkeypatch.setattr(console, "is_interactive", terminal)
    assert halftrack("watch", going) == 0
    told = capsys.readouterr().out
    assert "run: finished, epoch 1, step 40 of 40" in told
    if terminal:
        assert "run: running, epoch 1, step 20 of 40" in told
    else:
        assert [line.split("  ")[1] for line in told.splitlines()[:2]] == [
            "step 20/40",
            "step 40/40",
        ]
        assert len(told.splitlines()) == 3


def test_watch_once_shows_a_screen_of_a_run_that_goes_on(
    halftrack: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = write_run(tmp_path / "run", META, SKIPPED, trained(20), running=True)
    assert halftrack("watch", folder / "log.jsonl", "--once") == 0
    told = capsys.readouterr().out
    assert "run: running, epoch 1, step 20 of 40, about 10 s left" in told
    assert "head.fc" in told


def test_report_is_written_again_until_the_run_ends(
    halftrack: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    going: Path,
) -> None:
    pages: list[str] = []
    monkeypatch.setattr(
        "halftrack.report.log_page.write_page", lambda path, page: pages.append(page)
    )
    assert halftrack("report", going) == 0
    assert ["http-equiv" in page for page in pages] == [True, False]
    assert "written again every 10 s" in capsys.readouterr().out


def test_report_writes_into_the_run_or_where_it_is_told_to(
    halftrack: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, finished: Path
) -> None:
    assert halftrack("report", finished) == 0
    assert halftrack("report", finished, "--once", "--out", tmp_path / "a.html") == 0
    assert "Skipped steps: 1" in (finished / "report.html").read_text()
    assert "Skipped steps: 1" in (tmp_path / "a.html").read_text()
    assert f"done: finished, written to {tmp_path / 'a.html'}" in capsys.readouterr().out


def test_a_page_written_once_of_a_run_that_goes_on_is_not_loaded_again(
    halftrack: Command, going: Path
) -> None:
    assert halftrack("report", going, "--once") == 0
    assert "http-equiv" not in (going / "report.html").read_text()


def test_compare_tells_what_differs_and_draws(
    halftrack: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, finished: Path
) -> None:
    training = {"lr": 0.2, "best_metric": "ap50"}
    other = META | {"recipe": META["recipe"] | {"training": training}}
    second = write_run(tmp_path / "second", other, trained(20))
    assert halftrack("compare", finished, second, "--out", tmp_path / "a.html") == 0
    told = capsys.readouterr().out
    for words in ("training.lr", "0.2", "done", "second", "finished", "ended", "skipped steps"):
        assert words in told
    assert "precision.name" not in told
    assert "training.lr" in (tmp_path / "a.html").read_text()
    same = write_run(tmp_path / "third", META, trained(40))
    assert halftrack("compare", finished, same) == 0
    assert "no setting differs" in capsys.readouterr().out


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What TensorBoard and W&B are told, for which others stand in."""
    told: list[str] = []

    class Tool:
        def __init__(self, *_: object) -> None:
            told.append("begun")

        def send(self, _: object) -> None:
            told.append("line")

        def close(self) -> None:
            told.append("closed")

    monkeypatch.setattr(f"{EXPORTERS}.check_package", lambda *_: None)
    monkeypatch.setattr(f"{EXPORTERS}.TensorBoard", Tool)
    monkeypatch.setattr(f"{EXPORTERS}.WeightsAndBiases", Tool)
    return told


def test_other_tools_are_closed_though_the_page_fails(
    halftrack: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    finished: Path,
    told: list[str],
) -> None:
    command = ("report", finished, "--tensorboard", tmp_path / "events", "--wandb", "mine")
    assert halftrack(*command) == 0
    assert told == ["begun", "begun", *["line"] * 8, "closed", "closed"]
    told.clear()

    def fail(*_: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr("halftrack.report.log_page.write_page", fail)
    assert halftrack(*command) == 2
    assert told == ["begun", "begun", "closed", "closed"]


def test_a_tool_is_closed_though_the_next_one_cannot_begin(
    halftrack: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    finished: Path,
    told: list[str],
) -> None:
    def unreachable(*_: object) -> None:
        raise PermissionError("no such project")

    monkeypatch.setattr(f"{EXPORTERS}.WeightsAndBiases", unreachable)
    command = ("report", finished, "--tensorboard", tmp_path / "events", "--wandb", "mine")
    assert halftrack(*command) == 2
    assert told == ["begun", "closed"]


@pytest.mark.parametrize("command", ["watch RUN", "report RUN", "compare RUN RUN"])
def test_a_run_is_followed_without_torch(command: str, finished: Path) -> None:
    words = ["halftrack", *(str(finished) if each == "RUN" else each for each in command.split())]
    code = (
        "import sys, halftrack.cli\n"
        f"sys.argv = {words!r}\n"
        "try:\n    halftrack.cli.main()\nexcept SystemExit as ended:\n    assert not ended.code\n"
        "assert not {'torch', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
