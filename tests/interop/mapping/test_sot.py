"""SiamRPN++'s configs: geometry, pairs, ramps and tracker arrive as changed fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmtracking_configs import edited

from halftrack.interop import ConfigError, import_config
from halftrack.recipes import load_recipe

LASOT = "siamese_rpn_r50_20e_lasot"
SETS = "[dict(type='SOTCocoDataset', ann_file='{}', pipeline=steps)]"
ONE_SET = f"""
steps = [
    dict(type='PairSampling', frame_range=50, pos_prob=0.9),
    dict(type='SeqShiftScaleAug', target_size=[127, 255], shift=[2, 32], scale=[0.05, 0.18])]
data = dict(train=dict(
    dataset_sampling_weights=[1], dataset_cfgs={SETS.format("instances_train2017.json")}))
"""
CHANGED: dict[str, tuple[str, dict[str, Any]]] = {
    "the tracker": (
        "model = dict(test_cfg=dict(rpn=dict(lr=0.5, window_influence=0.1)))",
        {"tracker.lr": 0.5, "tracker.window_influence": 0.1},
    ),
    "the benchmark": ("data = dict(test=dict(type='GOT10kDataset', split='val'))",
        {"benchmark": "GOT-10k", "split": "val"}),
    "a list of sequences": (
        "data = dict(test=dict(ann_file='mine/lasot_infos.txt'))",
        {"infos": "mine/lasot_infos.txt"},
    ),
    "one set": (
        ONE_SET,
        {
            "data.training_sets": ("coco",),
            "data.set_weights": (1,),
            "data.frame_range": 50,
            "data.positive_share": 0.9,
            "data.shift": (2, 32),
            "data.colour_probability": (0.0, 0.0),
            "data.blur_probability": (0.0, 0.0),
        },
    ),
    "weights, in their order": (
        "data = dict(train=dict(dataset_sampling_weights=[0.5, 0.2, 0.3]))",
        {"data.set_weights": (0.5, 0.3, 0.2)},
    ),
    "pairs": (
        "data = dict(samples_per_gpu=8, samples_per_epoch=1000)",
        {"data.pairs_per_batch": 8, "data.pairs_per_epoch": 1000},
    ),
    "the thaw": (
        "optimizer_config = dict(backbone_start_train_epoch=5, backbone_train_layers=['layer4'])",
        {
            "training.phases": (
                {
                    "first_epoch": 5,
                    "trainable": ("neck.*", "head.*", "backbone.layer4.*"),
                    "batch_statistics": ("backbone.layer4.*",),
                },
            )
        },
    ),
    "the ramps": (
        "lr_config = dict(lr_configs=[dict(type='log', start_lr_factor=1, end_lr_factor=0.1, "
        "end_epoch=20)])",
        {"training.ramps": ({"epochs": 20, "start": 1, "end": 0.1, "arrives": True},)},
    ),
    "a weight of the box loss": (
        "model = dict(head=dict(loss_bbox=dict(loss_weight=2.0)))",
        {"model.box_weight": 2.0},
    ),
}  # fmt: skip


@pytest.mark.parametrize("story", CHANGED)
def test_a_changed_setting_is_a_changed_field(story: str, tmp_path: Path) -> None:
    text, fields = CHANGED[story]
    imported = import_config(edited(tmp_path, LASOT, text))
    assert imported.differing(load_recipe(LASOT)) == fields
    recipe = imported.recipe()
    assert recipe.name == "mine"


WRONG = {
    "an unknown set": (
        f"steps = []\ndata = dict(train=dict(dataset_cfgs={SETS.format('youtube.json')}))",
        r"nearest fields are data\.training_sets",
    ),
    "no file": ("data = dict(train=dict(dataset_cfgs=[3]))", r"expected dict\(\.\.\., ann_file"),
    "a set twice": (
        f"{ONE_SET}\nx = {SETS.format('instances_train2017.json')}\n"
        "data = dict(train=dict(dataset_cfgs=x + x))",
        "a second set of coco",
    ),
    "pipelines that differ": (
        "data = dict(train=dict(dataset_cfgs=[dict(ann_file='instances_train2017.json'), "
        "dict(ann_file='imagenet_vid_train.json', pipeline=[])]))",
        "pipelines of sets differ",
    ),
    "weights for others": (
        "data = dict(train=dict(dataset_sampling_weights=[1]))",
        "one number for each of vid, coco, det",
    ),
    "an unknown benchmark": ("data = dict(test=dict(type='A'))", "expected one of LaSOTDataset"),
    "two template sizes": (
        "model = dict(test_cfg=dict(exemplar_size=95))",
        r"exemplar_size=95: differs from model\.train_cfg\.rpn\.exemplar_size=127",
    ),
    "two anchors a cell": (
        "model = dict(head=dict(anchor_generator=dict(scales=[8, 16])))",
        "a list of one scale",
    ),
    "another norm": ("model = dict(neck=dict(norm_cfg=dict(type='GN')))", "norm_cfg"),
}


@pytest.mark.parametrize("story", WRONG)
def test_what_has_no_counterpart_is_refused(story: str, tmp_path: Path) -> None:
    text, words = WRONG[story]
    with pytest.raises(ConfigError, match=words):
        import_config(edited(tmp_path, LASOT, text)).recipe()
