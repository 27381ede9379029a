"""Synthetic video with ground truth, in the layouts of ImageNet VID, MOT17 and LaSOT."""

from halftrack.synthetic.layouts import SyntheticVideoError
from halftrack.synthetic.video import Layout, SyntheticVideo, write_synthetic
from halftrack.synthetic.world import SYNTHETIC_CLASSES

__all__ = [
    "SYNTHETIC_CLASSES",
    "Layout",
    "SyntheticVideo",
    "SyntheticVideoError",
    "write_synthetic",
]
