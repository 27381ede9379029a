"""Mistakes in ``--set``: fields that are none, values that a field does not take."""

from __future__ import annotations

from mistake import row

_SET = "show VID --set"
_TRAIN = "train VID --data-root data"
_THERE = "train VID --data-root sets"

SETTINGS = {
    "no value": row(f"{_SET} training.lr", "--set 'training.lr'", "FIELD=VALUE"),
    "no field": row(f"{_SET} =3", "no recipe field ''", "nearest are"),
    "nothing": row(f"{_SET} ''", "an argument is empty", "behind '--set'"),
    "a field misspelt": row(f"{_SET} training.lrr=3", "'training.lrr'", "are training.lr, "),
    "a field in the wrong group": row(f"{_SET} model.lr=3", "no recipe field 'model.lr'"),
    "a field of another kind": row(f"{_SET} tracker.lr=3", "no recipe field 'tracker.lr'"),
    "a field below a number": row(f"{_SET} training.lr.x=3", "no recipe field 'training.lr.x'"),
    "the kind": row(f"{_SET} kind=Recipe", "no recipe field 'kind'"),
    "a former field": row("show MOT --set tracker.frames_kept=3", "now called"),
    "a field of 5000 letters": row(f"{_SET} LONG=1", "no recipe field 'xxx", "..."),
    "a value of 5000 letters": row(f"{_SET} training.lr=LONG", "training.lr='xxx", "a number"),
    "text for a number": row(f"{_SET} training.lr=abc", "training.lr='abc'", "a number"),
    "nothing for a number": row(f"{_SET} training.lr=", "training.lr=''", "a number at least 0"),
    "a negative rate": row(f"{_SET} training.lr=-1", "training.lr=-1", "at least 0"),
    "NaN": row(f"{_SET} training.lr=nan", "training.lr='nan'", "a number at least 0"),
    "infinity": row(f"{_SET} training.lr=1e999", "training.lr=inf", "at most 1000"),
    "a decimal comma": row(f"{_SET} training.lr=0,02", "training.lr='0,02'", "a number"),
    "True for a number": row(f"{_SET} training.lr=True", "training.lr=True", "a number at least"),
    "a list for a number": row(f"{_SET} 'training.lr=[1]'", "training.lr=[1]", "a number"),
    "a share in percent": row(f"{_SET} training.warmup_ratio=33", "warmup_ratio=33", "at most 1"),
    "half an epoch": row(f"{_SET} training.epochs=1.5", "training.epochs=1.5", "a whole number"),
    "None for a number": row(f"{_SET} training.epochs=None", "epochs=None", "a whole number"),
    "400 digits": row(f"{_SET} training.epochs={'9' * 400}", "epochs=999", "whole number"),
    "no epoch": row(f"{_SET} training.epochs=0", "training.epochs=0", "at least 1"),
    "workers beyond all": row(f"{_SET} training.workers=9999", "workers=9999", "at most 256"),
    "maybe": row(f"{_SET} training.scale_lr=maybe", "scale_lr='maybe'", "True or False"),
    "a number for a switch": row(f"{_SET} training.scale_lr=5", "scale_lr=5", "True or False"),
    "a number for text": row(f"{_SET} training.best_metric=5", "best_metric=5", "expected text"),
    "text for numbers": row(f"{_SET} training.milestones=a,b", "('a', 'b')", "whole numbers"),
    "a ramp that is none": row(f"{_SET} training.ramps=5", "ramps[0]=5", "fields: epochs, start"),
    "a ramp cut short": row(
        f"""{_SET} "training.ramps=({{'epochs': 1}},)" """, "training.ramps[0].start is missing"
    ),
    "a ramp with more": row(
        f"""{_SET} "training.ramps=({{'epochs': 1, 'start': 1, 'end': 1, 'x': 1}},)" """,
        "no recipe field training.ramps[0].x",
    ),
    "a ramp from nothing": row(
        f"""{_SET} "training.ramps=({{'epochs': 1, 'start': 0, 'end': 1}},)" """,
        "training.ramps[0].start=0", "above 0",
    ),
    "milestones out of order": row(
        f"{_SET} training.milestones=5,2 --set training.gamma=0.1", "training.milestones", "(5, 2)"
    ),
    "an average of nothing": row(f"{_SET} training.ema_decay=0", "ema_decay=0", "above 0"),
    "factors without numbers": row(f"{_SET} training.lr_factors=neck", "lr_factors=('neck',)"),
    "a group as a number": row(f"{_SET} training=5", "training=5", "a group of fields: epochs"),
    "an empty group": row(f"{_SET} training={{}}", "training.epochs is missing"),
    "no backbone": row(f"{_SET} model.backbone=None", "model.backbone=None", "fields: depth"),
    "a precision as text": row(f"{_SET} precision=fp16", "precision='fp16'", "--precision"),
    "an unknown precision": row(f"{_SET} precision.name=half", "name='half'", "'fp32', 'tf32'"),
    "a loss scale in fp32": row(f"{_SET} precision.loss_scale=512", "512", "only fp16"),
    "a loss scale in words": row(
        "show VID --precision fp16 --set precision.loss_scale=big", "loss scale 'big'", "'dynamic'"
    ),
    "an island that is no text": row(f"{_SET} precision.keep_fp32=5", "keep_fp32[0]=5", "text"),
    "another norm": row(f"{_SET} model.backbone.norm=layer", "norm='layer'", "'batch', 'group'"),
    "another depth": row(f"{_SET} model.backbone.depth=34", "depth=34", "18, 50, 101"),
    "two strides for four": row(f"{_SET} model.backbone.strides=1,2", "(1, 2)", "4 stages"),
    "no output": row(f"{_SET} 'model.backbone.outputs=()'", "outputs=()", "rising order"),
    "strides of another backbone": row(
        f"{_SET} model.rpn.strides=8", "rpn.strides=(8,)", "16 pixels apart"
    ),
    "no strides": row(f"{_SET} 'model.rpn.strides=()'", "strides=()", "at least one"),
    "heads that do not divide": row(
        f"{_SET} model.attention_heads=7", "attention_heads=7", "cannot be split"
    ),
    "channels that do not divide": row(
        "show DET --set model.backbone.base_channels=7", "base_channels=7", "multiples of 8"
    ),
    "channels of a neck": row("show SOT --set model.neck_channels=7", "neck_channels=7", "of 8"),
    "groups in a small ResNet": row(f"{_SET} model.backbone.groups=4", "groups=4", "depth=18"),
    "a pyramid of other maps": row(
        "show DET --set model.backbone.outputs=2,3,4", "rpn.strides=(4, 8, 16, 32, 64)", "4 maps"
    ),
    "one side of an image": row(f"{_SET} data.image_scale=600", "(600,)", "2 whole numbers"),
    "no image": row(f"{_SET} data.image_scale=0,0", "image_scale=(0, 0)", "at least 1"),
    "sides with an x": row("show REID --set model.crop_size=128x64", "('128x64',)", "2 whole"),
    "an unknown training set": row(f"{_SET} data.training_sets=coco", "'coco'", "'vid', 'det'"),
    "an unknown policy": row(f"{_SET} data.on_bad_sample=ignore", "'ignore'", "'error', 'skip'"),
    "an unknown benchmark": row("show SOT --set benchmark=LASOT", "'LASOT'", "'LaSOT', 'OTB100'"),
    "an unknown rule": row("show SOT --set rule=best", "rule='best'", "'mmtracking', 'official'"),
    "a ReID as a number": row("show MOT --set reid=5", "reid=5", "a group of fields"),
    "a motion as True": row("show MOT --set camera_motion=True", "camera_motion=True", "or None"),
    "a file as a number": row("show MOT --set detector_checkpoint=5", "detector_checkpoint=5"),
    "weights of elsewhere": row(f"{_SET} backbone_weights=coco", "'coco'", "'imagenet', 'none'"),
    "an unmeasured metric": row(
        f"{_TRAIN} --init none --set training.best_metric=mota", "'mota'", "coco_ap50"
    ),
    "islands nowhere": row(
        f"{_THERE} --init none --set precision.keep_fp32=nek", "'nek'", "nearest are detector.neck"
    ),
    "factors of nothing": row(
        f"""{_THERE} --init none --set "training.lr_factors=(('nek', 0.1),)" """,
        "training.lr_factors", "'nek'", "nearest are",
    ),
    "a phase of nothing": row(
        f"""{_THERE} --init none --set
        "training.phases=({{'first_epoch': 0, 'trainable': ('nek',)}},)" """,
        "training.phases", "'nek'", "nearest are",
    ),
    "another number of classes": row(
        f"{_TRAIN} --init none --set model.roi_head.num_classes=3", "num_classes=3", "4 classes"
    ),
}  # fmt: skip
