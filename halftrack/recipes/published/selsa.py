"""SELSA's published recipes, and one small enough for a laptop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from halftrack.data.vid import VidDataConfig
from halftrack.layers import ResNetConfig
from halftrack.models import MatchingConfig, RoIHeadConfig, RPNConfig, SelsaConfig
from halftrack.precision import Precision
from halftrack.recipes.kinds.detection import VideoDetectionRecipe
from halftrack.synthetic import SYNTHETIC_CLASSES
from halftrack.training import TrainingConfig

__all__ = ["r50", "r50_fp16", "r101", "tiny_sample", "x101"]


def r50() -> VideoDetectionRecipe:
    """SELSA R50-DC5 on ImageNet VID and DET, 7 epochs: AP50 78.4, 3.49 GB published.

    Source: MMTracking 0.14, configs/vid/selsa/selsa_faster_rcnn_r50_dc5_1x_imagenetvid.py on
    _base_/models/faster_rcnn_r50_dc5.py and _base_/datasets/imagenet_vid_fgfa_style.py; the scores
    are the table's in configs/vid/selsa/README.md.
    """
    return VideoDetectionRecipe(
        name="selsa_faster_rcnn_r50_dc5_1x_imagenetvid",
        model=SelsaConfig(
            backbone=ResNetConfig(
                depth=50,
                strides=(1, 2, 2, 1),
                dilations=(1, 1, 1, 2),
                outputs=(4,),
                frozen_stages=1,
                frozen_bn=True,
            ),
            neck_channels=512,
            rpn=RPNConfig(
                strides=(16,),
                scales=(4.0, 8.0, 16.0, 32.0),
                ratios=(0.5, 1.0, 2.0),
                size_divisor=16,
                allow_border=False,
                clip_to_image=True,
                matching=MatchingConfig(
                    positive_iou=0.7,
                    negative_iou=0.3,
                    low_quality_iou=0.3,
                    num_samples=256,
                    positive_fraction=0.5,
                ),
                smooth_l1_beta=1 / 9,
                train_pre_nms_topk=6000,
                test_pre_nms_topk=6000,
                nms_iou=0.7,
                train_post_nms_topk=600,
                test_post_nms_topk=300,
            ),
            roi_head=RoIHeadConfig(
                num_classes=30,
                fc_out_channels=1024,
                roi_feat_size=7,
                sampling_ratio=2,
                delta_std=(0.2, 0.2, 0.2, 0.2),
                clip_to_image=True,
                matching=MatchingConfig(
                    positive_iou=0.5,
                    negative_iou=0.5,
                    # This config alone leaves MaxIoUAssigner's match_low_quality at its default,
                    # True: a box goes to the object it fits best of all, not to its own best.
                    low_quality_iou=0.5,
                    num_samples=256,
                    positive_fraction=0.25,
                ),
                score_threshold=1e-4,
                nms_iou=0.5,
                max_detections=100,
            ),
            attention_heads=16,
        ),
        data=VidDataConfig(
            training_sets=("vid", "det"),
            key_frames="listed",
            image_scale=(1000, 600),
            num_references=2,
            frame_range=9,
            test_references=14,
            flip_probability=0.5,
        ),
        training=TrainingConfig(
            epochs=7,
            lr=0.01,
            momentum=0.9,
            weight_decay=1e-4,
            max_grad_norm=35.0,
            warmup_steps=500,
            warmup_ratio=1 / 3,
            milestones=(2, 5),
            gamma=0.1,
            published_batches_per_step=8,  # 8 GPUs, a clip each
            evaluate_every=7,
            best_metric="coco_ap50",
        ),
        precision=Precision("fp32"),
    )


def r50_fp16() -> VideoDetectionRecipe:
    """The same in fp16 at the static loss scale 512: AP50 78.7, 2.71 GB published.

    Source: MMTracking 0.14, selsa_faster_rcnn_r50_dc5_fp16_1x_imagenetvid.py and its table.
    """
    return replace(
        r50(),
        name="selsa_faster_rcnn_r50_dc5_fp16_1x_imagenetvid",
        precision=Precision("fp16", 512.0),
    )


def r101() -> VideoDetectionRecipe:
    """SELSA with a ResNet-101."""
    return _with_backbone("selsa_faster_rcnn_r101_dc5_1x_imagenetvid", depth=101)


def x101() -> VideoDetectionRecipe:
    """SELSA with a ResNeXt-101 64x4d."""
    return _with_backbone(
        "selsa_faster_rcnn_x101_dc5_1x_imagenetvid", depth=101, groups=64, width_per_group=4
    )


def _with_backbone(name: str, **changes: Any) -> VideoDetectionRecipe:
    base = r50()
    backbone = replace(base.model.backbone, **changes)
    return replace(base, name=name, model=replace(base.model, backbone=backbone))


def tiny_sample() -> VideoDetectionRecipe:
    """A narrow SELSA with trainable BN for synthetic video; the same code, in a minute or two."""
    matching = MatchingConfig(
        positive_iou=0.6,
        negative_iou=0.3,
        low_quality_iou=0.3,
        num_samples=128,
        positive_fraction=0.5,
    )
    return VideoDetectionRecipe(
        name="selsa_tiny_sample",
        model=SelsaConfig(
            backbone=ResNetConfig(depth=18, base_channels=16, frozen_stages=-1, frozen_bn=False),
            neck_channels=64,
            rpn=RPNConfig(
                scales=(2.0, 3.0, 4.5),
                ratios=(1.0,),
                matching=matching,
                train_pre_nms_topk=600,
                test_pre_nms_topk=600,
                train_post_nms_topk=120,
                test_post_nms_topk=60,
            ),
            roi_head=RoIHeadConfig(
                num_classes=len(SYNTHETIC_CLASSES),
                fc_out_channels=128,
                matching=MatchingConfig(
                    positive_iou=0.5,
                    negative_iou=0.5,
                    low_quality_iou=None,
                    num_samples=64,
                    positive_fraction=0.25,
                ),
            ),
            attention_heads=4,
        ),
        data=VidDataConfig(
            classes=SYNTHETIC_CLASSES,
            training_sets=("vid",),
            image_scale=(320, 192),
            test_references=4,
        ),
        training=TrainingConfig(
            epochs=3,
            lr=0.01,
            momentum=0.9,
            weight_decay=1e-4,
            published_batches_per_step=1,
            # BN over three images gives rare gradients of norm 25, after which nothing is learned.
            max_grad_norm=5.0,
            warmup_steps=40,
            warmup_ratio=1 / 3,
            milestones=(2,),
            gamma=0.1,
            evaluate_every=3,
            best_metric="coco_ap50",
            log_every=20,
        ),
        precision=Precision("fp32"),
        backbone_weights="none",
    )
