"""Synthetic video with ground truth, in the layouts of ImageNet VID, MOT17 and LaSOT."""

from halftrack.synthetic.video import Layout, SampleSettings, write_sample
from halftrack.synthetic.world import SAMPLE_CLASSES

__all__ = ["SAMPLE_CLASSES", "Layout", "SampleSettings", "write_sample"]
