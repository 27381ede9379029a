"""A folder in which the commands of a page run: small data, files and recipes of their names."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from logged import META, trained, write_run
from page_own import write_own_data
from page_recipes import small_recipes
from page_theirs import write_theirs
from published import published, save_published

from halftrack.precision import Precision
from halftrack.recipes import load_recipe, override, train
from halftrack.report.video import VideoWriter
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training import read_checkpoint

__all__ = ["build_stage"]

_SCRIPT = """
import torch

model = torch.nn.Linear(4, 2).cuda()
optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.1), torch.amp.GradScaler()
for _ in range(4):
    with torch.autocast("cuda", dtype=torch.float16):
        loss = model(torch.ones(3, 4, device="cuda")).square().mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
"""


def build_stage(folder: Path) -> None:
    """Fill the folder with what pages name: DATA, VIDEO, runs/X, checkpoints, configs."""
    for layout in ("vid", "mot", "sot"):
        films = SyntheticVideo(
            layout=layout,  # type: ignore[arg-type]
            train_videos=2,
            val_videos=1,
            frames=12,
            size=(72, 120),
        )
        write_synthetic(folder / "DATA", films)
    for name in ("data", "SYNTHETIC"):
        (folder / name).symlink_to("DATA")
    _write_videos(folder)
    with small_recipes():
        _write_weights(folder)
        _write_runs(folder)
    (folder / "train.py").write_text(_SCRIPT)
    write_own_data(folder)
    write_theirs(folder)


def _write_videos(folder: Path) -> None:
    sequences = sorted((folder / "DATA/MOT17/train").iterdir())
    shutil.copytree(sequences[0], folder / "VIDEO")
    shutil.copy(sequences[0] / "gt/gt.txt", folder)
    rows = [line.split(",") for line in (folder / "gt.txt").read_text().split()]
    found = [",".join([row[0], "-1", *row[2:6], "0.9"]) for row in rows]
    (folder / "det.txt").write_text("\n".join(found))
    (folder / "FOLDER").mkdir()
    for sequence in sequences:
        rows = [line.split(",") for line in (sequence / "gt/gt.txt").read_text().split()]
        found = [",".join([*row[:6], "0.9"]) for row in rows if int(row[0]) > 7]
        (folder / "FOLDER" / f"{sequence.name}.txt").write_text("\n".join(found))
    (folder / "BOXES").mkdir()
    tested = folder / "DATA/LaSOTBenchmark/testing_set.txt"
    for name in tested.read_text().split():
        truth = folder / "DATA/LaSOTBenchmark" / name.partition("-")[0] / name / "groundtruth.txt"
        shutil.copy(truth, folder / "BOXES" / f"{name}.txt")
    for name in ("clip.mp4", "street.mp4"):
        with VideoWriter(folder / name, size=(120, 160), frame_rate=10) as film:
            for number in range(4):
                film.write(torch.full((3, 120, 160), 40 * number, dtype=torch.uint8))


def _write_weights(folder: Path) -> None:
    """Checkpoints of models that were never trained."""
    torch.manual_seed(0)
    states: dict[str, Any] = {}
    for kind in ("faster-rcnn", "reid", "siamese_rpn"):
        people = ["model.num_identities=2"] if kind == "reid" else []
        recipe: Any = override(load_recipe(f"{kind}_tiny_sample"), people)
        states[kind] = recipe.build_model().state_dict()
    tracker = {
        f"{part}.{name}": value
        for part, kind in (("detector", "faster-rcnn"), ("reid", "reid"))
        for name, value in states[kind].items()
    }
    backbone = {
        name.removeprefix("backbone."): value
        for name, value in states["siamese_rpn"].items()
        if name.startswith("backbone.")
    }
    (folder / "runs/quickstart/sot/siamrpn_fp16").mkdir(parents=True)
    for file, state in {
        "TRACKTOR.pth": tracker,
        "tracktor.pth": tracker,
        "COCO_PERSON.pth": states["faster-rcnn"],
        "D": states["faster-rcnn"],
        "R": states["reid"],
        "SIAMESE.pth": states["siamese_rpn"],
        "SOT_RESNET50.pth": backbone,
        "runs/quickstart/sot/siamrpn_fp16/best.pth": states["siamese_rpn"],
    }.items():
        torch.save({"state_dict": state}, folder / file)


def _write_runs(folder: Path) -> None:
    """Two runs, the first with a skipped step, and a checkpoint of MMTracking with its weights."""
    recipe: Any = load_recipe("reid_tiny_sample")
    skipping = replace(recipe, precision=Precision("fp16", "dynamic"))
    run = train(skipping, data_root=folder / "DATA", out=folder / "runs/X")
    assert run.skipped
    write_run(folder / "runs/Y", META, trained(20))
    last = max((folder / "runs/X").glob("step_*.pth"), key=lambda file: file.stat().st_mtime)
    shutil.copy(last, folder / "runs/X/step_900.pth")
    weights = read_checkpoint(folder / "runs/X/best.pth")["state_dict"]
    save_published(folder / "epoch_2.pth", published(weights, scaler=None))
