from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from halftrack.training import read_checkpoint
from halftrack.training.files.checkpoint import newest_checkpoint
from halftrack.training.same_run import FreeFields

MEASURED = {"time", "data_time", "data_share", "samples_per_second", "memory"}
"""Fields of the log that depend on the clock and on the process."""


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def timeless(out: Path) -> list[dict[str, object]]:
    """The log without what was measured."""
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in MEASURED} for row in rows]


@pytest.fixture(scope="module")
def unbroken(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken")
    tiny.run(out)
    return out


def resumed_until_done(tiny: ModuleType, out: Path, *stops: int) -> None:
    for count, stop in enumerate(stops):
        with pytest.raises(tiny.Killed):
            tiny.run(out, batches=tiny.DyingSource(stop), resume=count > 0)
    tiny.run(out, resume=True)


@pytest.mark.parametrize("count", range(2, 16))
def test_a_run_stopped_at_any_batch_ends_as_an_unbroken_one(
    tiny: ModuleType, tmp_path: Path, unbroken: Path, count: int
) -> None:
    resumed_until_done(tiny, tmp_path, count)
    ends = [read_checkpoint(out / "step_8.pth") for out in (tmp_path, unbroken)]
    for part in ("state_dict", "average"):
        got, expected = (end[part].get("average", end[part]) for end in ends)
        assert same(got, expected)
    for part in ("schedule", "loss_scale", "position"):
        assert ends[0][part] == ends[1][part]
    assert timeless(tmp_path) == timeless(unbroken)


def test_stopping_again_and_again_changes_nothing(
    tiny: ModuleType, tmp_path: Path, unbroken: Path
) -> None:
    resumed_until_done(tiny, tmp_path, 3, 3, 3, 3)
    ends = [read_checkpoint(out / "step_8.pth")["state_dict"] for out in (tmp_path, unbroken)]
    assert same(*ends)
    assert timeless(tmp_path) == timeless(unbroken)


@pytest.mark.parametrize("left", [1000, 0])
def test_a_torn_newest_checkpoint_is_reported_and_the_one_before_used(
    tiny: ModuleType, tmp_path: Path, unbroken: Path, capfd: pytest.CaptureFixture[str], left: int
) -> None:
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path, batches=tiny.DyingSource(9))
    torn, _, _ = newest_checkpoint(tmp_path)
    torn.write_bytes(torn.read_bytes()[:left])
    tiny.run(tmp_path, resume=True)
    assert "passed over" in capfd.readouterr().err
    ends = [read_checkpoint(out / "step_8.pth")["state_dict"] for out in (tmp_path, unbroken)]
    assert same(*ends)


def test_a_torn_file_takes_no_place_of_those_to_keep(tiny: ModuleType, tmp_path: Path) -> None:
    config = dataclasses.replace(tiny.SHORT, checkpoint_every=2)
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path, config, batches=tiny.DyingSource(9))
    (tmp_path / "step_5.pth").write_bytes(b"PK")
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path, config, batches=tiny.DyingSource(5), resume=True)
    names = {path.name for path in tmp_path.glob("step_*")}
    assert names == {"step_4.pth", "step_5.pth.torn", "step_6.pth"}


def test_a_run_that_goes_on_may_keep_fewer_checkpoints(
    tiny: ModuleType, tmp_path: Path, unbroken: Path
) -> None:
    many, few = (dataclasses.replace(tiny.SHORT, keep_checkpoints=count) for count in (4, 1))
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path, many, batches=tiny.DyingSource(9))
    assert len(list(tmp_path.glob("step_*"))) == 4
    tiny.run(tmp_path, few, resume=True)
    assert [path.name for path in tmp_path.glob("step_*")] == ["step_8.pth"]
    ends = [read_checkpoint(out / "step_8.pth")["state_dict"] for out in (tmp_path, unbroken)]
    assert same(*ends)


def test_a_checkpoint_that_was_read_before_is_taken_over_and_let_go(
    tiny: ModuleType, tmp_path: Path, unbroken: Path
) -> None:
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path, batches=tiny.DyingSource(9))
    newest = newest_checkpoint(tmp_path)
    newest.path.unlink()
    tiny.run(tmp_path, resume=newest)
    assert newest.state == {}
    finished = newest_checkpoint(tmp_path)
    tiny.run(tmp_path, resume=finished)
    assert finished.state == {}
    ends = [read_checkpoint(out / "step_8.pth")["state_dict"] for out in (tmp_path, unbroken)]
    assert same(*ends)


