"""The quickstart: synthetic video, tiny recipes in three precisions, tables, curves, pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from halftrack.data import load_image
from halftrack.data.mot import MotSequences
from halftrack.data.sot import read_sot
from halftrack.data.vid import TestVideos
from halftrack.errors import UserError
from halftrack.recipes import (
    DetectionEvaluation,
    SingleObjectEvaluation,
    TrainedRecipe,
    VideoDetectionRecipe,
    evaluate,
    train,
)
from halftrack.recipes.published import faster_rcnn, reid, selsa, siamrpn, tracktor
from halftrack.report.curves import plot_curves
from halftrack.report.drawing import draw_detections
from halftrack.report.ope_curves import OPE_PICTURES, plot_ope_curves
from halftrack.report.tables import render_table, write_csv
from halftrack.report.track_video import track_video
from halftrack.studies.memory.step import step_memory
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training import TrainingResult

__all__ = ["TASKS", "run_quickstart"]

_PRECISIONS = ("fp32", "bf16", "fp16")
# A street shows many people, a film of the third task one object to learn from.
_TRAINING_VIDEOS = {"vid": 14, "mot": 8, "sot": 60}
Row = dict[str, object]


def run_quickstart(out: Path, *, task: str, seed: int, console: Console) -> None:
    """Everything once, at laptop size; results go to ``out``, a folder a task.

    Raises:
        FileExistsError: if ``out/data`` holds something else than synthetic video.
        ValueError: for a task that is none.
    """
    if task not in (*TASKS, "all"):
        raise UserError(f"no task {task!r}; there are {', '.join(TASKS)} and all")
    out.mkdir(parents=True, exist_ok=True)
    tables = []
    for name in TASKS if task == "all" else (task,):
        console.print(f"filming synthetic video, {name} ...")
        settings = SyntheticVideo(
            layout=name,  # type: ignore[arg-type]
            seed=seed,
            train_videos=_TRAINING_VIDEOS[name],
        )
        data_root = write_synthetic(out / "data", settings, overwrite=True)
        folder = out / name
        folder.mkdir(exist_ok=True)
        title, rows, files = TASKS[name](data_root, folder, seed, console)
        write_csv(folder / "table.csv", rows)
        table = render_table(_by_precision(rows), title=title)
        tables.append((table, folder, ["table.csv", *files]))
    for table, folder, files in tables:
        console.print(table)
        console.print(f"results in {folder}: {', '.join(files)}", soft_wrap=True)
    console.print(
        "Live MiB: all tensors alive at the peak of one training step. On a CPU half precision is "
        "rehearsed, which takes longer than fp32.",
        highlight=False,
    )


def _by_precision(rows: list[Row]) -> list[Row]:
    """A column for each precision, so that the table fits any terminal."""
    names = [name for name in rows[0] if name != "precision"]
    return [{"": name} | {str(row["precision"]): row[name] for row in rows} for name in names]


def _vid(
    data_root: Path, out: Path, seed: int, console: Console
) -> tuple[str, list[Row], list[str]]:
    """SELSA: video object detection."""
    recipe = selsa.tiny_sample()
    untrained = evaluate(recipe, data_root=data_root, checkpoint=None, seed=seed)
    console.print(f"untrained: AP50 {untrained.flat()['coco_ap50']:.3f}")
    rows: list[Row] = []
    logs = {}
    for name in _PRECISIONS:
        console.rule(f"SELSA, {name}")
        folder, start = _fresh(out / name), time.perf_counter()
        chosen = recipe.with_precision(name)
        result = train(chosen, data_root=data_root, out=folder, seed=seed)
        logs[name] = folder / "log.jsonl"
        scores = {
            "AP50": f"{result.metrics['coco_ap50']:.3f}",
            "VOC AP50": f"{result.metrics['voc_ap50']:.3f}",
        }
        rows.append({"precision": name} | scores | _costs(chosen, data_root, [result], start))
    plot_curves(out / "curves.png", logs)
    title = "Tiny SELSA on unseen synthetic video (AP50 is COCO's)"
    return title, rows, ["curves.png", *_draw(recipe, data_root, out, seed)]


def _mot(
    data_root: Path, out: Path, seed: int, console: Console
) -> tuple[str, list[Row], list[str]]:
    """Tracktor: multi-object tracking by a detector and a ReID model."""
    parts: dict[str, TrainedRecipe] = {
        "faster-rcnn": faster_rcnn.tiny_sample(),
        "reid": reid.tiny_sample(),
    }
    tracker = tracktor.tiny_sample()
    rows: list[Row] = []
    logs = {}
    for name in _PRECISIONS:
        start, results = time.perf_counter(), {}
        for part, recipe in parts.items():
            console.rule(f"Tracktor's {part}, {name}")
            folder = _fresh(out / f"{part}_{name}")
            results[part] = train(
                recipe.with_precision(name), data_root=data_root, out=folder, seed=seed
            )
        logs[name] = out / f"faster-rcnn_{name}" / "log.jsonl"
        chosen = replace(
            tracker.with_precision(name),
            detector_checkpoint=str(out / f"faster-rcnn_{name}" / "best.pth"),
            reid_checkpoint=str(out / f"reid_{name}" / "best.pth"),
        )
        found = evaluate(chosen, data_root=data_root, checkpoint=None).flat()
        scores = {key.upper(): f"{found[key]:.3f}" for key in ("mota", "idf1", "hota")}
        scores |= {"IDSW": f"{found['idsw']:.0f}"}
        scores |= {"AP50": f"{results['faster-rcnn'].metrics['coco_ap50']:.3f}"}
        scores |= {"ReID mAP": f"{results['reid'].metrics['mAP']:.3f}"}
        detector = parts["faster-rcnn"].with_precision(name)
        costs = _costs(detector, data_root, list(results.values()), start)
        rows.append({"precision": name} | scores | costs)
    plot_curves(out / "curves.png", logs)
    first = MotSequences.open(tracker.data, data_root)[0]
    film = track_video(chosen, first.record.folder, out)
    title = "Tiny Tracktor on unseen synthetic video"
    return title, rows, ["curves.png", *(file.name for file in film.files)]


def _sot(
    data_root: Path, out: Path, seed: int, console: Console
) -> tuple[str, list[Row], list[str]]:
    """SiamRPN++: single-object tracking."""
    recipe = siamrpn.tiny_sample()
    rows: list[Row] = []
    logs, scores = {}, {}
    for name in _PRECISIONS:
        console.rule(f"SiamRPN++, {name}")
        folder, start = _fresh(out / name), time.perf_counter()
        chosen = recipe.with_precision(name)
        result = train(chosen, data_root=data_root, out=folder, seed=seed)
        logs[name] = folder / "log.jsonl"
        found = evaluate(chosen, data_root=data_root, checkpoint=folder / "best.pth")
        assert isinstance(found, SingleObjectEvaluation)
        scores[name] = found.metrics[recipe.rule].mean
        percent = {key: f"{value:.1f}" for key, value in scores[name].row().items()}
        rows.append({"precision": name} | percent | _costs(chosen, data_root, [result], start))
    plot_curves(out / "curves.png", logs)
    plot_ope_curves(out, scores, title="synthetic video")
    first = read_sot(data_root, recipe.benchmark)[0]
    film = track_video(
        chosen,
        Path(first.path(0)).parent,
        out,
        init_box=tuple(first.first_box_xyxy.tolist()),
        checkpoint=folder / "best.pth",
    )
    files = ["curves.png", *OPE_PICTURES, *(file.name for file in film.files)]
    return "Tiny SiamRPN++ on unseen synthetic video", rows, files


TASKS: dict[str, Callable[[Path, Path, int, Console], tuple[str, list[Row], list[str]]]] = {
    "vid": _vid,
    "mot": _mot,
    "sot": _sot,
}
"""The tasks by the layout of their synthetic video."""


def _fresh(folder: Path) -> Path:
    """The run's folder without what an earlier quickstart left there."""
    for leftover in (*folder.glob("*.pth"), *folder.glob("log.jsonl")):
        leftover.unlink()
    return folder


