"""Tracktor's detectors as published, Faster R-CNN with a pyramid; one small enough for a laptop."""

from __future__ import annotations

from typing import Literal

from halftrack.data.mot import Benchmark, MotDetectionConfig
from halftrack.layers import ResNetConfig
from halftrack.models import FasterRCNNConfig, MatchingConfig, RoIHeadConfig, RPNConfig
from halftrack.precision import Precision
from halftrack.recipes.kinds.detection import FrameDetectionRecipe
from halftrack.training import TrainingConfig

__all__ = ["PrecisionName", "named_precision", "published", "tiny_backbone", "tiny_sample"]

PrecisionName = Literal["fp32", "fp16"]


def published(
    benchmark: Benchmark = "MOT17",
    precision: PrecisionName = "fp32",
    *,
    depth: Literal[50, 101] = 50,
    whole: bool = False,
) -> FrameDetectionRecipe:
    """Faster R-CNN FPN on half-train, scored on half-val: 4 epochs, on MOT20 8.

    The published runs start from a Faster R-CNN trained on COCO's people; give that file with
    ``--init``. Without it the backbone starts from ImageNet.

    Args:
        benchmark: the data set.
        precision: fp16 has the static loss scale 512.
        depth: of the ResNet.
        whole: train on all frames of the training sequences, and score on the same ones: a number
            to see that it learns, none to compare.

    Source: MMTracking 0.14, configs/det/faster-rcnn_r50_fpn_4e_mot17-half.py and its sisters, on
    _base_/models/faster_rcnn_r50_fpn.py and _base_/datasets/mot_challenge_det.py.
    """
    epochs = 8 if benchmark == "MOT20" else 4
    half = "" if precision == "fp32" else "fp16_"
    split = "" if whole else "-half"
    return FrameDetectionRecipe(
        name=f"faster-rcnn_r{depth}_fpn_{half}{epochs}e_{benchmark.lower()}{split}",
        # On MOT20, and there alone, the published detector cuts boxes to the image.
        model=_model(depth, clip_to_image=benchmark == "MOT20"),
        data=MotDetectionConfig(
            benchmark=benchmark,
            detectors="all",
            training_split="train" if whole else "half-train",
            test_split="train" if whole else "half-val",
            image_scale=(1088, 1088),
            ratio_range=(0.8, 1.2),
            photometric=True,
            brightness=32.0,
            contrast=(0.5, 1.5),
            saturation=(0.5, 1.5),
            hue=18.0,
            crop_size=(1088, 1088),
            flip_probability=0.5,
            images_per_batch=2,
        ),
        training=TrainingConfig(
            epochs=epochs,
            lr=0.02,
            momentum=0.9,
            weight_decay=1e-4,
            max_grad_norm=None,
            warmup_steps=100,
            warmup_ratio=0.01,
            milestones=(epochs * 3 // 4,),
            gamma=0.1,
            published_batches_per_step=8,  # 8 GPUs, 2 images each
            evaluate_every=epochs,
            best_metric="coco_ap50",
        ),
        precision=named_precision(precision),
    )


def _model(depth: Literal[50, 101], *, clip_to_image: bool) -> FasterRCNNConfig:
    return FasterRCNNConfig(
        backbone=ResNetConfig(
            depth=depth,
            strides=(1, 2, 2, 2),
            dilations=(1, 1, 1, 1),
            outputs=(1, 2, 3, 4),
            frozen_stages=1,
            frozen_bn=True,
        ),
        neck_channels=256,
        rpn=RPNConfig(
            strides=(4, 8, 16, 32, 64),
            scales=(8.0,),
            ratios=(0.5, 1.0, 2.0),
            size_divisor=32,
            allow_border=True,
            clip_to_image=clip_to_image,
            matching=MatchingConfig(
                positive_iou=0.7,
                negative_iou=0.3,
                low_quality_iou=0.3,
                num_samples=256,
                positive_fraction=0.5,
            ),
            smooth_l1_beta=1 / 9,
            train_pre_nms_topk=2000,
            test_pre_nms_topk=1000,
            nms_iou=0.7,
            train_post_nms_topk=1000,
            test_post_nms_topk=1000,
        ),
        roi_head=RoIHeadConfig(
            num_classes=1,
            fc_out_channels=1024,
            roi_feat_size=7,
            sampling_ratio=0,
            delta_std=(0.1, 0.1, 0.2, 0.2),
            clip_to_image=clip_to_image,
            matching=MatchingConfig(
                positive_iou=0.5,
                negative_iou=0.5,
                low_quality_iou=None,
                num_samples=512,
                positive_fraction=0.25,
            ),
            score_threshold=0.05,
            nms_iou=0.5,
            max_detections=100,
        ),
    )


def tiny_sample() -> FrameDetectionRecipe:
    """A narrow Faster R-CNN FPN for the synthetic video; the same code, in a minute or two."""
    return FrameDetectionRecipe(
        name="faster-rcnn_tiny_sample",
        model=FasterRCNNConfig(
            backbone=tiny_backbone(outputs=(1, 2, 3, 4)),
            neck_channels=64,
            rpn=RPNConfig(
                strides=(4, 8, 16, 32, 64),
                scales=(6.0,),
                ratios=(1.0,),
                size_divisor=32,
                allow_border=True,
                clip_to_image=False,
                matching=MatchingConfig(
                    positive_iou=0.6,
                    negative_iou=0.3,
                    low_quality_iou=0.3,
                    num_samples=128,
                    positive_fraction=0.5,
                ),
                train_pre_nms_topk=300,
                test_pre_nms_topk=200,
                train_post_nms_topk=150,
                test_post_nms_topk=100,
            ),
            roi_head=RoIHeadConfig(
                num_classes=1,
                fc_out_channels=128,
                sampling_ratio=0,
                delta_std=(0.1, 0.1, 0.2, 0.2),
                clip_to_image=False,
                matching=MatchingConfig(
                    positive_iou=0.5,
                    negative_iou=0.5,
                    low_quality_iou=None,
                    num_samples=64,
                    positive_fraction=0.25,
                ),
                score_threshold=0.05,
            ),
        ),
        data=MotDetectionConfig(
            training_split="train",
            test_split="test",
            image_scale=(320, 192),
            crop_size=(192, 320),
        ),
        training=TrainingConfig(
            epochs=2,
            lr=0.02,
            momentum=0.9,
            weight_decay=1e-4,
            published_batches_per_step=1,
            max_grad_norm=5.0,
            warmup_steps=40,
            warmup_ratio=1 / 3,
            milestones=(1,),
            gamma=0.1,
            evaluate_every=2,
            best_metric="coco_ap50",
            log_every=20,
        ),
        precision=Precision("fp32"),
        backbone_weights="none",
    )


def tiny_backbone(outputs: tuple[int, ...]) -> ResNetConfig:
    """A narrow ResNet-18 to train from scratch on few videos."""
    # Statistics of few videos fit no other: group norm keeps none.
    return ResNetConfig(
        depth=18,
        base_channels=16,
        strides=(1, 2, 2, 2),
        dilations=(1, 1, 1, 1),
        outputs=outputs,
        frozen_stages=-1,
        frozen_bn=False,
        norm="group",
    )


def named_precision(name: PrecisionName) -> Precision:
    """The published precision: fp16 has the static loss scale 512."""
    return Precision("fp32") if name == "fp32" else Precision("fp16", 512.0)
