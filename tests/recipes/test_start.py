"""A recipe is loaded, checked and shown, its data looked for, without what computes: torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mistake import set_up

COMPUTING = ("torch", "torchvision", "scipy", "trackeval", "pycocotools", "matplotlib", "av")

# In a process of its own: here torch is loaded already.
EACH_RECIPE = """
from halftrack.errors import UserError
from halftrack.recipes import RECIPES, load_recipe, override
for name in RECIPES:
    recipe = load_recipe(name)
    right, wrong = "precision.keep_fp32=neck", "precision.loss_scale=True"
    assert override(recipe, [right]).to_dict()["precision"]["keep_fp32"] == ["neck"]
    assert recipe.from_dict(recipe.to_dict()) == recipe
    for assignment in (wrong, "data.image_scale=x", "data.crop_size=x", "nothing=1"):
        try:
            override(recipe, [assignment])
        except UserError:
            pass
        else:
            raise AssertionError(f"{name} took {assignment}")
"""
EACH_COMMAND = """
import sys, halftrack.cli
sys.argv = ["halftrack", *{arguments!r}]
try:
    halftrack.cli.main()
except SystemExit as end:
    assert end.code in {codes!r}, end.code
"""


def found_after(code: str) -> list[str]:
    """Runs the code in a process of its own; what computes and is loaded in the end."""
    code += f"\nimport sys\nprint([each for each in {COMPUTING!r} if each in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded: list[str] = eval(answer.stdout.splitlines()[-1])
    return loaded


def test_every_published_recipe_is_a_value_that_needs_no_torch() -> None:
    assert found_after(EACH_RECIPE) == []


@pytest.mark.parametrize(
    "words",
    [
        "show selsa_tiny_sample",
        "show siamese_rpn_tiny_sample --precision fp16 --set training.lr=0.1",
        "show tracktor_tiny_sample --set tracker.reid_iou=2",
        "train selsa_tiny_sample --data-root . --set training.lr=x",
        "train tracktor_tiny_sample --data-root .",
        "eval reid_tiny_sample --data-root . --set data.max_crops=no",
        "plan faster-rcnn_tiny_sample --set model.neck_channels=0",
        "rehearse selsa_tiny_sample --set model.rpn.nms_iou=7",
        "parity selsa_tiny_sample --data-root . --seeds 2 --set data.frame_range=0",
        "tune tracktor_tiny_sample --data-root . --field tracker.reid_iou=0:2 --trials 5",
        "tune tracktor_tiny_sample --data-root . --field tracker.reid_iou=0:1:0.5",
        "track . --recipe siamese_rpn_tiny_sample",
        "track . --recipe siamese_rpn_tiny_sample --init-box 1,2,3,4",
        "eval tracktor_tiny_sample --data-root .",
        "eval selsa_tiny_sample --data-root . --results .",
        "train selsa_tiny_sample --data-root . --set training.best_metric=mota",
        "data check selsa_tiny_sample --data-root . --set data.min_size=x",
        "train selsa_tiny_sample --data-root .",
        "train faster-rcnn_tiny_sample --data-root . --init none",
        "train reid_tiny_sample --data-root . --init none",
        "train siamese_rpn_tiny_sample --data-root . --device cuda",
        "train selsa_tiny_sample --data-root . --init pyproject.toml",
        "train selsa_tiny_sample --data-root . --device toaster",
        "train selsa_tiny_sample --data-root . --resume-from pyproject.toml",
        "parity reid_tiny_sample --data-root . --seeds 2",
        "rehearse selsa_tiny_sample --data-root .",
        "eval selsa_tiny_sample --data-root . --checkpoint pyproject.toml",
        "eval tracktor_tiny_sample --data-root . --results .",
        "eval siamese_rpn_tiny_sample --data-root . --results .",
        "data check selsa_tiny_sample --data-root .",
        "data check reid_tiny_sample --data-root .",
        "data check tracktor_tiny_sample --data-root .",
        "data check .",
        "data check halftrack",
        "data check selsa_tiny_sample",
        "data show .",
        "data split halftrack --out parts",
        "train selsa_tiny_sample --data-root . --classes from-data",
        "track . --recipe siamese_rpn_tiny_sample --init-box 1,2,3,4 --checkpoint pyproject.toml",
        "export pyproject.toml",
        "publish pyproject.toml",
    ],
)
def test_a_mistake_in_a_recipe_is_told_without_torch(words: str) -> None:
    arguments = words.split()
    assert found_after(EACH_COMMAND.format(arguments=arguments, codes=(None, 0, 2))) == []


@pytest.mark.parametrize(
    "words",
    [
        "empty --recipe tracktor_tiny_sample",
        "text --recipe tracktor_tiny_sample",
        "data --recipe tracktor_tiny_sample",
        "frames --recipe tracktor_tiny_sample",
        "frames empty --recipe selsa_tiny_sample --checkpoint pickle",
        "97 --recipe siamese_rpn_tiny_sample --init-box 1,2,3,4 --checkpoint pickle",
        "97 --recipe selsa_tiny_sample --checkpoint pickle",
        "frames --recipe siamese_rpn_tiny_sample --init-box 900,9,9,9 --checkpoint pickle",
        "frames --recipe tracktor_tiny_sample --detections text",
    ],
)
def test_a_video_that_cannot_be_tracked_is_told_without_torch(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(tmp_path)
    monkeypatch.chdir(tmp_path)
    loaded = found_after(EACH_COMMAND.format(arguments=["track", *words.split()], codes=(2,)))
    assert loaded == ["av"]
