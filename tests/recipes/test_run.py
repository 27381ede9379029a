"""What can be wrong with a run without its data is told before they are read."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from halftrack.data import DataError
from halftrack.recipes import load_recipe, override, train
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training import read_checkpoint
from halftrack.training.continuation import Continuation
from halftrack.training.files import checkpoint, run_folder
from halftrack.training.files.checkpoint import newest_checkpoint
from halftrack.training.files.run_folder import own_folder
from halftrack.training.same_run import free_fields

SELSA, REID = "selsa_tiny_sample", "reid_tiny_sample"
SHORT = ("training.epochs=1", "training.workers=0", "data.min_crops=2", "data.max_crops=4")


def short(*settings: str):
    """ReID, whose number of individuals only the data can tell, for an epoch."""
    return override(load_recipe(REID), [*SHORT, "data.identities_per_batch=3", *settings])


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = SyntheticVideo(layout="mot", train_videos=2, val_videos=1, frames=8)
    return write_synthetic(tmp_path_factory.mktemp("videos"), settings)


@pytest.fixture(scope="module")
def finished(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    train(short(), data_root=videos, out=out)
    return out


@pytest.fixture
def unfinished(finished: Path, tmp_path: Path) -> Path:
    """A run whose last evaluation is missing."""
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    path, state, _ = newest_checkpoint(out)
    state["position"]["epochs_finished"] = 0
    torch.save(state, path)
    return out


@pytest.mark.parametrize("name", [SELSA, REID])
@pytest.mark.parametrize(
    ("settings", "asked", "message"),
    [
        ([], {"init": "nowhere.pth"}, "no checkpoint at nowhere.pth"),
        ([], {"device": "abacus"}, "no device 'abacus' here"),
        ([], {"resume": "must"}, "nothing to resume.*leave out --resume must"),
        ([], {"resume": True}, "resume=True: expected 'auto' or 'must'"),
        ([], {"device": "cpu:7"}, "no device 'cpu:7' here .*there are cpu"),
        (["precision.keep_fp32=necks"], {}, "pattern 'necks' matches no module"),
        (["training.best_metric=map50"], {}, "best_metric 'map50' is not measured; measured are"),
        (['training.lr_factors=(("nek.*", 0.1),)'], {}, "'nek.*' matches no parameter"),
        ([], {"data_changed": True}, "nothing to resume.*leave out --data-changed"),
    ],
)
def test_it_is_told_before_the_data_are_read(
    tmp_path: Path, name: str, settings: list[str], asked: dict[str, object], message: str
) -> None:
    recipe = override(load_recipe(name), settings)
    with pytest.raises(ValueError, match=message):
        train(recipe, data_root=tmp_path / "no data", out=tmp_path / "out", **asked)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "epochs", "message"),
    [
        ("detector.backbone.conv1.weight", 0, r"theirs\.pth does not fit the model: .* mismatched"),
        ("", 0, r"its optimizer has no parameter detector\."),
        ("", 99, "has finished 99 epochs, and this run has"),
    ],
)
def test_a_run_of_others_that_does_not_fit_is_told_before_the_data_are_read(
    tmp_path: Path, changed: str, epochs: int, message: str
) -> None:
    recipe = load_recipe(SELSA)
    weights = recipe.build_model().state_dict()
    start = Continuation(
        file=Path("theirs.pth"),
        weights=weights | ({changed: torch.zeros(3)} if changed else {}),
        epochs_finished=epochs,
        steps=0,
        settings={},
        momentum={},
        loss_scale=None,
    )
    with pytest.raises(ValueError, match=message):
        train(recipe, data_root=tmp_path / "no data", out=tmp_path / "out", start=start)
    assert not (tmp_path / "out").exists()


def test_a_run_of_others_is_looked_at_again_when_the_data_have_told_its_size(
    videos: Path, tmp_path: Path
) -> None:
    recipe = short()
    start = Continuation(
        file=Path("theirs.pth"),
        weights=recipe.without_data().build_model().state_dict(),
        epochs_finished=0,
        steps=0,
        settings={},
        momentum={},
        loss_scale=None,
    )
    with pytest.raises(ValueError, match=r"does not fit the model: .* 2 mismatched: head\.class"):
        train(recipe, data_root=videos, out=tmp_path / "out", start=start)
    assert not (tmp_path / "out").exists()


def test_another_number_of_classes_is_told_before_the_data_are_read(tmp_path: Path) -> None:
    recipe = override(load_recipe(SELSA), ["model.roi_head.num_classes=30"])
    with pytest.raises(ValueError, match=r"num_classes=30, but the data have \d+ classes .*: set"):
        train(recipe, data_root=tmp_path / "no data", out=tmp_path / "out")


def test_processes_that_are_not_connected_are_told_before_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ValueError, match=r"WORLD_SIZE=4, but RANK .* not set"):
        train(load_recipe(SELSA), data_root=tmp_path / "no data", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_in_which_another_process_trains_is_told_before_the_data_are_read(
    tmp_path: Path,
) -> None:
    with own_folder(tmp_path), pytest.raises(ValueError, match="is in use by process"):
        train(load_recipe(SELSA), data_root=tmp_path / "no data", out=tmp_path)


def test_the_output_is_opened_before_the_data_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_permission(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied", str(tmp_path / "out"))

    monkeypatch.setattr("os.open", no_permission)
    with pytest.raises(PermissionError):
        train(load_recipe(SELSA), data_root=tmp_path / "no data", out=tmp_path / "out")


def test_a_finished_run_is_left_as_it_is_without_its_data(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    result = train(short(), data_root=None, out=finished)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before
    assert (result.checkpoint, result.epochs_finished) == (newest_checkpoint(finished)[0], 1)
    assert "holds this run, and it is finished" in capsys.readouterr().out
    with pytest.raises(DataError):  # other data may have to be learned from
        train(short(), data_root=tmp_path / "no data", out=finished, data_changed=True)


def test_only_a_finished_run_may_lie_where_nothing_can_be_written(
    finished: Path, unfinished: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path, *_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(run_folder.os, "open", read_only)
    assert train(short(), data_root=None, out=finished).epochs_finished == 1
    with pytest.raises(OSError, match=r"Read-only.*run\.lock"):
        train(short(), data_root=videos, out=unfinished)


def test_a_run_that_goes_on_needs_its_data_and_reads_its_checkpoint_once(
    unfinished: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"is not finished and needs its data: .*--data-root"):
        train(short(), data_root=None, out=unfinished)
    read: list[str] = []

    def counted(path: Path, **how: Any) -> dict[str, Any]:
        read.append(path.name)
        return read_checkpoint(path, **how)

    newest = newest_checkpoint(unfinished)[0].name
    monkeypatch.setattr(checkpoint, "read_checkpoint", counted)
    assert train(short(), data_root=videos, out=unfinished).epochs_finished == 1
    assert read == [newest]


def test_a_new_run_without_data_takes_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder.os, "open", pytest.fail)
    with pytest.raises(ValueError, match=r"^a new run needs its data: --data-root$"):
        train(short(), data_root=None, out=tmp_path / "new")
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        train(short(), data_root=None, out=tmp_path / "new", resume="must")
    assert list(tmp_path.iterdir()) == []


def test_changed_annotations_are_told_before_the_first_step(
    unfinished: Path, videos: Path, tmp_path: Path
) -> None:
    data_root, out = tmp_path / "data", unfinished
    shutil.copytree(videos, data_root)
    truth = next((data_root / "MOT17/train").rglob("gt.txt"))
    rows = [line.split(",") for line in truth.read_text().splitlines()]
    for row in rows:
        row[2] = str(float(row[2]) + 1)  # every box a pixel to the right
    truth.write_text("".join(",".join(row) + "\n" for row in rows))
    log = (out / "log.jsonl").read_bytes()
    with pytest.raises(ValueError, match="was trained on other data: MOT17: other ground truth"):
        train(short(), data_root=data_root, out=out)
    assert (out / "log.jsonl").read_bytes() == log


def narrower(match: re.Match[str]) -> str:
    """A box's first columns, and the last of them less by a pixel."""
    return f"{match[1]}{max(float(match[2]) - 1, 0):g}"