@pytest.mark.parametrize("name", ["best.pth", "step_1.pth"])
def test_weights_that_are_there_are_never_begun_over(
    tiny: ModuleType, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(b"weights")
    (tmp_path / "log.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match="already holds a run"):
        tiny.run(tmp_path)
    assert (tmp_path / name).read_bytes() == b"weights"
    assert (tmp_path / "log.jsonl").read_text() == "{}\n"


def test_a_log_alone_is_begun_anew(tiny: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("{}\n")  # of a run killed before its first file
    assert tiny.run(tmp_path)[1].steps == 8
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])["mode"] == "meta"


def test_a_checkpoint_before_the_first_new_line_remembers_the_cut_log(
    tiny: ModuleType, tmp_path: Path
) -> None:
    config = dataclasses.replace(tiny.SHORT, log_every=100, evaluate_every=2)
    for resume in (False, True):
        with pytest.raises(tiny.Killed):
            tiny.run(tmp_path, config, batches=tiny.DyingSource(2), resume=resume)
        log = tmp_path / "log.jsonl"
        assert newest_checkpoint(tmp_path)[1]["log"]["position"] == log.stat().st_size
        with log.open("a") as file:
            file.write('{"mode": "written after the checkpoint"}\n' * 20)


def test_a_log_that_is_gone_is_reported_and_not_filled_up(
    tiny: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path, batches=tiny.DyingSource(9))
    (tmp_path / "log.jsonl").unlink()
    tiny.run(tmp_path, resume=True)
    assert b"\0" not in (tmp_path / "log.jsonl").read_bytes()
    assert "shorter than its checkpoint says" in " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seed": 4}, "seed 3, this run has 4"), ({"recipe": {"name": "other"}}, "another recipe")],
)
def test_resuming_something_else_is_refused(
    tiny: ModuleType, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path, batches=tiny.DyingSource(5))
    with pytest.raises(ValueError, match=message):
        tiny.run(tmp_path, resume=True, **change)


def test_the_number_of_workers_may_change_on_resume(tiny: ModuleType, tmp_path: Path) -> None:
    recipes = [{"training": {"workers": count, "lr": 0.05}} for count in (2, 0)]
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path, batches=tiny.DyingSource(5), recipe=recipes[0])
    free = FreeFields(frozenset({"training.workers"}))
    assert tiny.run(tmp_path, resume=True, recipe=recipes[1], free=free)[1].steps == 8


def test_a_new_field_with_its_default_does_not_keep_a_run_from_going_on(
    tiny: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path, batches=tiny.DyingSource(5), recipe={"data": {"size": 3}})
    now = {"data": {"size": 3, "classes": ["car"]}}
    with pytest.raises(ValueError, match=r"data\.classes was None, now \['car'\]"):
        tiny.run(tmp_path, resume=True, recipe=now)
    free = FreeFields(unset=frozenset({"data.classes"}))
    assert tiny.run(tmp_path, resume=True, recipe=now, free=free)[1].steps == 8


def test_a_checkpoint_of_an_earlier_version_resumes(
    tiny: ModuleType, tmp_path: Path, unbroken: Path
) -> None:
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path, batches=tiny.DyingSource(9))
    path, state, _ = newest_checkpoint(tmp_path)
    state["position"]["clips_done"] = state["position"].pop("batches_done")
    del state["meta"]["init"]
    torch.save(state, path)
    tiny.run(tmp_path, resume=True)
    ends = [read_checkpoint(out / "step_8.pth") for out in (tmp_path, unbroken)]
    assert same(ends[0]["state_dict"], ends[1]["state_dict"])
    assert ends[0]["meta"]["init"] == "not recorded"


def test_log_and_checkpoints_say_where_the_weights_came_from(
    tiny: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path, batches=tiny.DyingSource(5), init="r50.pth")
    tiny.run(tmp_path, resume=True)
    assert timeless(tmp_path)[0]["init"] == "r50.pth"
    for name in ("best.pth", "step_8.pth"):
        assert read_checkpoint(tmp_path / name)["meta"]["init"] == "r50.pth"


def process(out: Path, die_at: int, signal_name: str, mode: str) -> int:
    script = Path(__file__).with_name("tiny.py")
    command = [sys.executable, str(script), str(out), str(die_at), signal_name, mode]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode


def test_a_process_killed_with_9_ends_as_an_unbroken_one(tmp_path: Path, unbroken: Path) -> None:
    assert process(tmp_path, 7, "SIGKILL", "fresh") == -9
    assert process(tmp_path, 99, "SIGKILL", "resume") == 0
    ends = [read_checkpoint(out / "step_8.pth")["state_dict"] for out in (tmp_path, unbroken)]
    assert same(*ends)
    assert timeless(tmp_path) == timeless(unbroken)


def test_a_process_told_to_end_saves_and_says_so(tmp_path: Path) -> None:
    assert process(tmp_path, 7, "SIGTERM", "fresh") == 143
    assert newest_checkpoint(tmp_path)[1]["position"]["batches_done"] == 8
