"""Trackers: they follow objects from frame to frame at inference, without gradients or models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
    from halftrack.tracking.camera_motion import UncorrelatedFramesError, warp_boxes
    from halftrack.tracking.config import EccMotion, SiameseConfig, TracktorConfig
    from halftrack.tracking.protocols import CameraMotion, Detector, Embedder, SiameseModel
    from halftrack.tracking.siamese import SiameseTracker
    from halftrack.tracking.tracktor import Tracktor

__all__ = [
    "CameraMotion",
    "Detector",
    "EccMotion",
    "Embedder",
    "SiameseConfig",
    "SiameseModel",
    "SiameseTracker",
    "Tracktor",
    "TracktorConfig",
    "UncorrelatedFramesError",
    "warp_boxes",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "camera_motion": (
            "UncorrelatedFramesError",
            "warp_boxes",
        ),
        "config": (
            "EccMotion",
            "SiameseConfig",
            "TracktorConfig",
        ),
        "protocols": (
            "CameraMotion",
            "Detector",
            "Embedder",
            "SiameseModel",
        ),
        "siamese": ("SiameseTracker",),
        "tracktor": ("Tracktor",),
    },
)
