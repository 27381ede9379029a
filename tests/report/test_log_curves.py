"""Curves of logs: every field has a panel, values that are not finite are seen."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from PIL import Image

from halftrack.report.log_curves import draw_log_curves

PANELS = {
    "loss": {"theirs": [(1, 3.0), (2, math.nan), (3, 1.0)], "ours": [(1, 2.0), (4, 0.5)]},
    "mAP": {"theirs": [(3, 0.5)], "ours": []},
    "lr": {"theirs": [], "ours": []},
    "grad_norm": {"theirs": [(1, math.inf)], "ours": []},
}


@pytest.mark.parametrize("count", range(1, 5))
def test_a_picture_has_a_panel_for_each_field(tmp_path: Path, count: int) -> None:
    draw_log_curves(tmp_path / "a.png", dict(list(PANELS.items())[:count]))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
        assert picture.width == 440 * min(count, 3)
