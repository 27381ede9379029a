"""Runs that meet other data, a full disk or a folder in use: told in one line, nothing lost."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from halftrack.precision import Precision
from halftrack.training import read_checkpoint, read_log
from halftrack.training.files.checkpoint import newest_checkpoint, write_checkpoint
from halftrack.training.files.run_files import UnsavedWeightsError
from halftrack.training.files.run_folder import own_folder
from halftrack.training.same_run import FreeFields

SET = {"videos": 4, "frames": 40, "annotations": "a1b2"}


SCORED = {"videos": 2, "annotations": "5a6b"}


def stopped(tiny: ModuleType, out: Path, batches: int, **more: Any) -> None:
    with pytest.raises(tiny.Killed):
        tiny.run(out, batches=tiny.DyingSource(batches), data={"VID": SET}, **more)


OTHER_DATA: dict[str, tuple[dict[str, Any], int, str]] = {
    "videos removed": ({"VID": SET | {"videos": 2, "frames": 20}}, 4, "videos were 4, now 2"),
    "videos added": ({"VID": SET | {"videos": 6}}, 9, "an epoch: batches were 8, now 10"),
    "a box moved": ({"VID": SET | {"annotations": "c3d4"}}, 7, "VID: other annotations"),
    "a set more": ({"VID": SET, "DET": SET}, 7, "DET is new"),
    "a set less": ({}, 7, "VID is gone"),
    "another set": ({"DET": SET}, 7, "VID is gone; DET is new"),
    "as many samples of other videos": ({"VID": SET | {"videos": 5}}, 7, "videos were 4, now 5"),
    "a count not known before": ({"VID": SET | {"boxes": 9}}, 7, "boxes were None, now 9"),
}


@pytest.mark.parametrize("story", OTHER_DATA)
def test_a_resume_with_other_data_is_refused_with_what_changed(
    tiny: ModuleType, tmp_path: Path, story: str
) -> None:
    data, length, message = OTHER_DATA[story]
    stopped(tiny, tmp_path, 11)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ValueError, match=message) as caught:
        tiny.run(tmp_path, batches=tiny.TinySource(length), data=data, resume=True)
    assert "--data-changed" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(("length", "stop"), [(2, 13), (4, 9), (7, 3), (8, 8), (15, 9)])
def test_with_changed_data_a_run_goes_on_from_the_epochs_start(
    tiny: ModuleType, tmp_path: Path, length: int, stop: int
) -> None:
    stopped(tiny, tmp_path, stop, config=dataclasses.replace(tiny.SHORT, log_every=1))
    place = newest_checkpoint(tmp_path)[1]["position"]
    steps = (length + 1) // 2
    _, result = tiny.run(
        tmp_path,
        dataclasses.replace(tiny.SHORT, log_every=1),
        batches=tiny.TinySource(length),
        data={"VID": SET | {"frames": length}},
        resume=True,
        data_changed=True,
    )
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    told = next(number for number, row in enumerate(rows) if row["mode"] == "data")
    done = [(r["epoch"], r["iter"]) for r in rows[told:] if r["mode"] == "train"]
    first = rows[told]["epoch"]
    assert done == [(e, i) for e in range(first, 3) for i in range(1, steps + 1)]
    assert result.steps == rows[told]["steps"] == place["steps"] + len(done)
    # At the next resume these are the run's data.
    tiny.run(
        tmp_path,
        dataclasses.replace(tiny.SHORT, log_every=1),
        batches=tiny.TinySource(length),
        data={"VID": SET | {"frames": length}},
        resume=True,
    )


def test_data_that_have_not_changed_go_on_where_they_were(
    tiny: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stopped(tiny, tmp_path, 5)
    _, result = tiny.run(tmp_path, data={"VID": SET}, resume=True, data_changed=True)
    assert result.steps == 8
    assert "the data are those of the checkpoint" in " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize(("length", "refused"), [(7, False), (2, True), (30, True)])
def test_a_checkpoint_that_does_not_name_its_data_must_still_have_a_place(
    tiny: ModuleType, tmp_path: Path, length: int, refused: bool
) -> None:
    stopped(tiny, tmp_path, 13)
    path, state, _ = newest_checkpoint(tmp_path)
    del state["meta"]["data"]
    torch.save(state, path)
    if refused:
        with pytest.raises(ValueError, match="it stands at batch"):
            tiny.run(tmp_path, batches=tiny.TinySource(length), resume=True)
    else:
        assert tiny.run(tmp_path, resume=True)[1].steps == 8


def test_a_file_that_is_no_checkpoint_of_a_run_is_told(tiny: ModuleType, tmp_path: Path) -> None:
    stopped(tiny, tmp_path, 11)
    write_checkpoint(tmp_path / "step_99.pth", {"meta": {}, "state_dict": {}})
    with pytest.raises(ValueError, match=r"step_99\.pth is no checkpoint of a run"):
        tiny.run(tmp_path, resume=True)


OTHER_VALIDATION: dict[str, tuple[dict[str, Any], str]] = {
    "a video less": (SCORED | {"videos": 1}, "validation on VAL: videos were 2, now 1"),
    "a box moved": (SCORED | {"annotations": "77"}, "validation on VAL: other annotations"),
}


@pytest.mark.parametrize("story", OTHER_VALIDATION)
def test_scores_of_two_validation_sets_are_not_compared(
    tiny: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str], story: str
) -> None:
    now, message = OTHER_VALIDATION[story]
    sets = {"VID": SET, "validation on VAL": SCORED}
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path, batches=tiny.DyingSource(13), data=sets)
    assert newest_checkpoint(tmp_path)[1]["position"]["best"] is not None
    again = {"data": sets | {"validation on VAL": now}, "resume": True}
    with pytest.raises(ValueError, match=message):
        tiny.run(tmp_path, **again)
    _, result = tiny.run(tmp_path, data_changed=True, evaluate=lambda _: {"score": -9.0}, **again)
    assert result.best == -9.0
    assert "was on other validation data" in " ".join(capfd.readouterr().err.split())


def test_a_checkpoint_that_does_not_name_its_validation_set_is_resumed(
    tiny: ModuleType, tmp_path: Path
) -> None:
    stopped(tiny, tmp_path, 11)
    data = {"VID": SET, "validation on VAL": SCORED}
    assert tiny.run(tmp_path, data=data, resume=True)[1].steps == 8


def test_the_best_metric_may_change_on_resume(tiny: ModuleType, tmp_path: Path) -> None:
    recipe = {"training": {"best_metric": "score"}}
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path, batches=tiny.DyingSource(13), recipe=recipe)
    assert newest_checkpoint(tmp_path)[1]["position"]["best"] is not None
    _, result = tiny.run(
        tmp_path,
        dataclasses.replace(tiny.SHORT, best_metric="other"),
        recipe={"training": {"best_metric": "other"}},
        free=FreeFields(frozenset({"training.best_metric"})),
        evaluate=lambda _: {"other": -7.0, "score": 100.0},
        resume=True,
    )
    assert result.best == -7.0


class Disk:
    """Stands for a disk that is full whenever ``full`` says so of the file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, full: Callable[[Path], bool]) -> None:
        self.refused: list[str] = []
        replace = os.replace

        def written(source: Path, target: Path) -> None:
            if full(Path(target)):
                self.refused.append(Path(target).name)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            replace(source, target)

        monkeypatch.setattr("os.replace", written)


