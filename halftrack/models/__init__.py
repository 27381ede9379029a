"""Models: modules that return losses in training mode and detections in evaluation mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
    from halftrack.models.detector_config import (
        FasterRCNNConfig,
        MatchingConfig,
        RoIHeadConfig,
        RPNConfig,
        SelsaConfig,
    )
    from halftrack.models.faster_rcnn import FasterRCNN
    from halftrack.models.matching import Objects, Samples, assign_objects, sample_boxes
    from halftrack.models.reid import ReID
    from halftrack.models.selsa import SELSA
    from halftrack.models.siamrpn import SiamRPN
    from halftrack.models.tracker_config import ReIDConfig, SiamRPNConfig

__all__ = [
    "SELSA",
    "FasterRCNN",
    "FasterRCNNConfig",
    "MatchingConfig",
    "Objects",
    "RPNConfig",
    "ReID",
    "ReIDConfig",
    "RoIHeadConfig",
    "Samples",
    "SelsaConfig",
    "SiamRPN",
    "SiamRPNConfig",
    "assign_objects",
    "sample_boxes",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "detector_config": (
            "FasterRCNNConfig",
            "MatchingConfig",
            "RoIHeadConfig",
            "RPNConfig",
            "SelsaConfig",
        ),
        "faster_rcnn": ("FasterRCNN",),
        "matching": ("Objects", "Samples", "assign_objects", "sample_boxes"),
        "reid": ("ReID",),
        "selsa": ("SELSA",),
        "siamrpn": ("SiamRPN",),
        "tracker_config": (
            "ReIDConfig",
            "SiamRPNConfig",
        ),
    },
)
