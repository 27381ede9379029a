"""The quickstart: sample video, the tiny recipe in three precisions, table, curves, frames."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from halftrack.data import SampleSettings, load_image, write_sample
from halftrack.recipes import Recipe, evaluate, load_recipe, train
from halftrack.report.curves import plot_curves
from halftrack.report.drawing import draw_detections
from halftrack.report.memory import step_memory
from halftrack.report.tables import render_table, write_csv

__all__ = ["run_quickstart"]

_PRECISIONS = ("fp32", "bf16", "fp16")


def run_quickstart(out: Path, *, seed: int, console: Console) -> None:
    """Everything once, at laptop size; results go to ``out``.

    Raises:
        FileExistsError: if ``out/data`` holds something else than sample video.
    """
    out.mkdir(parents=True, exist_ok=True)
    console.print("filming sample video ...")
    data_root = write_sample(out / "data", SampleSettings(seed=seed), overwrite=True)
    recipe = load_recipe("selsa_tiny_sample")
    untrained = evaluate(recipe, data_root=data_root, checkpoint=None, seed=seed)
    console.print(f"untrained: AP50 {untrained.metrics.coco_ap50:.3f}")
    rows, logs = [], {}
    for name in _PRECISIONS:
        console.rule(f"SELSA, {name}")
        folder = _fresh(out / f"selsa_{name}")
        rows.append(_run(recipe.with_precision(name), data_root, folder, seed))
        logs[name] = folder / "log.jsonl"
    console.print(render_table(rows, title="Tiny SELSA on unseen sample video"))
    console.print(
        "AP50 is COCO's. Live MiB: all tensors alive at the peak of one training step. On a CPU "
        "half precision is rehearsed, which takes longer than fp32.",
        highlight=False,
    )
    write_csv(out / "table.csv", rows)
    plot_curves(out / "curves.png", logs)
    drawn = _draw(recipe, data_root, out, seed)
    console.print(f"results in {out}: table.csv, curves.png, {', '.join(drawn)}")


def _fresh(folder: Path) -> Path:
    """The run's folder without what an earlier quickstart left there."""
    for leftover in (*folder.glob("*.pth"), *folder.glob("log.jsonl")):
        leftover.unlink()
    return folder


def _run(recipe: Recipe, data_root: Path, folder: Path, seed: int) -> dict[str, object]:
    start = time.perf_counter()
    result = train(recipe, data_root=data_root, out=folder, seed=seed)
    seconds = time.perf_counter() - start
    return {
        "precision": recipe.precision.name,
        "AP50": f"{result.metrics['coco_ap50']:.3f}",
        "VOC AP50": f"{result.metrics['voc_ap50']:.3f}",
        "live MiB": f"{step_memory(recipe, data_root) / 2**20:.1f}",
        "time (s)": f"{seconds:.0f}",
        "skipped": f"{result.skipped} of {result.steps}",
        "loss scale": f"{result.loss_scale:g}",
    }


def _draw(recipe: Recipe, data_root: Path, out: Path, seed: int) -> list[str]:
    """A few frames of the fp16 run with what it found."""
    best = out / "selsa_fp16" / "best.pth"
    found = evaluate(recipe.with_precision("fp16"), data_root=data_root, checkpoint=best, seed=seed)
    names: list[str] = []
    position = 0
    for number, video in enumerate(recipe.data.test_videos(data_root)):
        middle = len(video) // 2
        if number < 4:
            names.append(f"frame_{number}.png")
            picture = draw_detections(
                load_image(video.path(middle)),
                found.detections[position + middle],
                classes=recipe.data.class_names,
            )
            picture.save(out / names[-1])
        position += len(video)
    return names
