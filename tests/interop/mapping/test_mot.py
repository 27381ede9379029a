"""Configs on MOTChallenge: thresholds, motion, data and weights arrive as changed fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmtracking_configs import edited

from halftrack.interop import ConfigError, import_config
from halftrack.recipes import load_recipe

DETECTOR = "faster-rcnn_r50_fpn_4e_mot17-half"
TRACKTOR = "tracktor_faster-rcnn_r50_fpn_4e_mot17-private-half"
CHANGED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a detector's batch and weights": (
        DETECTOR,
        "data = dict(samples_per_gpu=4)\nmodel = dict(detector=dict(backbone=dict(depth=101)))",
        {"data.images_per_batch": 4, "model.backbone.depth": 101},
    ),
    "a detector's benchmark": (
        DETECTOR,
        "data = dict(train=dict(ann_file='/d/MOT16/annotations/train_cocoformat.json'), "
        "test=dict(ann_file='/d/MOT16/annotations/half-val_cocoformat.json'))",
        {"data.benchmark": "MOT16", "data.training_split": "train"},
    ),
    "annotations of one's own": (
        DETECTOR,
        "data = dict(train=dict(ann_file='/d/MOT17/annotations/mine.json'), "
        "test=dict(ann_file='/d/MOT17/annotations/val/mine.json'))",
        {
            "data.training_json": "annotations/mine.json",
            "data.test_json": "annotations/val/mine.json",
        },
    ),
    "thresholds": (
        TRACKTOR,
        "model = dict(tracker=dict(obj_score_thr=0.6, num_frames_retain=30, "
        "reid=dict(match_score_thr=1.5), momentums=dict(_delete_=True, embeds=0.5)))",
        {
            "tracker.detection_score": 0.6,
            "tracker.num_frames_retain": 30,
            "tracker.reid_distance": 1.5,
            "tracker.embedding_momentum": 0.5,
        },
    ),
    "values to search over": (
        TRACKTOR,
        "model = dict(tracker=dict(reid=dict(match_score_thr=[1.0, 2.0])))",
        {"search": (("tracker.reid_distance", (1.0, 2.0)),)},
    ),
    "another motion": (
        TRACKTOR,
        "model = dict(motion=dict(warp_mode='cv2.MOTION_AFFINE', num_iters=20))",
        {"camera_motion.model": "affine", "camera_motion.iterations": 20},
    ),
    "no motion": (TRACKTOR, "model = dict(motion=None)", {"camera_motion": None}),
    "weights of its own": (
        TRACKTOR,
        "model = dict(detector=dict(init_cfg=dict(type='Pretrained', checkpoint='d.pth')), "
        "reid=dict(init_cfg=dict(type='Pretrained', checkpoint='r.pth')))",
        {"detector_checkpoint": "d.pth", "reid_checkpoint": "r.pth"},
    ),
    "individuals of its own": (
        TRACKTOR,
        "model = dict(reid=dict(head=dict(num_classes=77)))",
        {"reid.num_identities": 77},
    ),
    "a size of crops": (
        TRACKTOR,
        "model = dict(tracker=dict(reid=dict(img_scale=(128, 64))), "
        "reid=dict(neck=dict(kernel_size=(4, 2))))",
        {"reid.crop_size": (128, 64)},
    ),
    "without a reid": (
        TRACKTOR,
        "model = dict(reid=None, tracker=dict(_delete_=True, type='TracktorTracker', "
        "obj_score_thr=0.5, num_frames_retain=10, regression=dict("
        "obj_score_thr=0.5, nms=dict(type='nms', iou_threshold=0.6), match_iou_thr=0.3)))",
        {"reid": None},
    ),
    "a half precision of its own": (
        TRACKTOR,
        "fp16 = dict(loss_scale='dynamic')",
        {"precision.name": "fp16", "precision.loss_scale": "dynamic"},
    ),
}


@pytest.mark.parametrize("story", CHANGED)
def test_a_changed_setting_is_a_changed_field(story: str, tmp_path: Path) -> None:
    name, text, fields = CHANGED[story]
    imported = import_config(edited(tmp_path, name, text))
    assert imported.differing(load_recipe(name)) == fields
    assert imported.differing(imported.recipe()) == {}


def test_public_boxes_that_no_step_loads_are_noted(tmp_path: Path) -> None:
    text = "data = dict(test=dict(detection_file='data/MOT17/annotations/d.pkl'))"
    imported = import_config(edited(tmp_path, TRACKTOR, text))
    assert imported.differing(load_recipe(TRACKTOR)) == {
        "data.public": True,
        "data.public_file": "data/MOT17/annotations/d.pkl",
    }
    assert any("has no LoadDetections" in line for line in imported.notes())


def test_weights_on_the_web_are_a_note(tmp_path: Path) -> None:
    url = "https://example.org/d.pth"
    text = f"model = dict(detector=dict(init_cfg=dict(type='Pretrained', checkpoint='{url}')))"
    imported = import_config(edited(tmp_path, TRACKTOR, text))
    assert imported.differing(load_recipe(TRACKTOR)) == {}
    assert any(f"is {url}: download it and give it with --detector" in x for x in imported.notes())


WRONG = {
    "annotations of one's own": (
        DETECTOR,
        "data = dict(train=dict(ann_file='mine/train.json'))",
        r"SPLIT_cocoformat\.json of train, .* \(data\.training_split\), or CocoVID \(data\.train",
    ),
    "two benchmarks": (
        DETECTOR,
        "data = dict(test=dict(ann_file='MOT20/annotations/half-val_cocoformat.json'))",
        r"differs from data\.train\.ann_file.*data\.benchmark",
    ),
    "another motion": (TRACKTOR, "model = dict(motion=dict(type='LinearMotion'))", "linear_motion"),
    "a warp that is none": (TRACKTOR, "model = dict(motion=dict(warp_mode='x'))", "cv2.MOTION_AFF"),
    "a setting that is none": (TRACKTOR, "model = dict(motion=dict(blur=3))", "motion.blur=3: it"),
    "a momentum that is none": (
        TRACKTOR,
        "model = dict(tracker=dict(momentums=dict(_delete_=True, scores=0.1)))",
        "momentums.scores=0.1: it has",
    ),
    "other classes": (DETECTOR, "data = dict(train=dict(classes=('car',)))", "'pedestrian'"),
}


@pytest.mark.parametrize("story", WRONG)
def test_what_has_no_counterpart_is_refused(story: str, tmp_path: Path) -> None:
    name, text, words = WRONG[story]
    with pytest.raises(ConfigError, match=words):
        import_config(edited(tmp_path, name, text)).recipe()
