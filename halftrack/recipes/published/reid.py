"""Tracktor's ReID as published; one small enough for a laptop."""

from __future__ import annotations

from halftrack.data.mot import Benchmark, ReIDDataConfig
from halftrack.layers import ResNetConfig
from halftrack.models import ReIDConfig
from halftrack.precision import Precision
from halftrack.recipes.kinds.reid import ReIDRecipe
from halftrack.recipes.published.faster_rcnn import PrecisionName, named_precision, tiny_backbone
from halftrack.training import TrainingConfig

__all__ = ["published", "tiny_sample"]


def published(
    benchmark: Benchmark = "MOT17", precision: PrecisionName = "fp32", *, clean: bool = False
) -> ReIDRecipe:
    """ReID R50 on crops of the training videos, 8 x 4 a batch, 6 epochs.

    As published it learns from whole videos, so that half-val frames leak in; ``clean`` keeps to
    half-train.

    Source: MMTracking 0.14, configs/reid/resnet50_b32x8_MOT17.py and its sisters, on
    _base_/datasets/mot_challenge_reid.py; the crops are those of tools/convert_datasets/mot2reid.py
    with its own settings.
    """
    name = f"resnet50_b32x8_{benchmark}"
    if precision == "fp16":
        name = f"reid_r50_fp16_8x32_6e_{benchmark.lower()}"
    return ReIDRecipe(
        name=name + ("-half" if clean else ""),
        model=ReIDConfig(
            backbone=ResNetConfig(
                depth=50,
                strides=(1, 2, 2, 2),
                dilations=(1, 1, 1, 1),
                outputs=(4,),
                frozen_stages=-1,
                frozen_bn=False,
            ),
            hidden_channels=1024,
            out_channels=128,
            margin=0.3,
            crop_size=(256, 128),
        ),
        data=ReIDDataConfig(
            benchmark=benchmark,
            split="half-train" if clean else "whole-train",
            validation_share=0.2,
            min_visibility=0.3,
            min_crops=8,
            max_crops=1000,
            identities_per_batch=8,
            crops_per_identity=4,
            flip_probability=0.5,
        ),
        training=TrainingConfig(
            epochs=6,
            lr=0.1,
            momentum=0.9,
            weight_decay=1e-4,
            max_grad_norm=None,
            warmup_steps=1000,
            warmup_ratio=0.001,
            milestones=(5,),
            gamma=0.1,
            published_batches_per_step=8,  # 8 GPUs, 32 crops each
            evaluate_every=1,
            best_metric="mAP",
        ),
        precision=named_precision(precision),
    )


def tiny_sample() -> ReIDRecipe:
    """A narrow ReID for the synthetic video."""
    return ReIDRecipe(
        name="reid_tiny_sample",
        model=ReIDConfig(
            backbone=tiny_backbone(outputs=(4,)),
            hidden_channels=128,
            out_channels=64,
            crop_size=(64, 64),
        ),
        data=ReIDDataConfig(split="whole-train", max_crops=8),
        training=TrainingConfig(
            epochs=1,
            lr=0.05,
            momentum=0.9,
            weight_decay=1e-4,
            published_batches_per_step=1,
            max_grad_norm=5.0,
            warmup_steps=40,
            warmup_ratio=1 / 3,
            evaluate_every=1,
            best_metric="mAP",
            log_every=20,
        ),
        precision=Precision("fp32"),
        backbone_weights="none",
    )
