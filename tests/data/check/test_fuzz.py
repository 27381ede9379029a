"""``data check`` keeps its promise on damaged trees: where it says well, nothing stops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from promise import Tally, verdict, verdicts
from small_layouts import LAYOUTS, Layout
from small_trees import change_tree

from halftrack.recipes import evaluate, train

pytestmark = pytest.mark.slow

TREES = 40
layouts = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)


@layouts
def test_a_good_tree_is_well_and_used(layout: Layout, tmp_path: Path) -> None:
    root = tmp_path / "data"
    change_tree(root, {}, layout.tree())
    for recipe in layout.recipes(root):
        told = verdict(recipe, root, "no damage")
        assert (told.plain, told.decoded, told.stopped, told.crashed) == ((), (), None, "")


@layouts
def test_where_check_says_well_nothing_stops(layout: Layout, tmp_path: Path) -> None:
    tally, broken = Tally(), []
    for each in verdicts(layout, TREES, tmp_path):
        tally.add(each)
        if each.broken is not None:
            broken.append(each.broken)
    assert not broken, "\n".join(broken)
    # Damages that are all passed over, or all told, would look at nothing.
    assert min(tally.well, tally.problems) >= TREES / 10


@pytest.mark.parametrize("name", ["ImageNet VID", "MOT17", "LaSOT"])
def test_a_real_run_goes_through_where_check_says_well(name: str, tmp_path: Path) -> None:
    (layout,) = (each for each in LAYOUTS if each.name == name)
    root, out = tmp_path / "data", tmp_path / "run"
    recipes: Any = layout.recipes(root)
    # The first tree that is damaged, the first recipe's turn, and said to be well.
    next(
        number
        for number, each in enumerate(verdicts(layout, TREES, tmp_path))
        if number % len(recipes) == 0 and not each.decoded
    )
    short = replace(recipes[0].training, epochs=1, workers=0, milestones=(), evaluate_every=1)
    recipe = replace(recipes[0], training=short)
    result = train(recipe, data_root=root, out=out, device="cpu")
    evaluation = evaluate(recipe, data_root=root, checkpoint=result.checkpoint, device="cpu")
    assert evaluation.frames > 0
    if name == "MOT17":
        tracker = replace(recipes[1], detector_checkpoint=str(result.checkpoint))
        tracked = evaluate(tracker, data_root=root, checkpoint=None, device="cpu")
        assert tracked.frames == evaluation.frames
