"""SELSA's configs: each setting that was changed arrives as a changed field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmtracking_configs import edited

from halftrack.interop import ConfigError, import_config
from halftrack.recipes import load_recipe

SELSA = "selsa_faster_rcnn_r50_dc5_1x_imagenetvid"
SMALL = """
steps = [dict(type='LoadMultiImagesFromFile'), dict(type='SeqLoadAnnotations', with_bbox=True),
         dict(type='SeqResize', img_scale=(480, 800), keep_ratio=True),
         dict(type='SeqNormalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
         dict(type='SeqPad', size_divisor=16)]
sampler = dict(num_ref_imgs=2, frame_range=9, method='bilateral_uniform')
"""
ONE_SET = f"""{SMALL}
data = dict(
    train=dict(_delete_=True, type='ImagenetVIDDataset',
               ann_file='data/ILSVRC/annotations/mine.json',
               classes=('car', 'drone'), pipeline=steps, ref_img_sampler=sampler),
    test=dict(ann_file='data/ILSVRC/annotations/test.json', classes=('car', 'drone'),
              pipeline=steps))
model = dict(detector=dict(roi_head=dict(bbox_head=dict(num_classes=2))))
"""
CHANGED: dict[str, tuple[str, dict[str, Any]]] = {
    "proposals": (
        "model = dict(detector=dict(train_cfg=dict(rpn_proposal=dict(max_per_img=200)), "
        "test_cfg=dict(rpn=dict(max_per_img=100))))",
        {"model.rpn.train_post_nms_topk": 200, "model.rpn.test_post_nms_topk": 100},
    ),
    "a backbone of its own": (
        "model = dict(detector=dict(backbone=dict(frozen_stages=2, with_cp=True, init_cfg=None)))",
        {
            "model.backbone.frozen_stages": 2,
            "model.backbone.recompute": (3, 4),
            "backbone_weights": "none",
        },
    ),
    "another stride": (
        "model = dict(detector=dict(backbone=dict(strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1)), "
        "rpn_head=dict(anchor_generator=dict(strides=[32])), "
        "roi_head=dict(bbox_roi_extractor=dict(featmap_strides=[32]))))",
        {
            "model.backbone.strides": (1, 2, 2, 2),
            "model.backbone.dilations": (1, 1, 1, 1),
            "model.rpn.strides": (32,),
        },
    ),
    "clips of a GPU": (
        "data = dict(samples_per_gpu=2)",
        {"training.accumulate": 2, "training.published_batches_per_step": 16},
    ),
    "more references": (
        "data = dict(test=dict(ref_img_sampler=dict(num_ref_imgs=30, frame_range=[-15, 15])))",
        {"data.test_references": 30},
    ),
    "one set with files, classes and a size of its own": (
        ONE_SET,
        {
            "data.training_sets": ("vid",),
            "data.training_json": ("annotations/mine.json",),
            "data.test_json": "annotations/test.json",
            "data.classes": (("car", "n02958343"), ("drone", "drone")),
            "data.image_scale": (800, 480),
            "data.flip_probability": 0.0,
            "model.roi_head.num_classes": 2,
        },
    ),
    "thresholds": (
        "model = dict(detector=dict(test_cfg=dict(rcnn=dict(score_thr=0.1, max_per_img=20))))",
        {"model.roi_head.score_threshold": 0.1, "model.roi_head.max_detections": 20},
    ),
}


@pytest.mark.parametrize("story", CHANGED)
def test_a_changed_setting_is_a_changed_field(story: str, tmp_path: Path) -> None:
    text, fields = CHANGED[story]
    imported = import_config(edited(tmp_path, SELSA, text))
    assert imported.differing(load_recipe(SELSA)) == fields
    assert imported.differing(imported.recipe()) == {}


WRONG = {
    "two sets of videos": (f"{SMALL}\na = dict(pipeline=steps)\ndata = dict(train=[a, a])", "two"),
    "a file of elsewhere": ("data = dict(test=dict(ann_file='a/b.json'))", "folder ILSVRC"),
    "another test": (
        "data = dict(test=dict(ref_img_sampler=dict(method='test_with_fix_stride')))",
        "'test_with_adaptive_stride'",
    ),
    "an uneven range": (
        "data = dict(test=dict(ref_img_sampler=dict(frame_range=[-3, 3])))",
        r"here it is \[-7, 7\]",
    ),
    "classes in a file": ("data = dict(test=dict(classes='a.txt'))", "tuple of names"),
    "train is a number": ("data = dict(train=3)", "or a list of these"),
    "an unknown step": (
        "data = dict(test=dict(pipeline=[dict(type='RandomErase')]))",
        "RandomErase=dict.*no counterpart",
    ),
    "several scales": (
        "data = dict(test=dict(pipeline=[dict(type='Resize', img_scale=[(9, 9), (8, 8)])]))",
        "one scale, not several",
    ),
    "other pixels": (
        "data = dict(test=dict(pipeline=[dict(type='Normalize', mean=[0, 0, 0])]))",
        r"mean=\[0, 0, 0\]: here it is \(123",
    ),
}


@pytest.mark.parametrize("story", WRONG)
def test_what_our_data_cannot_be_is_refused(story: str, tmp_path: Path) -> None:
    text, words = WRONG[story]
    with pytest.raises(ConfigError, match=words):
        import_config(edited(tmp_path, SELSA, text)).recipe()
