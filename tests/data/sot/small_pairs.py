"""Pairs small enough for tests: their settings, and synthetic video in two layouts."""

from __future__ import annotations

from pathlib import Path

from halftrack.data.sot import PairBatches, PairDataConfig
from halftrack.layers import SiameseGeometry
from halftrack.synthetic import SYNTHETIC_CLASSES, SyntheticVideo, write_synthetic

SMALL = PairDataConfig(
    training_sets=("lasot",),
    set_weights=(1.0,),
    vid_classes=SYNTHETIC_CLASSES,
    crop_size=127,
    shift=(1, 16),
    pairs_per_batch=4,
    pairs_per_epoch=12,
)


GEOMETRY = SiameseGeometry(template_size=31, search_size=63, template_cells=3)


def opened(config: PairDataConfig, data_root: Path) -> PairBatches:
    """The pairs of a configuration, small ones."""
    return PairBatches.open(config, data_root, geometry=GEOMETRY)


def film(root: Path) -> Path:
    """Three films to learn from and one to test on, in the layouts of LaSOT and ImageNet VID."""
    for layout in ("sot", "vid"):
        write_synthetic(
            root,
            SyntheticVideo(layout=layout, train_videos=3, val_videos=1, frames=12, size=(72, 120)),
        )
    return root
