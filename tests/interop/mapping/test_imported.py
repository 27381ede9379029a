"""All 34 configs become the recipes of their names, and what was changed a changed field."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mmtracking_configs import NAMES, edited, write_configs

from halftrack.frames import Frame
from halftrack.interop import ConfigError, import_config
from halftrack.models import ReIDConfig
from halftrack.recipes import Recipe, TrackingRecipe, load_recipe
from halftrack.studies.memory.step_sizes import resized
from halftrack.training import Learner

SELSA = "selsa_faster_rcnn_r50_dc5_1x_imagenetvid"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_configs(tmp_path_factory.mktemp("configs"))


def test_there_are_34() -> None:
    assert len(NAMES) == 34


@pytest.mark.parametrize("name", NAMES)
def test_a_config_is_the_recipe_of_its_name_field_by_field(name: str, folder: Path) -> None:
    assert import_config(folder / f"{name}.py").recipe() == load_recipe(name)


_built: dict[Any, Any] = {}


def built(recipe: Recipe, model: Any) -> Any:
    """The model of a recipe; that of the last one, if both have the same."""
    if model not in _built:
        _built.clear()
        _built[model] = recipe.build_model()
    return _built[model]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("tracktor")])
def test_an_imported_recipe_trains_a_step(name: str, folder: Path) -> None:
    recipe = import_config(folder / f"{name}.py").recipe().for_training().without_data()
    if recipe.any_image_size:
        recipe = resized(recipe, image="64x96")
    recipe = resized(recipe, samples=1 if name.startswith("selsa") else 2)
    model = built(recipe, recipe.model)
    learner = Learner(
        model, recipe.training, recipe.precision, device=torch.device("cpu"), batches_per_epoch=1
    )
    learner.begin_epoch(0)
    for index in range(recipe.training.accumulate):
        losses = learner.gradients(recipe.planned_batch(objects=2), seed=index)
        assert all(torch.isfinite(loss) for loss in losses.values())
    assert not learner.step().skipped


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("tracktor")])
def test_an_imported_tracker_takes_a_step(name: str, folder: Path) -> None:
    recipe = import_config(folder / f"{name}.py").recipe()
    assert isinstance(recipe, TrackingRecipe)
    reid = replace(recipe.reid or ReIDConfig(), num_identities=2)
    # Random weights find somebody everywhere, and each is embedded.
    roi_head = replace(recipe.detector.roi_head, max_detections=5)
    recipe = replace(recipe, reid=reid, detector=replace(recipe.detector, roi_head=roi_head))
    tracker = recipe.new_tracker(built(recipe, (recipe.detector, recipe.reid)).eval())
    image = torch.randint(0, 256, (3, 64, 96), generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[4.0, 4.0, 40.0, 60.0]]) if recipe.data.public else None
    with torch.no_grad():
        for index in range(2):
            frame = Frame(
                image=image.to(torch.uint8),
                sample_id=f"mine/{index}",
                frame_index=index,
                public_xyxy=boxes,
            )
            tracks = tracker.step(frame)
    assert torch.isfinite(tracks.boxes_xyxy).all()


def test_a_changed_config_is_the_nearest_recipe_with_what_differs(tmp_path: Path) -> None:
    text = "fp16 = dict(loss_scale=512.)\noptimizer = dict(lr=0.005)"
    imported = import_config(edited(tmp_path, SELSA, text))
    base, recipe = imported.base(), imported.recipe()
    assert base.name == "selsa_faster_rcnn_r50_dc5_fp16_1x_imagenetvid"
    assert imported.differing(base) == {"training.lr": 0.005}
    assert (recipe.name, recipe.training.lr) == ("mine", 0.005)  # type: ignore[attr-defined]
    assert recipe.summary == f"{base.name} as mine.py changes it"


def test_options_change_a_config_last(tmp_path: Path) -> None:
    file = edited(tmp_path, SELSA, "")
    imported = import_config(file, ["model.detector.backbone.depth=101", "total_epochs=3"])
    assert imported.fields.values["training.epochs"] == 3
    assert imported.base().name == SELSA.replace("r50", "r101")


def test_a_third_level_of_bases_is_read(tmp_path: Path) -> None:
    edited(tmp_path, SELSA, "total_epochs = 9").rename(tmp_path / "second.py")
    file = tmp_path / "third.py"
    file.write_text("_base_ = ['./second.py']\noptimizer = dict(lr=0.1)", encoding="utf-8")
    values = import_config(file).fields.values
    assert (values["training.epochs"], values["training.lr"]) == (9, 0.1)


WRONG = {
    "a key that does not exist": (
        "model = dict(detector=dict(neck=dict(start_level=1)))",
        r"mine\.py, line 2: model\.detector\.neck\.start_level=1: it has no counterpart here; the "
        r"nearest are model\.detector\.neck\.out_channels \(model\.neck_channels\)",
    ),
    "a misspelt name": (
        "\ntotal_epoch = 12",
        r"mine\.py, line 3: total_epoch=12: .*the nearest are total_epochs \(training\.epochs\)",
    ),
    "a value of another model": (
        "model = dict(detector=dict(backbone=dict(style='caffe')))",
        r"line 2: model\.detector\.backbone\.style='caffe': here it is 'pytorch'",
    ),
    "another method": ("model = dict(type='FGFA')", "line 2: .*SELSA, Tracktor, SiamRPN"),
    "a value out of bounds": (
        "optimizer = dict(lr=-1)",
        r"line 2: optimizer\.lr=-1: recipe field training\.lr=-1: expected a number at least 0",
    ),
    "a value of another type": (
        "model = dict(detector=dict(backbone=dict(depth='deep')))",
        r"line 2: model\.detector\.backbone\.depth='deep': recipe field model\.backbone\.depth",
    ),
    "a text that reads like a number": (
        "optimizer = dict(lr='0.02')",
        r"line 2: optimizer\.lr='0\.02': training\.lr would be 0\.02 here",
    ),
    "fields that do not go together": (
        "model = dict(detector=dict(rpn_head=dict(anchor_generator=dict(strides=[8]))))",
        r"mine\.py, line 2: model\.detector\.rpn_head\.anchor_generator\.strides=\[8\]: .*16",
    ),
    "a value that follows from another": (
        "model = dict(detector=dict(rpn_head=dict(in_channels=256)))",
        r"rpn_head\.in_channels=256: here it follows from model\.neck_channels: expected 512",
    ),
    "two keys of one field": (
        "model = dict(detector=dict(test_cfg=dict(rpn=dict(nms=dict(iou_threshold=0.6)))))",
        r"nms\.iou_threshold=0\.6: differs from .*rpn_proposal\.nms\.iou_threshold=0\.7",
    ),
    "a section in the place of a number": (
        "total_epochs = dict(_delete_=True, a=1)",
        r"total_epochs=dict\(\.\.\.\): recipe field training\.epochs",
    ),
    "a number in the place of a section": ("data = 3", "line 2: data=3: it has no counterpart"),
}  # fmt: skip


@pytest.mark.parametrize("story", WRONG)
def test_what_has_no_counterpart_is_told_with_file_line_key_and_the_nearest(
    story: str, tmp_path: Path
) -> None:
    text, words = WRONG[story]
    with pytest.raises(ConfigError, match=words):
        import_config(edited(tmp_path, SELSA, text)).recipe()


@pytest.mark.parametrize(
    "text", ["x = 1", "model = 3", "model = dict(a=1)", "model = dict(type=1)"]
)
def test_a_file_of_another_sort_is_no_config(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.py"):
        import_config(tmp_path / "mine.py")


def test_notes_tell_what_is_not_needed_and_what_changes_nothing(tmp_path: Path) -> None:
    lines = ("resume_from = 'a.pth'", "pixels = dict(mean=[0])", "data = dict(val=dict(type='X'))")
    text = "\n".join(lines)
    imported = import_config(edited(tmp_path, SELSA, text))
    notes = "\n".join(imported.notes())
    assert "resume_from='a.pth'" in notes
    assert "mine.py, line 3) changes nothing" in notes
    assert "data.val differs from data.test" in notes
    assert imported.not_needed()[:3] == ["checkpoint_config", "dist_params", "log_config"]


def test_a_mistake_is_told_without_torch(tmp_path: Path) -> None:
    file = edited(tmp_path, SELSA, "model = dict(depth=3)")
    code = (
        "import sys\nfrom halftrack.interop import import_config\n"
        f"try: import_config({str(file)!r})\nexcept ValueError as error: print(error)\n"
        "print('torch' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "model.depth=3: it has no counterpart here" in answer.stdout
    assert answer.stdout.endswith("False\n")