VALIDATION = {
    "selsa_tiny_sample": ("vid", "*.xml", r"(<xmax>)([\d.]+)"),
    "faster-rcnn_tiny_sample": ("mot", "gt.txt", r"(?m)^((?:[^,]+,){4})([\d.]+)"),
    "reid_tiny_sample": ("mot", "gt.txt", r"(?m)^((?:[^,]+,){4})([\d.]+)"),
    "siamese_rpn_tiny_sample": ("sot", "groundtruth.txt", r"(?m)^((?:[^,]+,){2})([\d.]+)"),
}


@pytest.mark.parametrize("name", VALIDATION)
def test_every_task_tells_what_it_is_scored_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    layout, files, width = VALIDATION[name]
    settings = SyntheticVideo(layout=layout, train_videos=2, val_videos=2, frames=8)
    data_root = write_synthetic(tmp_path / "data", settings)
    shutil.copytree(data_root, tmp_path / "moved")
    recipe = short() if name == REID else load_recipe(name)
    cpu = torch.device("cpu")
    facts = [recipe.scorer(each, cpu).facts for each in (data_root, tmp_path / "moved")]
    for file in sorted(data_root.rglob(files)):
        file.write_text(re.sub(width, narrower, file.read_text()))
    facts.append(recipe.scorer(data_root, cpu).facts)
    assert facts[0] == facts[1]
    assert facts[0].keys() == facts[2].keys()
    assert facts[0] != facts[2]


