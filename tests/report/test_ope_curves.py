"""Success and precision plots are drawn as papers show them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from halftrack.evaluation import OpeScores
from halftrack.report import plot_ope_curves


def scores(level: float) -> OpeScores:
    """Curves as flat as can be told apart."""
    return OpeScores(
        success_curve=np.full(21, level),
        precision_curve=np.full(51, level + 1),
        norm_precision_curve=np.full(51, level + 2),
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved, in their order."""
    figures: list[Figure] = []
    save = Figure.savefig

    def saved(figure: Figure, *arguments: object, **options: object) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", saved)
    return figures


def test_three_pictures_show_each_tracker_with_its_score(
    drawn: list[Figure], tmp_path: Path
) -> None:
    trackers = {"weaker": scores(30), "siamese_rpn_r50_20e_lasot": scores(50.44)}
    plot_ope_curves(tmp_path, trackers, title="LaSOT test")
    names = ["success.png", "precision.png", "norm_precision.png"]
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(names)
    for name in names:
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 500
    panels = [figure.axes[0] for figure in drawn]
    assert [panel.get_title() for panel in panels] == [
        "Success, LaSOT test",
        "Precision, LaSOT test",
        "Normalised precision, LaSOT test",
    ]
    assert [panel.get_xlim()[1] for panel in panels] == [1, 50, 0.5]
    assert [panel.get_xlabel() for panel in panels] == [
        "overlap threshold",
        "location error threshold (px)",
        "normalised location error threshold",
    ]
    for panel, own, other in zip(panels, ("50.4", "51.4", "52.4"), (30, 31, 32), strict=True):
        told = [text.get_text() for text in panel.get_legend().get_texts()]
        assert told == [f"siamese_rpn_r50_20e_lasot [{own}]", f"weaker [{other}.0]"]
        assert panel.get_lines()[1].get_ydata()[0] == other
