from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from halftrack.training import load_weights, read_checkpoint
from halftrack.training.files.checkpoint import (
    code_versions,
    newest_checkpoint,
    prune,
    write_checkpoint,
)


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.detector = nn.ModuleDict(
            {"backbone": nn.Linear(3, 4, device="cpu"), "head": nn.Linear(4, 2, device="cpu")}
        )


def test_versions_are_of_plain_types() -> None:
    assert all(value is None or type(value) is str for value in code_versions().values())


def test_a_failed_write_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "step_1.pth"
    write_checkpoint(path, {"step": 1})
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        write_checkpoint(path, {"step": lambda: None})
    assert read_checkpoint(path) == {"step": 1}


def test_newest_passes_over_torn_files_and_names_them(tmp_path: Path) -> None:
    for step in (2, 9, 10):
        write_checkpoint(tmp_path / f"step_{step}.pth", {"step": step})
    torn = tmp_path / "step_10.pth"
    torn.write_bytes(torn.read_bytes()[:-200])
    path, state, passed_over = newest_checkpoint(tmp_path)
    assert (path.name, state) == ("step_9.pth", {"step": 9})
    assert list(passed_over) == [torn]
    assert "step_10.pth" in passed_over[torn]


def test_nothing_intact_is_an_error_that_lists_the_torn(tmp_path: Path) -> None:
    (tmp_path / "step_1.pth").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"no intact step_\*\.pth(.|\n)*step_1"):
        newest_checkpoint(tmp_path)


def test_a_best_alone_cannot_be_resumed_and_is_told_with_its_use(tmp_path: Path) -> None:
    (tmp_path / "best.pth").touch()
    with pytest.raises(FileNotFoundError, match=r"best\.pth has weights alone: .*--init"):
        newest_checkpoint(tmp_path)


def test_prune_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    for name in ("step_9.pth", "step_10.pth", "step_11.pth", "best.pth"):
        write_checkpoint(tmp_path / name, {})
    prune(tmp_path, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.pth", "step_10.pth", "step_11.pth"]


def test_a_written_file_is_on_the_disk_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        sync(descriptor)

    monkeypatch.setattr("os.fsync", watched)
    write_checkpoint(tmp_path / "step_1.pth", {})
    assert synced == ["step_1.pth.partial", tmp_path.name]


def test_a_file_system_that_syncs_no_folders_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_folders(descriptor: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")).is_dir():
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr("os.fsync", refuse_folders)
    write_checkpoint(tmp_path / "step_1.pth", {"step": 1})
    assert read_checkpoint(tmp_path / "step_1.pth") == {"step": 1}


def test_whole_model_loads_without_a_remark(tmp_path: Path) -> None:
    source, target = Detector(), Detector()
    write_checkpoint(tmp_path / "a.pth", {"state_dict": source.state_dict(), "meta": {}})
    report = load_weights(target, tmp_path / "a.pth")
    assert (report.prefix, report.missing, report.unexpected, report.mismatched) == ("", (), (), ())
    assert all(torch.equal(v, target.state_dict()[k]) for k, v in source.state_dict().items())


def test_bare_sub_model_goes_where_its_keys_fit(tmp_path: Path) -> None:
    target, bare = Detector(), nn.Linear(3, 4, device="cpu")
    torch.save(bare.state_dict(), tmp_path / "backbone.pth")
    report = load_weights(target, tmp_path / "backbone.pth")
    assert report.prefix == "detector.backbone."
    assert torch.equal(target.detector["backbone"].weight, bare.weight)


def test_of_a_file_of_more_the_part_that_fits_is_read(tmp_path: Path) -> None:
    whole = Detector()
    torch.save(whole.state_dict() | {"reid.weight": torch.zeros(9)}, tmp_path / "tracker.pth")
    target = nn.ModuleDict({"backbone": nn.Linear(3, 4), "head": nn.Linear(4, 2)})
    report = load_weights(target, tmp_path / "tracker.pth")
    assert (report.part, report.prefix, report.unexpected) == ("detector.", "", ())
    assert "from its 'detector.'" in str(report)
    assert torch.equal(target["head"].weight, whole.detector["head"].weight)


def test_keys_that_do_not_fit_are_all_reported(tmp_path: Path) -> None:
    weights = Detector().state_dict()
    weights["detector.head.weight"] = weights["detector.head.weight"][:1]
    weights["extra"] = weights.pop("detector.head.bias")
    torch.save(weights, tmp_path / "a.pth")
    report = load_weights(Detector(), tmp_path / "a.pth")
    assert report.missing == ("detector.head.bias",)
    assert report.unexpected == ("extra",)
    assert report.mismatched == ("detector.head.weight (1, 4) for (2, 4)",)
    assert "1 mismatched: detector.head.weight (1, 4) for (2, 4)" in str(report)


def test_file_that_fits_nowhere_is_an_error(tmp_path: Path) -> None:
    torch.save({"other": torch.zeros(3, device="cpu")}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="fits nowhere in Detector"):
        load_weights(Detector(), tmp_path / "a.pth")


def test_arbitrary_objects_are_unpickled_only_on_trust(tmp_path: Path) -> None:
    path = tmp_path / "mmtracking.pth"
    torch.save({"state_dict": Detector().state_dict(), "meta": {"config": Path("x")}}, path)
    with pytest.raises(ValueError, match="trust=True"):
        load_weights(Detector(), path)
    assert len(load_weights(Detector(), path, trust=True).loaded) == 4


def test_a_refused_file_is_told_by_what_it_holds_not_in_torchs_words(tmp_path: Path) -> None:
    path = tmp_path / "objects.pth"
    torch.save({"state_dict": {}, "config": Detector()}, path)
    with pytest.raises(ValueError, match=r"no checkpoint \(GLOBAL .*Detector\)") as told:
        read_checkpoint(path)
    assert "Re-running" not in str(told.value)
    path.write_text("You are no checkpoint")
    with pytest.raises(ValueError, match="neither a zip archive nor a pickle") as told:
        read_checkpoint(path)
    assert "\n" not in str(told.value)
