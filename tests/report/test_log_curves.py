"""Curves of logs: every field has a panel, values that are not finite are seen."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from PIL import Image

from halftrack.report.log_curves import draw_log_curves, write_log_page

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


def test_a_page_has_table_notes_and_charts_and_loads_nothing(tmp_path: Path) -> None:
    rows = [{"log": "theirs", "loss": "1"}, {"log": "<ours>", "loss": "0.5"}]
    write_log_page(tmp_path / "a.html", PANELS, rows=rows, notes=["theirs: 1 line is not finite"])
    page = (tmp_path / "a.html").read_text()
    assert "&lt;ours&gt;" in page
    assert "theirs: 1 line is not finite" in page
    assert page.count("<figure>") == 4
    # Of the loss that was NaN and the norm that was infinite.
    assert page.count('class="cross"') == 2
    assert not re.search(r'(src|href)="(?!data:)', page)
