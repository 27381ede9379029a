"""Pages of logs: every field has a chart, values that are not finite are seen."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from halftrack.report.log_page import log_charts, write_log_page, write_page

PANELS = {
    "loss": {"theirs": [(1, 3.0), (2, math.nan), (3, 1.0)], "ours": [(1, 2.0), (4, 0.5)]},
    "mAP": {"theirs": [(3, 0.5)], "ours": []},
    "lr": {"theirs": [], "ours": []},
    "grad_norm": {"theirs": [(1, math.inf)], "ours": []},
}


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


def test_settings_that_differ_stand_on_the_page_only_where_there_are_some(tmp_path: Path) -> None:
    rows = [{"log": "a"}]
    write_log_page(tmp_path / "a.html", PANELS, rows=rows, notes=[])
    assert "Settings that differ" not in (tmp_path / "a.html").read_text()
    settings = [{"setting": "training.lr", "a": "0.1", "b": "0.2"}]
    write_log_page(tmp_path / "a.html", PANELS, rows=rows, notes=[], settings=settings)
    assert "training.lr" in (tmp_path / "a.html").read_text().partition("Settings that differ")[2]


def test_a_loss_scale_is_drawn_in_powers_of_two_unless_one_is_zero() -> None:
    scales = [(1, 65536.0), (2, 16384.0)]
    assert ">32768<" in "".join(log_charts({"loss_scale": {"a": scales}}))
    assert ">32768<" not in "".join(log_charts({"loss_scale": {"a": [*scales, (3, 0.0)]}}))


def test_names_are_told_only_where_there_are_several() -> None:
    points = [(1, 1.0), (2, 2.0)]
    assert 'class="legend"' not in "".join(log_charts({"loss": {"a": points}}))
    assert 'class="legend"' in "".join(log_charts({"loss": {"a": points, "b": points}}))


def test_a_page_takes_the_place_of_the_former_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for text in ("first", "second"):
        write_page(tmp_path / "a.html", text)
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    assert (tmp_path / "a.html").read_text() == "second"
    with pytest.raises(OSError, match=r"a\.html"):
        write_page(tmp_path / "none" / "a.html", "third")
