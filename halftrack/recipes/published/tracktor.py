"""Tracktor's published recipes: detectors, ReID, trackers; and three small enough for a laptop."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from halftrack.data.mot import Benchmark, MotDetectionConfig, ReIDDataConfig
from halftrack.layers import ResNetConfig
from halftrack.models import FasterRCNNConfig, MatchingConfig, ReIDConfig, RoIHeadConfig, RPNConfig
from halftrack.precision import Precision
from halftrack.recipes.kinds.detection import FrameDetectionRecipe
from halftrack.recipes.kinds.multi_object import TrackingRecipe
from halftrack.recipes.kinds.reid import ReIDRecipe
from halftrack.tracking import EccMotion, TracktorConfig
from halftrack.training import TrainingConfig

__all__ = ["detector", "reid", "tiny_detector", "tiny_reid", "tiny_tracker", "tracker"]

PrecisionName = Literal["fp32", "fp16"]


def detector(
    benchmark: Benchmark = "MOT17", precision: PrecisionName = "fp32"
) -> FrameDetectionRecipe:
    """Faster R-CNN R50-FPN on half-train: 4 epochs, on MOT20 8.

    The published runs start from a Faster R-CNN trained on COCO's people; give that file with
    ``--init``. Without it the backbone starts from ImageNet.
    """
    epochs = _epochs(benchmark)
    return FrameDetectionRecipe(
        name=_detector_name(benchmark, precision),
        model=_model(benchmark),
        data=MotDetectionConfig(benchmark=benchmark),
        training=TrainingConfig(
            epochs=epochs,
            lr=0.02,
            max_grad_norm=None,
            warmup_steps=100,
            warmup_ratio=0.01,
            milestones=(epochs * 3 // 4,),
            evaluate_every=epochs,
        ),
        precision=_precision(precision),
    )


def reid(
    benchmark: Benchmark = "MOT17", precision: PrecisionName = "fp32", *, clean: bool = False
) -> ReIDRecipe:
    """ReID R50 on crops of the training videos, 8 x 4 a batch, 6 epochs.

    As published it learns from whole videos, so that half-val frames leak in; ``clean`` keeps to
    half-train.
    """
    return ReIDRecipe(
        name=_reid_name(benchmark, precision) + ("-half" if clean else ""),
        model=ReIDConfig(),
        data=ReIDDataConfig(benchmark=benchmark, split="half-train" if clean else "whole-train"),
        training=TrainingConfig(
            epochs=6,
            lr=0.1,
            max_grad_norm=None,
            warmup_steps=1000,
            warmup_ratio=0.001,
            milestones=(5,),
            evaluate_every=1,
            best_metric="mAP",
        ),
        precision=_precision(precision),
    )


def tracker(
    benchmark: Benchmark = "MOT17", precision: PrecisionName = "fp32", *, public: bool = False
) -> TrackingRecipe:
    """Tracktor on half-val, with its own detections or the public ones.

    The published MOT17 rows, private: MOTA 64.1, IDF1 66.9 in fp32; 64.7 and 66.6 in fp16.
    """
    half, epochs = "" if precision == "fp32" else "fp16_", _epochs(benchmark)
    detections = "public" if public else "private"
    detector_recipe = _detector_name(benchmark, precision)
    reid_recipe = _reid_name(benchmark, precision)
    return TrackingRecipe(
        name=(
            f"tracktor_faster-rcnn_r50_fpn_{half}{epochs}e_{benchmark.lower()}-{detections}-half"
        ),
        detector=_model(benchmark),
        detector_recipe=detector_recipe,
        detector_checkpoint=f"runs/{detector_recipe}_{precision}/best.pth",
        reid_recipe=reid_recipe,
        reid_checkpoint=f"runs/{reid_recipe}_{precision}/best.pth",
        tracker=TracktorConfig(compatible=True),
        data=MotDetectionConfig(benchmark=benchmark, public=public),
        precision=_precision(precision),
    )


def tiny_detector() -> FrameDetectionRecipe:
    """A narrow Faster R-CNN FPN for the synthetic video; the same code, in a minute or two."""
    return FrameDetectionRecipe(
        name="faster-rcnn_tiny_sample",
        model=FasterRCNNConfig(
            backbone=_tiny_backbone(outputs=(1, 2, 3, 4)),
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
            published_batches_per_step=1,
            max_grad_norm=5.0,
            warmup_steps=40,
            milestones=(1,),
            evaluate_every=2,
            log_every=20,
        ),
        precision=Precision("fp32"),
        backbone_weights="none",
    )


def tiny_reid() -> ReIDRecipe:
    """A narrow ReID for the synthetic video."""
    return ReIDRecipe(
        name="reid_tiny_sample",
        model=_tiny_reid_model(),
        data=ReIDDataConfig(split="whole-train", max_crops=8),
        training=TrainingConfig(
            epochs=1,
            lr=0.05,
            published_batches_per_step=1,
            max_grad_norm=5.0,
            warmup_steps=40,
            milestones=(),
            evaluate_every=1,
            best_metric="mAP",
            log_every=20,
        ),
        precision=Precision("fp32"),
        backbone_weights="none",
    )


def tiny_tracker() -> TrackingRecipe:
    """Tracktor of the two tiny ones, on the synthetic video."""
    parts = tiny_detector()
    return TrackingRecipe(
        name="tracktor_tiny_sample",
        detector=parts.model,
        detector_recipe=parts.name,
        detector_checkpoint=f"runs/{parts.name}_fp32/best.pth",
        reid=_tiny_reid_model(),
        reid_recipe="reid_tiny_sample",
        reid_checkpoint="runs/reid_tiny_sample_fp32/best.pth",
        camera_motion=EccMotion(levels=2),
        data=parts.data,
        precision=Precision("fp32"),
    )


def _tiny_reid_model() -> ReIDConfig:
    return ReIDConfig(
        backbone=_tiny_backbone(outputs=(4,)),
        hidden_channels=128,
        out_channels=64,
        crop_size=(64, 64),
    )


def _tiny_backbone(outputs: tuple[int, ...]) -> ResNetConfig:
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


def _model(benchmark: Benchmark) -> FasterRCNNConfig:
    """The published detector; on MOT20, and there alone, it cuts boxes to the image."""
    model = FasterRCNNConfig()
    if benchmark != "MOT20":
        return model
    return replace(
        model,
        rpn=replace(model.rpn, clip_to_image=True),
        roi_head=replace(model.roi_head, clip_to_image=True),
    )


def _epochs(benchmark: Benchmark) -> int:
    return 8 if benchmark == "MOT20" else 4


def _detector_name(benchmark: Benchmark, precision: PrecisionName) -> str:
    half = "" if precision == "fp32" else "fp16_"
    return f"faster-rcnn_r50_fpn_{half}{_epochs(benchmark)}e_{benchmark.lower()}-half"


def _reid_name(benchmark: Benchmark, precision: PrecisionName) -> str:
    if precision == "fp16":
        return f"reid_r50_fp16_8x32_6e_{benchmark.lower()}"
    return f"resnet50_b32x8_{benchmark}"


def _precision(name: PrecisionName) -> Precision:
    return Precision("fp32") if name == "fp32" else Precision("fp16", 512.0)
