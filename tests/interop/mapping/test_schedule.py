"""Rate, length, clipping and precision of a training arrive as changed fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmtracking_configs import edited

from halftrack.interop import ConfigError, import_config
from halftrack.recipes import load_recipe

SELSA = "selsa_faster_rcnn_r50_dc5_1x_imagenetvid"
CHANGED: dict[str, tuple[str, dict[str, Any]]] = {
    "the rate": ("optimizer = dict(lr=0.005)", {"training.lr": 0.005}),
    "momentum and decay": (
        "optimizer = dict(_delete_=True, type='SGD', lr=0.01)",
        {"training.momentum": 0.0, "training.weight_decay": 0.0},
    ),
    "factors": (
        "optimizer = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))",
        {"training.lr_factors": (("backbone.*", 0.1),)},
    ),
    "epochs": ("total_epochs = 12", {"training.epochs": 12}),
    "a runner's epochs": (
        "runner = dict(type='EpochBasedRunner', max_epochs=7)",
        {},
    ),
    "milestones": (
        "lr_config = dict(step=[4, 6], gamma=0.5)",
        {"training.milestones": (4, 6), "training.gamma": 0.5},
    ),
    "no decay": ("lr_config = dict(step=[])", {"training.milestones": (), "training.gamma": 1.0}),
    "no warm-up": ("lr_config = dict(warmup=None)", {"training.warmup_steps": 0}),
    "no clipping": (
        "optimizer_config = dict(grad_clip=None)",
        {"training.max_grad_norm": None},
    ),
    "accumulation": (
        "optimizer_config = dict(type='GradientCumulativeOptimizerHook', cumulative_iters=1)",
        {},
    ),
    "fp16": (
        "fp16 = dict(loss_scale=128.)",
        {"precision.name": "fp16", "precision.loss_scale": 128.0},
    ),
    "fp16 with a dynamic scale": (
        "fp16 = dict()",
        {"precision.name": "fp16", "precision.loss_scale": "dynamic"},
    ),
    "no fp16": ("fp16 = None", {}),
    "compilation": ("compile = True", {"training.compile": "default"}),
    "a mode of compilation": (
        "compile = dict(mode='reduce-overhead')",
        {"training.compile": "reduce-overhead"},
    ),
    "no compilation": ("compile = False", {}),
    "the best score": ("evaluation = dict(save_best='bbox_mAP_50')", {}),
    "how often": ("evaluation = dict(interval=2)", {"training.evaluate_every": 2}),
}


@pytest.mark.parametrize("story", CHANGED)
def test_a_changed_setting_is_a_changed_field(story: str, tmp_path: Path) -> None:
    text, fields = CHANGED[story]
    imported = import_config(edited(tmp_path, SELSA, text))
    assert imported.differing(load_recipe(SELSA)) == fields
    assert imported.differing(imported.recipe()) == {}


def test_weights_to_start_from_are_kept_apart(tmp_path: Path) -> None:
    assert import_config(edited(tmp_path, SELSA, "load_from = 'work_dirs/a.pth'")).init == (
        "work_dirs/a.pth"
    )
    imported = import_config(edited(tmp_path, SELSA, "load_from = 'https://example.org/a.pth'"))
    assert imported.init is None
    assert any("download it and give it with --init" in line for line in imported.notes())


WRONG = {
    "another optimizer": ("optimizer = dict(type='Adam')", "here it is 'SGD'"),
    "no rate": ("optimizer = dict(_delete_=True, type='SGD')", "there is no lr"),
    "nesterov": ("optimizer = dict(nesterov=True)", "optimizer.nesterov=True: it has no"),
    "a decay of some": (
        "optimizer = dict(paramwise_cfg=dict(custom_keys=dict(neck=dict(decay_mult=0))))",
        "decay_mult: here it is 1",
    ),
    "another policy": ("lr_config = dict(policy='CosineAnnealing')", r"'step' \(training\.mile"),
    "another warm-up": ("lr_config = dict(warmup='exp')", "None or 'linear'"),
    "steps": ("lr_config = dict(by_epoch=False)", "milestones are epochs"),
    "one step": ("lr_config = dict(step=3)", "list of epochs"),
    "a runner of steps": ("runner = dict(type='IterBasedRunner', max_iters=9)", "max_iters=9: it"),
    "two lengths": ("runner = dict(type='EpochBasedRunner', max_epochs=3)", "differs from total"),
    "another hook": ("optimizer_config = dict(type='MyHook')", "one of OptimizerHook"),
    "another norm": (
        "optimizer_config = dict(grad_clip=dict(max_norm=3, norm_type=1))",
        "norm_type: here it is 2",
    ),
    "settings of a scale": ("fp16 = dict(loss_scale=dict(init_scale=2.0))", "'dynamic' or a"),
    "a scale that is none": ("fp16 = dict(loss_scale=-1.0)", "mine.py, line 2: fp16.*-1.0"),
    "an unknown score": ("evaluation = dict(save_best='x')", "expected one of 'bbox_mAP_50'"),
    "weights that are none": ("load_from = 3", "expected a path"),
    "ramps of nothing": ("lr_config = dict(_delete_=True, policy='SiameseRPN')", "expected a list"),
}


@pytest.mark.parametrize("story", WRONG)
def test_what_has_no_counterpart_is_refused(story: str, tmp_path: Path) -> None:
    text, words = WRONG[story]
    with pytest.raises(ConfigError, match=words):
        import_config(edited(tmp_path, SELSA, text)).recipe()
