"""Synthetic video is a function of its settings, and holds what the official layouts hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from halftrack.data.check import check
from halftrack.data.vid import VidDataConfig
from halftrack.synthetic import SYNTHETIC_CLASSES, SyntheticVideo, write_synthetic

SMALL = {"train_videos": 2, "val_videos": 2, "frames": 12}


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


@pytest.mark.parametrize("layout", ["vid", "mot", "sot"])
def test_a_seed_gives_the_same_files_and_another_gives_others(tmp_path: Path, layout: str) -> None:
    roots = [
        write_synthetic(tmp_path / str(i), SyntheticVideo(layout=layout, seed=seed, **SMALL))
        for i, seed in enumerate((0, 0, 1))
    ]
    first, again, other = map(digest, roots)
    assert first == again
    assert first != other


def test_the_vid_layout_reads_without_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = write_synthetic(
        tmp_path / "data", SyntheticVideo(train_videos=4, val_videos=1, frames=12)
    )
    config = VidDataConfig(classes=SYNTHETIC_CLASSES, training_sets=("vid",))
    report = check(root, config, decode=True)
    assert report.ok, report.lines()
    trained = report.sets[0]
    assert trained.counts["frames"] == 48
    assert all(trained.boxes_per_class.values())


def test_the_mot_layout_has_official_columns_and_individuals(tmp_path: Path) -> None:
    root = write_synthetic(tmp_path / "data", SyntheticVideo(layout="mot", **SMALL))
    sequences = sorted((root / "MOT17/train").iterdir())
    assert len(sequences) == 2
    for sequence in sequences:
        rows = [line.split(",") for line in (sequence / "gt/gt.txt").read_text().splitlines()]
        assert all(len(row) == 9 for row in rows)
        assert {int(row[0]) for row in rows} == set(range(1, 13))
        pedestrians = {row[1] for row in rows if row[6:8] == ["1", "1"]}
        assert len(pedestrians) >= 3
        found = [line.split(",") for line in (sequence / "det/det.txt").read_text().splitlines()]
        assert all(row[1] == "-1" and len(row) == 7 for row in found)
        assert "seqLength=12" in (sequence / "seqinfo.ini").read_text()
        assert len(list((sequence / "img1").iterdir())) == 12


def test_the_sot_layout_flags_absence(tmp_path: Path) -> None:
    settings = SyntheticVideo(layout="sot", train_videos=4, val_videos=0, frames=40)
    root = write_synthetic(tmp_path / "data", settings)
    absent = []
    for truth in sorted((root / "LaSOTBenchmark").rglob("groundtruth.txt")):
        boxes = [[int(v) for v in line.split(",")] for line in truth.read_text().splitlines()]
        flags = [
            [int(v) for v in (truth.parent / f"{name}.txt").read_text().split(",")]
            for name in ("full_occlusion", "out_of_view")
        ]
        assert len(boxes) == len(flags[0]) == len(flags[1]) == 40
        for box, *gone in zip(boxes, *flags, strict=True):
            assert (box == [0, 0, 0, 0]) == any(gone)
        absent.append((sum(flags[0]), sum(flags[1])))
    assert any(hidden for hidden, _ in absent)
    assert any(outside for _, outside in absent)


def test_without_absences_every_target_of_the_sot_layout_can_be_seen(tmp_path: Path) -> None:
    settings = SyntheticVideo(
        layout="sot", train_videos=4, val_videos=0, frames=24, size=(96, 160), absences=False
    )
    root = write_synthetic(tmp_path, settings) / "LaSOTBenchmark"
    for name in ("full_occlusion.txt", "out_of_view.txt"):
        for file in root.rglob(name):
            assert "1" not in file.read_text()


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="choose another folder"):
        write_synthetic(tmp_path, SyntheticVideo(**SMALL), overwrite=True)
    assert (tmp_path / "thesis.txt").exists()


def test_other_settings_ask_before_they_replace(tmp_path: Path) -> None:
    write_synthetic(tmp_path, SyntheticVideo(**SMALL))
    with pytest.raises(FileExistsError, match="other synthetic video"):
        write_synthetic(tmp_path, SyntheticVideo(seed=1, **SMALL))
    write_synthetic(tmp_path, SyntheticVideo(seed=1, **SMALL), overwrite=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layout": "coco"}, "allowed are vid, mot, sot"),
        ({"frames": 3}, "at least 8"),
        ({"train_videos": 0, "val_videos": 0}, "one video is needed"),
        ({"size": (10, 10)}, "at least 64 pixels"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SyntheticVideo(**settings)
