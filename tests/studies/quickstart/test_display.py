"""The display tells from the logs how far jobs are, on a terminal and in a pipe."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from halftrack.errors import UserError
from halftrack.studies.quickstart.display import Display, progress
from halftrack.studies.quickstart.jobs import Job, Result

META = {"mode": "meta", "steps": 40, "recipe": {"training": {"best_metric": "mAP"}}}
HALF = {"mode": "train", "step": 20, "loss": 1.5}
SKIPPED = {"mode": "train", "step": 20, "skipped": True}
ALL = {"mode": "train", "step": 40, "loss": "nan"}
SCORED = {"mode": "val", "step": 40, "mAP": 0.9}


def log(path: Path, records: Sequence[dict[str, object]], rest: str = "") -> Path:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records) + rest)
    return path


@pytest.mark.parametrize(
    ("first", "second", "scores", "words", "share"),
    [
        ([], [], (), "starting", 0.0),
        ([META], [], (), "reid 0/40", 0.0),
        ([META, HALF], [], (), "reid 20/40, loss 1.500", 0.25),
        ([META, SKIPPED], [], (), "reid 20/40", 0.25),
        ([META, ALL], [], (), "reid trained, scoring", 0.5),
        ([META, ALL, SCORED], [], ("reid mAP 0.900",), "scoring", 0.5),
        ([META, SCORED], [META, HALF], ("reid mAP 0.900",), "detector 20/40, loss 1.500", 0.75),
        ([META, SCORED], [META, SCORED], ("reid mAP 0.900", "detector mAP 0.900"), "scoring", 1.0),
    ],
)
def test_logs_say_how_far_a_job_is(
    tmp_path: Path,
    first: list[dict[str, object]],
    second: list[dict[str, object]],
    scores: tuple[str, ...],
    words: str,
    share: float,
) -> None:
    logs = {"reid": log(tmp_path / "1", first), "detector": log(tmp_path / "2", second, '{"mo')}
    found, told, done = progress(logs)
    assert (found, told) == (scores, words)
    assert done == pytest.approx(0.85 * share)  # scoring takes the rest


def test_a_job_without_a_log_is_at_work(tmp_path: Path) -> None:
    assert progress({}) == ((), "at work", 0.0)
    assert progress({"reid": tmp_path / "none"}) == ((), "starting", 0.0)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"log\.jsonl, line 2: not JSON"):
        progress({"reid": log(tmp_path / "log.jsonl", [META], "{\n")})


def test_a_job_of_one_training_leaves_the_score_to_its_result(tmp_path: Path) -> None:
    assert progress({"selsa": log(tmp_path / "1", [META, SCORED])}) == ((), "scoring", 0.85)


def test_a_score_of_a_part_is_told_once_as_soon_as_it_is_there(tmp_path: Path) -> None:
    logs = {"reid": log(tmp_path / "1", [META, SCORED]), "detector": tmp_path / "2"}
    text = io.StringIO()
    job = Job(name="Tracktor", task="mot", work=dict, typical=1.0, logs=logs)
    with Display([job], processes=2, console=Console(file=text)) as display:
        display.begun("Tracktor")
        display.look()
        display.look()
    assert text.getvalue().count("Tracktor: reid mAP 0.900") == 1


def shown(tmp_path: Path, *, terminal: bool) -> str:
    """A job that is done, one at step 20, and one that waits."""
    running = log(tmp_path / "log.jsonl", [META, HALF])
    jobs = [
        Job(name=name, task="vid", work=lambda: Result(headline=""), typical=10.0, logs=logs)
        for name, logs in (("video", {}), ("SELSA fp32", {"selsa": running}), ("SELSA fp16", {}))
    ]
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=80)
    with Display(jobs, processes=2, console=console) as display:
        display.begun("video")
        display.ended("video", "22 videos")
        display.begun("SELSA fp32")
        display.look()
        if terminal:
            console.print(display.table())
    return text.getvalue()


def test_a_pipe_gets_plain_lines(tmp_path: Path) -> None:
    lines = shown(tmp_path, terminal=False).splitlines()
    assert lines == ["0:00  video begins", "0:00  video: 22 videos", "0:00  SELSA fp32 begins"]


def test_a_terminal_gets_a_line_for_every_job_and_the_time_left(tmp_path: Path) -> None:
    told = shown(tmp_path, terminal=True)
    assert "selsa 20/40, loss 1.500" in told
    assert "waiting" in told
    assert "0:00 gone, about 0:" in told
    assert max(map(len, told.splitlines())) < 400  # escape codes included
