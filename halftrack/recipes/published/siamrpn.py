"""SiamRPN++'s published recipes, and one small enough for a laptop."""

from __future__ import annotations

from dataclasses import replace

from halftrack.data.sot import PairDataConfig, SotBenchmark
from halftrack.layers import ResNetConfig, SiameseGeometry
from halftrack.models import MatchingConfig, SiamRPNConfig
from halftrack.precision import Precision
from halftrack.recipes.kinds.single_object import SingleObjectRecipe
from halftrack.tracking import SiameseConfig
from halftrack.training import Phase, Ramp, TrainingConfig

__all__ = ["lasot_fp16", "published", "tiny_sample"]

_THAWED = tuple(f"backbone.layer{stage}.*" for stage in (2, 3, 4))
# test_cfg of each benchmark's config, SiameseRPN's and the head's.
_TRACKERS = {
    "LaSOT": SiameseConfig(penalty_k=0.05, lr=0.38, window_influence=0.42),
    "TrackingNet": SiameseConfig(penalty_k=0.05, lr=0.38, window_influence=0.42),
    "OTB100": SiameseConfig(penalty_k=0.4, lr=0.4, window_influence=0.5),
    "UAV123": SiameseConfig(penalty_k=0.1, lr=0.5, window_influence=0.1),
    "VOT2018": SiameseConfig(penalty_k=0.04, lr=0.33, window_influence=0.44),
}


def published(benchmark: SotBenchmark = "LaSOT") -> SingleObjectRecipe:
    """SiamRPN++ R50, 20 epochs; published on LaSOT: success 50.4, norm precision 59.6, 7.54 GB.

    The backbone starts from a file of its own, which torchvision has not: give it with ``--init``.

    Source: MMTracking 0.14, configs/sot/siamese_rpn/siamese_rpn_r50_20e_lasot.py and its sisters;
    the scores are the table's in configs/sot/siamese_rpn/README.md.
    """
    otb = benchmark == "OTB100"  # whose config alone changes the training data too
    return SingleObjectRecipe(
        name=f"siamese_rpn_r50_20e_{benchmark.lower()}",
        model=_model(),
        data=PairDataConfig(
            training_sets=("vid", "det", "coco"),
            set_weights=(0.25, 0.55, 0.2),
            frame_range=100,
            positive_share=0.8,
            crop_size=511,
            shift=(4, 64),
            scale=(0.05, 0.18),
            colour_probability=(1.0, 1.0),
            blur_probability=(0.0, 0.2),
            grey_probability=0.2 if otb else 0.0,
            pairs_per_batch=16 if otb else 28,
            pairs_per_epoch=600_000,
        ),
        tracker=_TRACKERS[benchmark],
        benchmark=benchmark,
        training=TrainingConfig(
            epochs=20,
            lr=0.005,
            momentum=0.9,
            weight_decay=1e-4,
            max_grad_norm=10.0,
            ramps=(
                Ramp(epochs=5, start=0.2, end=1.0, arrives=False),
                Ramp(epochs=15, start=1.0, end=0.1),
            ),
            lr_factors=(("backbone.*", 0.1),),
            phases=(
                Phase(
                    first_epoch=10,
                    trainable=("neck.*", "head.*", *_THAWED),
                    batch_statistics=_THAWED,
                ),
            ),
            published_batches_per_step=8,  # 8 GPUs, a batch each
            evaluate_every=20,
            best_metric="success",
        ),
        precision=Precision("fp32"),
    )


def _model() -> SiamRPNConfig:
    return SiamRPNConfig(
        backbone=ResNetConfig(
            depth=50,
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            siamese=True,
            outputs=(2, 3, 4),
            frozen_stages=4,
            frozen_bn=True,
        ),
        neck_channels=256,
        norm="batch",
        geometry=SiameseGeometry(
            template_size=127,
            search_size=255,
            context_amount=0.5,
            template_cells=7,
            anchor_scale=8.0,
            anchor_ratios=(0.33, 0.5, 1.0, 2.0, 3.0),
        ),
        matching=MatchingConfig(
            positive_iou=0.6,
            negative_iou=0.3,
            low_quality_iou=None,
            num_samples=64,
            positive_fraction=0.25,
        ),
        num_negatives=16,
        negative_cells=7,
        box_weight=1.2,
    )


def lasot_fp16() -> SingleObjectRecipe:
    """The same in fp16 at the static loss scale 512: success 49.1, later 50.4 published.

    Source: MMTracking 0.14, siamese_rpn_r50_fp16_20e_lasot.py and its table.
    """
    return replace(
        published(),
        name="siamese_rpn_r50_fp16_20e_lasot",
        precision=Precision("fp16", 512.0),
    )


def tiny_sample() -> SingleObjectRecipe:
    """A narrow SiamRPN++ for the synthetic video; the same code, at three quarters of the size.

    Half of its pairs are negative, of which more anchors count, and colours are left as they are:
    sixty objects are few to learn from that one of a kind is not the other. With batch norm in neck
    and head too it would take half as many steps again; in the backbone group norm, which stays
    fp32, would cost half precision its memory.
    """
    return SingleObjectRecipe(
        name="siamese_rpn_tiny_sample",
        model=SiamRPNConfig(
            backbone=ResNetConfig(
                depth=18,
                base_channels=8,
                strides=(1, 2, 1, 1),
                dilations=(1, 1, 2, 4),
                siamese=True,
                outputs=(2, 3, 4),
                frozen_stages=-1,
                frozen_bn=False,
            ),
            neck_channels=32,
            norm="group",
            geometry=SiameseGeometry(template_size=95, search_size=191, anchor_scale=6.0),
            matching=MatchingConfig(
                positive_iou=0.6,
                negative_iou=0.3,
                low_quality_iou=None,
                num_samples=256,
                positive_fraction=0.0625,
            ),
            num_negatives=64,
        ),
        data=PairDataConfig(
            training_sets=("lasot",),
            set_weights=(1.0,),
            positive_share=0.5,
            crop_size=383,
            shift=(3, 48),
            colour_probability=(0.0, 0.0),
            pairs_per_batch=8,
            pairs_per_epoch=1280,
        ),
        tracker=_TRACKERS["LaSOT"],
        training=TrainingConfig(
            epochs=3,
            lr=0.04,
            momentum=0.9,
            weight_decay=1e-4,
            published_batches_per_step=1,
            max_grad_norm=5.0,
            warmup_steps=40,
            warmup_ratio=1 / 3,
            milestones=(2,),
            gamma=0.1,
            evaluate_every=3,
            best_metric="success",
            log_every=20,
        ),
        precision=Precision("fp32"),
        backbone_weights="none",
    )
