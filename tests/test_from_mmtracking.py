"""Every command of docs/from_mmtracking.md runs, on small synthetic data and tiny images."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from mmtracking_configs import edited
from published import published, save_published

from halftrack.cli import main
from halftrack.interop import import_config
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training import read_checkpoint
from halftrack.training.checkpoint import write_checkpoint

PAGE = Path(__file__).parents[1] / "docs/from_mmtracking.md"
COMMAND = re.compile(r"`(halftrack [a-z]+ [^`]+)`|^    (halftrack [a-z]+ .+)$", re.MULTILINE)
COMMANDS = tuple(dict.fromkeys("".join(found) for found in COMMAND.findall(PAGE.read_text())))

TRACKTOR = "tracktor_faster-rcnn_r50_fpn_4e_mot17-private-half"
REID = """
steps = [dict(type='Resize', img_scale=(32, 64), keep_ratio=False), dict(type='Normalize',
         mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])]
data = dict(train=dict(pipeline=steps, triplet_sampler=dict(num_ids=2, ins_per_id=2)),
            test=dict(pipeline=steps))
model = dict(reid=dict(backbone=dict(depth=18, base_channels=8), neck=dict(kernel_size=(2, 1)),
                       head=dict(in_channels=64)))
total_epochs = 3
"""
SMALL_TRACKTOR = """
model = dict(
    detector=dict(backbone=dict(depth=18, base_channels=8), neck=dict(in_channels=[8, 16, 32, 64])),
    reid=None, motion=None,
    tracker=dict(_delete_=True, type='TracktorTracker', obj_score_thr=0.5, num_frames_retain=10,
                 regression=dict(obj_score_thr=0.5, nms=dict(type='nms', iou_threshold=0.6),
                                 match_iou_thr=0.3)))
side = (64, 64)
seen = [dict(type='LoadImageFromFile'), dict(
    type='MultiScaleFlipAug', img_scale=side, flip=False,
    transforms=[dict(type='Resize', keep_ratio=True), dict(type='Normalize',
                mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
                dict(type='Pad', size_divisor=32)])]
learned = [dict(type='Resize', img_scale=side, ratio_range=(0.8, 1.2), keep_ratio=True,
                bbox_clip_border=False),
           dict(type='RandomCrop', crop_size=side, bbox_clip_border=False),
           dict(type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
           dict(type='Pad', size_divisor=32)]
data = dict(train=dict(pipeline=learned), test=dict(pipeline=seen))
"""
SHORT = ["training.workers=0", "data.max_crops=8", "data.validation_share=0.5"]
"""Settings of a training that here stands for one of hours."""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the page's commands name."""
    folder = tmp_path_factory.mktemp("moving")
    films = SyntheticVideo(layout="mot", train_videos=2, val_videos=0, frames=16, size=(72, 120))
    write_synthetic(folder / "DATA", films)
    reid = edited(folder / "configs", "resnet50_b32x8_MOT17", REID)
    reid.rename(folder / "configs/reid.py")
    tracker = edited(folder / "configs", TRACKTOR, SMALL_TRACKTOR)
    tracker.rename(folder / "configs/tracker.py")
    lists = SMALL_TRACKTOR.replace("match_iou_thr=0.3", "match_iou_thr=[0.3, 0.5]")
    edited(folder / "configs", TRACKTOR, lists).rename(folder / "configs/search.py")
    recipe: Any = import_config(folder / "configs/tracker.py").recipe()
    weights = recipe.detector.build().state_dict()
    state = {f"detector.{name}": value for name, value in weights.items()}
    write_checkpoint(folder / "tracker.pth", {"state_dict": state})
    write_checkpoint(folder / "detector.pth", {"state_dict": weights})
    (folder / "FOLDER").mkdir()
    first, *_ = sequences = sorted((folder / "DATA/MOT17/train").iterdir())
    shutil.copytree(first / "img1", folder / "video")
    shutil.copy(first / "gt/gt.txt", folder)
    for sequence in sequences:
        rows = [line.split(",") for line in (sequence / "gt/gt.txt").read_text().split()]
        found = [",".join([*row[:6], "0.9"]) for row in rows if int(row[0]) > 9]
        (folder / "FOLDER" / f"{sequence.name}.txt").write_text("\n".join(found))
    log = '{"mode": "train", "epoch": 1, "iter": 50, "lr": 0.01, "time": 0.4, "loss": 1.5}\n'
    (folder / "run.log.json").write_text(log)
    return folder


def halftrack(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["halftrack", *words])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def words(command: str) -> list[str]:
    """The words of a command with files of ours in the place of those that it speaks of."""
    _, verb, *given = shlex.split(command)
    detected, scored = verb == "track", "--results" in given
    config = "configs/tracker.py" if detected or scored else "configs/reid.py"
    if verb == "tune":
        config = "configs/search.py"
    names = {
        "CONFIG.py": config,
        "configs/my_selsa.py": config,
        "F": "tracker.pth" if detected else "runs/X/best.pth",
        "VIDEO": "video",
        "LOG": "run.log.json",
        "best.pth": "runs/X/best.pth",
        "data": "DATA",
    }
    found = [verb, *(names.get(word, word) for word in given)]
    if verb == "tune":
        found += ["--detector", "detector.pth"]
    if "--gpus" in found:  # several are for tests/training/test_distributed.py
        found[found.index("--gpus") + 1] = "1"
    if verb == "parity":
        found[found.index("--seeds") + 1] = "2"
    if verb in ("train", "parity") and "--resume-from" not in found:
        found += ["--init", "none"]  # ImageNet's weights are on the web
    if verb == "rehearse":
        found += ["--steps", "8"]  # the loss scale comes down for five
    settings = list(SHORT) if verb in ("train", "eval", "parity") and not scored else []
    if settings and "--resume-from" not in found:
        settings.append("training.epochs=1")
    for setting in settings:
        found += ["--set", setting]
    return found


def test_the_page_names_its_commands() -> None:
    verbs = {shlex.split(command)[1] for command in COMMANDS}
    assert {"import", "train", "eval", "track", "plot", "publish", "show", "export"} <= verbs
    assert len(COMMANDS) >= 15


@pytest.mark.slow
def test_every_command_runs(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(there)
    first = words("halftrack train CONFIG.py --data-root DATA --out runs/X")
    assert halftrack(monkeypatch, *first) == 0
    weights = read_checkpoint(there / "runs/X/best.pth")["state_dict"]
    save_published(there / "epoch_2.pth", published(weights, scaler=None))
    for number, command in enumerate(COMMANDS):
        found = words(command)
        if found[0] in ("train", "eval", "parity", "rehearse", "track", "tune"):
            found += ["--out", f"out/{number}"]
        code = halftrack(monkeypatch, *found)
        told = capsys.readouterr()
        # parity's verdict of four short runs may be either
        allowed = (0, 3) if found[0] == "parity" else (0,)
        assert code in allowed, f"{command}: {told.out}{told.err}"