def _costs(
    recipe: TrainedRecipe, data_root: Path, results: list[TrainingResult], start: float
) -> Row:
    steps, skipped = (sum(getattr(r, key) for r in results) for key in ("steps", "skipped"))
    return {
        "live MiB": f"{step_memory(recipe, data_root) / 2**20:.1f}",
        "time (s)": f"{time.perf_counter() - start:.0f}",
        "skipped": f"{skipped} of {steps}",
        "loss scale": " / ".join(f"{result.loss_scale:g}" for result in results),
    }


def _draw(recipe: VideoDetectionRecipe, data_root: Path, out: Path, seed: int) -> list[str]:
    """A few frames of the fp16 run with what it found."""
    best, chosen = out / "fp16" / "best.pth", recipe.with_precision("fp16")
    found = evaluate(chosen, data_root=data_root, checkpoint=best, seed=seed)
    assert isinstance(found, DetectionEvaluation)
    names: list[str] = []
    position = 0
    for number, video in enumerate(TestVideos.open(recipe.data, data_root)):
        middle = len(video) // 2
        if number < 4:
            names.append(f"frame_{number}.png")
            picture = draw_detections(
                load_image(video.path(middle)),
                found.detections[position + middle],
                class_names=recipe.data.class_names,
            )
            picture.save(out / names[-1])
        position += len(video)
    return names
