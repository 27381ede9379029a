"""Tables, curves and drawn frames."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from halftrack.evaluation import DetectionMetrics
from halftrack.frames import Detections
from halftrack.recipes import DetectionEvaluation, load_recipe
from halftrack.report import (
    draw_detections,
    plot_curves,
    published_row,
    render_table,
    write_csv,
)


def test_the_published_row_has_the_published_columns() -> None:
    metrics = DetectionMetrics(
        coco_ap50=0.787,
        coco_ap50_per_class={},
        voc_ap50=0.79,
        voc_ap50_per_class={},
        voc_ap50_slow=0.8,
        voc_ap50_medium=0.7,
        voc_ap50_fast=0.5,
    )
    evaluation = DetectionEvaluation(metrics=metrics, frames=100, seconds=20.0, detections=())
    recipe = load_recipe("selsa_faster_rcnn_r50_dc5_fp16_1x_imagenetvid")
    row = published_row(recipe, evaluation, memory_mb=2775.0, checkpoint=Path("best.pth"))
    assert row == {
        "Method": "SELSA",
        "Backbone": "R-50-DC5",
        "Style": "pytorch",
        "Lr schd": "7e",
        "Mem (GB)": "2.71",
        "Inf time (fps)": "5.0",
        "box AP@50": "78.7",
        "config": recipe.name,
        "checkpoint": "best.pth",
    }


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("count", [1, 2])
def test_a_table_of_twenty_columns_is_read_at_any_width(width: int, count: int) -> None:
    row = {"sequence": "MOT17-02-FRCNN"} | {f"metric {i}": f"{i * 1.25:.3f}" for i in range(20)}
    console = Console(width=width, file=StringIO(), color_system=None)
    console.print(render_table([row] * count, title="scores"))
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(len(line) for line in told.splitlines()) <= width
    for name, value in row.items():
        assert name in told
        assert told.count(value) >= count
    assert told.count("scores") == 1


def test_a_table_that_fits_is_one_table() -> None:
    console = Console(width=80, file=StringIO(), color_system=None)
    console.print(render_table([{"a": 1, "b": "x" * 60}]))
    assert console.file.getvalue().count("┏") == 1  # type: ignore[attr-defined]


def test_a_cell_wider_than_the_terminal_is_folded() -> None:
    console = Console(width=40, file=StringIO(), color_system=None)
    console.print(render_table([{"name": "a", "path": "p" * 60}] * 2))
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert told.count("p") == 121
    assert max(len(line) for line in told.splitlines()) <= 40


def test_two_columns_of_long_text_stay_beside_each_other_on_a_narrow_terminal() -> None:
    console = Console(width=80, file=StringIO(), color_system=None)
    console.print(render_table([{"setting": "s" * 40, "a": "x" * 60, "b": "y" * 60}] * 2))
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert told.count("┏") == 1
    assert (told.count("x"), told.count("y")) == (120, 120)
    assert max(len(line) for line in told.splitlines()) <= 80


def test_rows_of_different_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="differ in columns"):
        write_csv(tmp_path / "t.csv", [{"a": 1}, {"b": 1}])
    with pytest.raises(ValueError, match="at least one row"):
        write_csv(tmp_path / "t.csv", [])


def test_curves_are_drawn_from_logs(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    rows = [
        {"mode": "train", "step": step, "loss": 1 / step, "grad_norm": 1.0, "loss_scale": 512.0}
        for step in (1, 2, 3)
    ]
    skipped = {"mode": "train", "step": 2, "grad_norm": "inf", "loss_scale": 512.0, "skipped": True}
    rows.append(skipped)
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plot_curves(tmp_path / "curves.png", {"fp16": log})
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 800


def test_logs_of_one_label_share_its_colour_and_one_line_of_the_legend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log.jsonl"
    row = {"mode": "train", "step": 1, "loss": "nan", "grad_norm": 1.0, "loss_scale": 512.0}
    log.write_text(json.dumps(row) + "\n")
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    plot_curves(tmp_path / "curves.png", {"fp32": [log, log], "fp16": [log]})
    panels = drawn[0].axes
    for panel in panels:
        assert [line.get_color() for line in panel.lines] == ["C0", "C0", "C1"]
    assert [text.get_text() for text in panels[0].get_legend().get_texts()] == ["fp32", "fp16"]


def test_boxes_above_the_threshold_are_drawn() -> None:
    image = torch.zeros(3, 60, 80, dtype=torch.uint8)
    found = Detections(
        boxes_xyxy=torch.tensor([[10.0, 20.0, 50.0, 50.0], [60.0, 5.0, 70.0, 15.0]]),
        scores=torch.tensor([0.9, 0.1]),
        labels=torch.tensor([0, 1]),
    )
    drawn = draw_detections(image, found, class_names=("disc", "kite"))
    assert drawn.getpixel((10, 45)) != (0, 0, 0)
    assert drawn.getpixel((65, 5)) == (0, 0, 0)
    with pytest.raises(ValueError, match="an image is a Tensor of float32"):
        draw_detections(image.float(), found, class_names=("disc", "kite"))
