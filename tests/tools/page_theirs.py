"""MMTracking's files as a user has them: configs, checkpoints and logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmtracking_configs import edited
from page_recipes import SHORT_REID
from published import published, save_published

from halftrack.interop import import_config
from halftrack.recipes import override, train
from halftrack.training import read_checkpoint
from halftrack.training.files.checkpoint import write_checkpoint

__all__ = ["write_theirs"]

_TRACKTOR = "tracktor_faster-rcnn_r50_fpn_4e_mot17-private-half"
_REID = """
steps = [dict(type='Resize', img_scale=(32, 64), keep_ratio=False), dict(type='Normalize',
         mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])]
data = dict(train=dict(pipeline=steps, triplet_sampler=dict(num_ids=2, ins_per_id=2)),
            test=dict(pipeline=steps))
model = dict(reid=dict(backbone=dict(depth=18, base_channels=8), neck=dict(kernel_size=(2, 1)),
                       head=dict(in_channels=64)))
total_epochs = 1
"""
_SMALL_TRACKTOR = """
model = dict(
    detector=dict(backbone=dict(depth=18, base_channels=8), neck=dict(in_channels=[8, 16, 32, 64]),
                  roi_head=dict(bbox_head=dict(fc_out_channels=64))),
    reid=None, motion=None,
    tracker=dict(_delete_=True, type='TracktorTracker', obj_score_thr=0.5, num_frames_retain=10,
                 regression=dict(obj_score_thr=0.5, nms=dict(type='nms', iou_threshold=0.6),
                                 match_iou_thr=0.3)))
side = (64, 64)
seen = [dict(type='LoadImageFromFile'), dict(
    type='MultiScaleFlipAug', img_scale=side, flip=False,
    transforms=[dict(type='Resize', keep_ratio=True), dict(type='Normalize',
                mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
                dict(type='Pad', size_divisor=32)])]
learned = [dict(type='Resize', img_scale=side, ratio_range=(0.8, 1.2), keep_ratio=True,
                bbox_clip_border=False),
           dict(type='RandomCrop', crop_size=side, bbox_clip_border=False),
           dict(type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
           dict(type='Pad', size_divisor=32)]
data = dict(train=dict(pipeline=learned), test=dict(pipeline=seen))
"""
_LOG = '{"mode": "train", "epoch": 1, "iter": 50, "lr": 0.01, "time": 0.4, "loss": 1.5}\n'


def write_theirs(folder: Path) -> None:
    """Write configs/, the logs, and checkpoints of a ReID and a tracker of these configs."""
    for name in ("theirs.log.json", "20210227_141630.log.json", "LOG"):
        (folder / name).write_text(_LOG)
    lists = _SMALL_TRACKTOR.replace("match_iou_thr=0.3", "match_iou_thr=[0.3, 0.5]")
    for name, base, text in (
        ("reid", "resnet50_b32x8_MOT17", _REID),
        ("tracker", _TRACKTOR, _SMALL_TRACKTOR),
        ("search", _TRACKTOR, lists),
    ):
        edited(folder / "configs", base, text).rename(folder / f"configs/{name}.py")
    (folder / "theirs").mkdir()
    tracker: Any = import_config(folder / "configs/tracker.py").recipe()
    weights = tracker.detector.build().state_dict()
    state = {f"detector.{name}": value for name, value in weights.items()}
    write_checkpoint(folder / "theirs/tracker.pth", {"state_dict": state})
    write_checkpoint(folder / "theirs/detector.pth", {"state_dict": weights})
    reid: Any = override(import_config(folder / "configs/reid.py").recipe(), SHORT_REID)
    train(reid, data_root=folder / "DATA", out=folder / "runs/theirs", init="none")
    trained = read_checkpoint(folder / "runs/theirs/best.pth")["state_dict"]
    save_published(folder / "theirs/epoch_2.pth", published(trained, scaler=None))
