"""ReID's configs: sizes, batches and individuals arrive as changed fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmtracking_configs import edited

from halftrack.interop import ConfigError, import_config
from halftrack.recipes import load_recipe

REID = "resnet50_b32x8_MOT17"
SMALL = """
steps = [dict(type='Resize', img_scale=(64, 128), keep_ratio=False), dict(type='Normalize',
         mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])]
data = dict(train=dict(pipeline=steps), test=dict(pipeline=steps))
model = dict(reid=dict(neck=dict(kernel_size=(4, 2))))
"""
CHANGED: dict[str, tuple[str, dict[str, Any]]] = {
    "crops": (SMALL, {"model.crop_size": (128, 64), "data.flip_probability": 0.0}),
    "individuals": (
        "model = dict(reid=dict(head=dict(num_classes=99)))",
        {"model.num_identities": 99},
    ),
    "groups of a batch": ("data = dict(samples_per_gpu=2)", {"data.identities_per_batch": 16}),
    "a batch": (
        "data = dict(train=dict(triplet_sampler=dict(num_ids=4, ins_per_id=2)))",
        {"data.identities_per_batch": 4, "data.crops_per_identity": 2},
    ),
    "lists of one's own": (
        "data = dict(train=dict(ann_file='/d/MOT17/reid/meta/a.txt'), "
        "test=dict(ann_file='/d/MOT17/reid/meta/b.txt'))",
        {"data.training_list": "reid/meta/a.txt", "data.validation_list": "reid/meta/b.txt"},
    ),
    "a margin": (
        "model = dict(reid=dict(head=dict(loss_pairwise=dict(margin=0.5))))",
        {"model.margin": 0.5},
    ),
    "how often it is scored": ("evaluation = dict(interval=3)", {"training.evaluate_every": 3}),
}


@pytest.mark.parametrize("story", CHANGED)
def test_a_changed_setting_is_a_changed_field(story: str, tmp_path: Path) -> None:
    text, fields = CHANGED[story]
    imported = import_config(edited(tmp_path, REID, text))
    assert imported.differing(load_recipe(REID)) == fields
    assert imported.differing(imported.recipe()) == {}


WRONG = {
    "a list of one's own": (
        "data = dict(test=dict(ann_file='mine/a.txt'))",
        r"\(data\.validation_list",
    ),
    "a size that is none": (
        "data = dict(test=dict(pipeline=[dict(type='Resize', img_scale=3)]))",
        "width and height",
    ),
    "one list of one's own": (
        "data = dict(test=dict(ann_file='data/MOT17/reid/meta/a.txt'))",
        "expected a file for both, or for none",
    ),
    "half a group": ("data = dict(samples_per_gpu=0.5)", "whole number"),
    "cells of another size": (
        "model = dict(reid=dict(neck=dict(kernel_size=(4, 4))))",
        r"follows from model\.crop_size: expected \(8, 4\)",
    ),
}


@pytest.mark.parametrize("story", WRONG)
def test_what_has_no_counterpart_is_refused(story: str, tmp_path: Path) -> None:
    text, words = WRONG[story]
    with pytest.raises(ConfigError, match=words):
        import_config(edited(tmp_path, REID, text)).recipe()
