"""The layers that models are made of, with MMTracking's state-dict keys."""

from halftrack.layers.anchors import AnchorGrid
from halftrack.layers.config import ResNetConfig
from halftrack.layers.correlation import depthwise_correlation
from halftrack.layers.necks import FPN, ChannelMapper, ConvNorm, LinearMapper
from halftrack.layers.pixels import normalise_and_pad
from halftrack.layers.resnet import ResNet
from halftrack.layers.roi_pooling import roi_align, roi_align_pyramid
from halftrack.layers.siamese import SiameseGeometry
from halftrack.layers.threads import one_thread

__all__ = [
    "FPN",
    "AnchorGrid",
    "ChannelMapper",
    "ConvNorm",
    "LinearMapper",
    "ResNet",
    "ResNetConfig",
    "SiameseGeometry",
    "depthwise_correlation",
    "normalise_and_pad",
    "one_thread",
    "roi_align",
    "roi_align_pyramid",
]
