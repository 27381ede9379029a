"""Picture of trials: a panel for the search and one for each field, whatever its values are."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from halftrack.report.trial_curves import draw_trials

SETTINGS = [
    {"a": 1.0, "b": None, "c": True, "d": 5},
    {"a": 2.0, "b": 0.5, "c": False, "d": 7},
]


@pytest.mark.parametrize("count", range(1, 5))
@pytest.mark.parametrize("trials", [1, 2])
def test_every_field_has_a_panel(tmp_path: Path, count: int, trials: int) -> None:
    chosen = [dict(list(each.items())[:count]) for each in SETTINGS[:trials]]
    draw_trials(tmp_path / "a.png", chosen, [0.1, 0.3][:trials], metric="idf1")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
        assert picture.width == 440 * min(count + 1, 3)
