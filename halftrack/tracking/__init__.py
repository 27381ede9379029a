"""Tracking: what happens from frame to frame at inference; no gradients, no model classes."""

from halftrack.tracking.camera_motion import EccMotion, UncorrelatedFramesError, warp_boxes

__all__ = ["EccMotion", "UncorrelatedFramesError", "warp_boxes"]
