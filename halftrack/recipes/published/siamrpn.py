"""SiamRPN++'s published recipes, and one small enough for a laptop."""

from __future__ import annotations

from dataclasses import replace

from halftrack.data.sot import PairDataConfig, SotBenchmark
from halftrack.layers import ResNetConfig, SiameseGeometry
from halftrack.models import SiamRPNConfig
from halftrack.precision import Precision
from halftrack.recipes.kinds.single_object import SingleObjectRecipe
from halftrack.tracking import SiameseConfig
from halftrack.training import Phase, Ramp, TrainingConfig

__all__ = ["lasot_fp16", "published", "tiny_sample"]

_THAWED = tuple(f"backbone.layer{stage}.*" for stage in (2, 3, 4))
_TRACKERS = {
    "LaSOT": SiameseConfig(),
    "TrackingNet": SiameseConfig(),
    "OTB100": SiameseConfig(penalty_k=0.4, lr=0.4, window_influence=0.5),
    "UAV123": SiameseConfig(penalty_k=0.1, lr=0.5, window_influence=0.1),
    "VOT2018": SiameseConfig(penalty_k=0.04, lr=0.33, window_influence=0.44),
}


def published(benchmark: SotBenchmark = "LaSOT") -> SingleObjectRecipe:
    """SiamRPN++ R50, 20 epochs; published on LaSOT: success 50.4, norm precision 59.6, 7.54 GB.

    The backbone starts from a file of its own, which torchvision has not: give it with ``--init``.
    """
    grey = 0.2 if benchmark == "OTB100" else 0.0
    return SingleObjectRecipe(
        name=f"siamese_rpn_r50_20e_{benchmark.lower()}",
        model=SiamRPNConfig(),
        data=PairDataConfig(grey_probability=grey),
        tracker=_TRACKERS[benchmark],
        benchmark=benchmark,
        training=TrainingConfig(
            epochs=20,
            lr=0.005,
            max_grad_norm=10.0,
            warmup_steps=0,
            milestones=(),
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
            evaluate_every=20,
            best_metric="success",
        ),
        precision=Precision("fp32"),
    )


def lasot_fp16() -> SingleObjectRecipe:
    """The same in fp16 at the static loss scale 512: success 49.1, later 50.4 published."""
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
            matching=replace(SiamRPNConfig.matching, num_samples=256, positive_fraction=0.0625),
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
        tracker=SiameseConfig(),
        training=TrainingConfig(
            epochs=3,
            lr=0.04,
            published_batches_per_step=1,
            max_grad_norm=5.0,
            warmup_steps=40,
            milestones=(2,),
            evaluate_every=3,
            best_metric="success",
            log_every=20,
        ),
        precision=Precision("fp32"),
        backbone_weights="none",
    )
