"""The layers that models are made of, with MMTracking's state-dict keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
    from halftrack.layers.anchors import AnchorGrid
    from halftrack.layers.compilable import Compilable, fixed_shapes
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
    "Compilable",
    "ConvNorm",
    "LinearMapper",
    "ResNet",
    "ResNetConfig",
    "SiameseGeometry",
    "depthwise_correlation",
    "fixed_shapes",
    "normalise_and_pad",
    "one_thread",
    "roi_align",
    "roi_align_pyramid",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "anchors": ("AnchorGrid",),
        "config": ("ResNetConfig",),
        "correlation": ("depthwise_correlation",),
        "compilable": (
            "Compilable",
            "fixed_shapes",
        ),
        "necks": (
            "FPN",
            "ChannelMapper",
            "ConvNorm",
            "LinearMapper",
        ),
        "pixels": ("normalise_and_pad",),
        "resnet": ("ResNet",),
        "roi_pooling": (
            "roi_align",
            "roi_align_pyramid",
        ),
        "siamese": ("SiameseGeometry",),
        "threads": ("one_thread",),
    },
)
