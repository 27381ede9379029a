"""Evaluation of detectors, several frames in a pass or one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from halftrack.errors import UserError
from halftrack.recipes import load_recipe, override
from halftrack.synthetic import SyntheticVideo, write_synthetic

TINY = {"selsa_tiny_sample": "vid", "faster-rcnn_tiny_sample": "mot"}


@pytest.mark.parametrize("name", TINY)
def test_frames_that_share_passes_are_scored_as_one_by_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    settings = SyntheticVideo(layout=TINY[name], train_videos=1, val_videos=2, frames=9)
    root = write_synthetic(tmp_path / "data", settings)
    recipe = override(load_recipe(name), ["model.roi_head.score_threshold=0.0"])
    model, passes = recipe.build_model(seed=0).eval(), []
    model.register_forward_pre_hook(lambda _, given: passes.append(len(given[0])))
    cpu = torch.device("cpu")
    alone = recipe.scorer(root, cpu)(model)
    assert passes == [1] * 18
    passes.clear()
    together = recipe.with_test_batch(4).scorer(root, cpu)(model)
    assert passes == [4, 4, 1] * 2
    assert together.frames == alone.frames == 18
    assert together.flat() == pytest.approx(alone.flat(), abs=1e-4, nan_ok=True)
    for one, other in zip(alone.detections, together.detections, strict=True):
        assert len(one) > 0
        assert torch.equal(one.labels, other.labels)
        assert torch.allclose(one.boxes_xyxy, other.boxes_xyxy, rtol=0, atol=1e-4)
        assert torch.allclose(one.scores, other.scores, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["reid_tiny_sample", "siamese_rpn_tiny_sample"])
def test_a_recipe_that_does_not_detect_in_frames_refuses_to_share_passes(name: str) -> None:
    with pytest.raises(UserError, match=f"--batch 4: {name} does not detect in whole frames"):
        load_recipe(name).with_test_batch(4)


@pytest.mark.parametrize("name", TINY)
def test_weights_for_other_classes_are_refused_and_the_classes_told(
    name: str, tmp_path: Path
) -> None:
    trained = load_recipe(name).with_classes(("ball", "van"))
    classes = [("ball", "ball"), ("van", "van")] if name.startswith("selsa") else ["ball", "van"]
    meta = {"recipe": {"data": {"classes": classes}}}
    file = tmp_path / "best.pth"
    torch.save({"meta": meta, "state_dict": trained.build_model().state_dict()}, file)
    trained.load_model(file)
    load_recipe(name).with_classes(("lorry", "sphere")).load_model(file)  # the same, renamed
    for others in (("van", "ball"), ("van",), ("ball", "bus", "van")):
        with pytest.raises(UserError, match=r"another order; take its own, --classes ball,van$"):
            load_recipe(name).with_classes(others).load_model(file)