def test_a_full_disk_keeps_the_file_before_and_the_run_goes_on(
    tiny: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    disk = Disk(monkeypatch, lambda path: path.name in ("step_3.pth", "step_5.pth"))
    tiny.run(tmp_path / "full")
    assert disk.refused == ["step_3.pth", "step_5.pth"]
    told = " ".join(capfd.readouterr().err.split())
    assert "no space left on device while writing" in told
    assert "step_2.pth is kept, the run goes on and tries again" in told
    assert not list((tmp_path / "full").glob("*.partial"))
    tiny.run(tmp_path / "whole")
    ends = [read_checkpoint(tmp_path / each / "step_8.pth") for each in ("full", "whole")]
    assert all(torch.equal(v, ends[1]["state_dict"][k]) for k, v in ends[0]["state_dict"].items())


def test_a_disk_that_is_full_at_the_end_is_an_error_and_the_file_before_goes_on(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk(monkeypatch, lambda path: path.name in ("step_7.pth", "step_8.pth"))
    with pytest.raises(UnsavedWeightsError, match=r"last step, 8.*step_6\.pth is kept: once"):
        tiny.run(tmp_path)
    monkeypatch.undo()
    assert tiny.run(tmp_path, resume=True)[1].checkpoint == tmp_path / "step_8.pth"


def test_a_folder_that_is_gone_for_a_while_costs_the_files_of_that_time_alone(
    tiny: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, away = tmp_path / "run", tmp_path / "away"

    class Moving(tiny.TinySource):
        def batches(self, **where: Any) -> Iterator[Any]:
            for place, batch in enumerate(super().batches(**where)):
                if (where["epoch"], place) == (0, 2):
                    out.rename(away)
                if (where["epoch"], place) == (1, 0):
                    away.rename(out)
                yield batch

    tiny.run(out, batches=Moving())
    assert read_checkpoint(out / "step_8.pth")["position"]["steps"] == 8
    told = " ".join(capfd.readouterr().err.split())
    assert told.count("no such file or directory while writing") == 1
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["mode"] == "train"] == [3, 6, 8]


@pytest.mark.parametrize("skips", [False, True])
def test_a_run_whose_folder_is_another_ones_by_now_ends_and_touches_nothing(
    tiny: ModuleType, tmp_path: Path, skips: bool
) -> None:
    out = tmp_path / "run"
    other = {"run.lock": b"process 7 on elsewhere", "step_1.pth": b"1", "log.jsonl": b"{}\n"}

    class Taken(tiny.TinySource):
        def batches(self, **where: Any) -> Iterator[Any]:
            for place, batch in enumerate(super().batches(**where)):
                if (where["epoch"], place) == (0, 4):
                    shutil.rmtree(out)
                    out.mkdir()
                    for name, content in other.items():
                        (out / name).write_bytes(content)
                    fcntl.flock(held := os.open(out / "run.lock", os.O_RDWR), fcntl.LOCK_EX)
                    descriptors.append(held)
                yield batch

    class Steep(tiny.TinyModel):  # overflows at the scale that it starts with, and at many below
        def forward(self, batch: Any) -> dict[str, torch.Tensor]:
            return {name: loss * 2.0**20 for name, loss in super().forward(batch).items()}

    descriptors: list[int] = []
    seldom = dataclasses.replace(tiny.SHORT, checkpoint_every=None, replay_bundles=9)
    how = {"model": Steep(), "precision": Precision("fp16", "dynamic")} if skips else {}
    with pytest.raises(ValueError, match="is in use by process 7 on elsewhere"), own_folder(out):
        tiny.run(out, seldom, batches=Taken(), **how)
    os.close(descriptors.pop())
    assert {path.name: path.read_bytes() for path in out.iterdir()} == other


def test_a_folder_that_is_moved_for_good_is_told_at_the_end_and_goes_on_where_it_is(
    tiny: ModuleType, tmp_path: Path
) -> None:
    out, away = tmp_path / "run", tmp_path / "away"

    class Moving(tiny.TinySource):
        def batches(self, **where: Any) -> Iterator[Any]:
            for place, batch in enumerate(super().batches(**where)):
                if (where["epoch"], place) == (1, 0):
                    out.rename(away)
                yield batch

    with pytest.raises(UnsavedWeightsError, match=r"run is gone: if it was moved, go on in its"):
        tiny.run(out, batches=Moving())
    assert not out.exists()
    assert tiny.run(away, resume=True)[1].checkpoint == away / "step_8.pth"
    tiny.run(tmp_path / "whole")
    ends = [read_checkpoint(tmp_path / each / "step_8.pth") for each in ("away", "whole")]
    assert all(torch.equal(v, ends[1]["state_dict"][k]) for k, v in ends[0]["state_dict"].items())


def test_a_best_that_is_gone_counts_no_more(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path, batches=tiny.DyingSource(13))
    (tmp_path / "best.pth").unlink()
    worse = {"evaluate": lambda _: {"score": -9.0}}
    assert tiny.run(tmp_path, resume=True, **worse)[1].best == -9.0
    assert read_checkpoint(tmp_path / "best.pth")["meta"]["metrics"] == {"score": -9.0}


@pytest.mark.parametrize("moment", [1, 4, 6])  # of a first step, a later one, the best
def test_a_kill_after_a_files_rename_costs_nothing(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    renamed: list[Path] = []

    def killed(folder: Path) -> None:  # before the folder is on the disk
        renamed.append(folder)
        if len(renamed) == moment:
            raise tiny.Killed

    monkeypatch.setattr("halftrack.training.files.checkpoint._sync_folder", killed)
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path / "killed")
    for name in ("killed", "whole"):
        tiny.run(tmp_path / name, resume=name == "killed")
    ends = [read_checkpoint(tmp_path / each / "step_8.pth") for each in ("killed", "whole")]
    assert all(torch.equal(v, ends[1]["state_dict"][k]) for k, v in ends[0]["state_dict"].items())


def test_an_error_and_a_signal_wait_for_the_file_being_written(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def slowly(source: Path, target: Path) -> None:
        time.sleep(0.2)
        replace(source, target)

    monkeypatch.setattr("os.replace", slowly)
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path, batches=tiny.DyingSource(4))
    assert {path.name for path in tmp_path.glob("*.p*")} == {"step_1.pth", "step_2.pth"}
    source = tiny.DyingSource(1, signal_number=signal.SIGTERM)
    _, result = tiny.run(tmp_path, batches=source, resume=True)
    assert read_checkpoint(result.checkpoint)["position"]["batches_done"] == 6


def test_a_best_that_could_not_be_written_is_an_error_at_the_end(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk(monkeypatch, lambda path: path.name == "best.pth")
    with pytest.raises(UnsavedWeightsError, match=r"the best weights, .*could not be saved"):
        tiny.run(tmp_path)
    assert read_checkpoint(tmp_path / "step_8.pth")["position"]["best"] is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_the_end_of_a_run_without_any_file_is_an_error(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UnsavedWeightsError, match="they are lost"):
        tiny.run(tmp_path)


@pytest.mark.parametrize(("files", "left"), [(0, "they are lost"), (1.5, "step_1.pth is kept")])
def test_a_real_disk_that_fills_up_keeps_the_checkpoint_it_has(
    tiny: ModuleType, tmp_path: Path, files: float, left: str
) -> None:
    tiny.run(tmp_path / "whole")
    size = (tmp_path / "whole/step_8.pth").stat().st_size
    pages = 2 + math.ceil(files * size / 4096)  # with the lock and the log
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    kept.mkdir()
    run = f"{sys.executable} {tiny.__file__} {disk}/run 99 SIGTERM fresh"
    inside = f"mount -t tmpfs -o size={4 * pages}k tmpfs {disk} && {{ {run}; code=$?; }}; "
    inside += f"cp {disk}/run/* {kept}; exit $code"
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", inside]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip(f"no mounts of our own here: {done.stderr}")
    told = " ".join(done.stderr.split())
    assert done.returncode == 1, told
    assert told.count("no space left on device while writing") == 1
    assert "the weights of the last step, 8, could not be saved" in told
    assert left in told
    saved = [path.name for path in kept.glob("step_*.pth*")]
    assert saved == ([] if files == 0 else ["step_1.pth"])
    for name in saved:
        assert read_checkpoint(kept / name)["position"]["steps"] == 1


def test_a_log_that_was_cut_within_a_line_goes_on_with_whole_ones(
    tiny: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = dataclasses.replace(tiny.SHORT, log_every=1)
    stopped(tiny, tmp_path, 9, config=config)
    log = tmp_path / "log.jsonl"
    kept = log.read_bytes().splitlines(keepends=True)[:3]
    log.write_bytes(b"".join(kept)[:-40])
    tiny.run(tmp_path, config, data={"VID": SET}, resume=True)
    steps = [row["step"] for row in read_log(log) if row["mode"] == "train"]
    assert steps == [1, 5, 6, 7, 8]
    assert "earlier lines are lost" in " ".join(capfd.readouterr().err.split())


class HalfFull:
    """Stands for a file on a disk that takes half of one more line."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, data: bytes) -> int:
        if len(data) > 12:
            return self.file.write(data[:5])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def test_a_checkpoint_that_counts_half_a_line_has_the_other_half(
    tiny: ModuleType, tmp_path: Path
) -> None:
    from halftrack.training.log import RunLog

    def opened() -> RunLog:
        return RunLog(tmp_path / "log.jsonl", every=1, device=tiny.CPU, total_steps=3)

    with opened() as log:
        log.note(line=1)
        log._file = HalfFull(log._file)  # type: ignore[assignment]
        log.note(line=2, words="longer than what is left of the disk")
        state = log.state_dict()
    with opened() as log:
        log.load_state_dict(state)
        log.note(line=3)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in lines] == [1, 2, 3]


def test_a_log_that_meets_a_full_disk_is_written_later_in_its_order(
    tiny: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from halftrack.training.log import RunLog

    log = RunLog(tmp_path / "log.jsonl", every=1, device=tiny.CPU, total_steps=3)
    with log:
        log.note(line=1)
        good = log._file
        log._file = HalfFull(good)  # type: ignore[assignment]
        log.note(line=2)
        log.note(line=3)
        log._file = good
        log.note(line=4)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in lines] == [1, 2, 3, 4]
    assert capfd.readouterr().err.count("no space left on device") == 1