def test_a_data_set_may_be_moved(unfinished: Path, videos: Path, tmp_path: Path) -> None:
    shutil.copytree(videos, tmp_path / "moved")
    assert train(short(), data_root=tmp_path / "moved", out=unfinished).epochs_finished == 1


def test_without_another_fault_the_data_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        train(load_recipe(SELSA), data_root=tmp_path / "no data", out=tmp_path / "out")


def test_weights_that_fit_nowhere_are_told_before_the_data_are_read(tmp_path: Path) -> None:
    torch.save({"state_dict": {"other": torch.zeros(3)}}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="fits nowhere"):
        train(short(), data_root=tmp_path, out=tmp_path / "out", init=tmp_path / "other.pth")


def test_an_out_that_is_a_file_is_told_before_the_data_are_read(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(ValueError, match="is a file: choose a folder"):
        train(short(), data_root=tmp_path / "no data", out=tmp_path / "out")


@pytest.mark.parametrize("word", ["none", None, "file"])
def test_the_log_says_where_the_weights_came_from(
    finished: Path, videos: Path, tmp_path: Path, word: str | None
) -> None:
    init = newest_checkpoint(finished)[0] if word == "file" else word
    train(short(), data_root=videos, out=tmp_path, init=init)
    meta = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert meta["init"] == ("none" if init is None else str(init))
    assert newest_checkpoint(tmp_path)[1]["meta"]["init"] == meta["init"]


def test_recipes_say_what_they_start_from_without_a_file() -> None:
    assert load_recipe("selsa_faster_rcnn_r50_dc5_1x_imagenetvid").start_weights == "imagenet"
    assert load_recipe(SELSA).start_weights == "none"


def test_only_marked_fields_are_free_and_pixels_are_not() -> None:
    training = {"workers", "log_every", "checkpoint_every", "keep_checkpoints", "replay_bundles"}
    training |= {"best_metric", "checkpoint_minutes", "shard"}
    everywhere = {f"training.{name}" for name in training} | {
        "data.on_bad_sample",
        "summary",
        "text",
    }
    assert free_fields(load_recipe(SELSA)).always == everywhere | {"data.test_batch"}
    assert free_fields(load_recipe(REID)).always == everywhere | {"data.cache_mb"}
    # Crops that are held are JPEG files there, which changes pixels.
    assert free_fields(load_recipe("siamese_rpn_tiny_sample")).always == everywhere
