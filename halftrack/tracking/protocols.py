"""Models as trackers see them: what a tracker calls, and what it is answered.

Legend: n boxes or anchors, c classes (without background), d embedding dimensions.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from halftrack.frames import Detections, Frame

__all__ = ["CameraMotion", "Detector", "Embedder", "SiameseModel"]


class Detector(Protocol):
    """A two-stage detector: it finds objects, and finds given boxes again."""

    def detect(self, frame: Frame, /) -> Detections:
        """Find the objects of a frame, in original pixels, on any device."""
        ...

    def regress(self, frame: Frame, boxes_xyxy: Tensor, /) -> tuple[Tensor, Tensor]:
        """Find given boxes again with the second stage.

        Called at most once a frame, after ``detect`` of that frame, whose features it may reuse.

        Args:
            frame: the frame just detected.
            boxes_xyxy: float32 ``(n, 4)`` in original pixels, on the CPU; n > 0.

        Returns:
            Boxes ``(n, c, 4)`` in original pixels and scores ``(n, c)``, row by row, without
            suppression and without a threshold.
        """
        ...


class Embedder(Protocol):
    """Appearance model: it gives objects that look alike embeddings that lie close together."""

    def __call__(self, frame: Frame, boxes_xyxy: Tensor, /) -> Tensor:
        """Embed ``(n, 4)`` boxes in original pixels, on the CPU, n > 0, as ``(n, d)``."""
        ...


class CameraMotion(Protocol):
    """Camera motion between two frames, such as ``EccMotion()(previous.image, frame.image)``."""

    def __call__(self, previous: Frame, frame: Frame, /) -> Tensor:
        """Estimate the warp ``(2, 3)`` from network pixels of the previous frame to this one's."""
        ...


class SiameseModel(Protocol):
    """Siamese network: it finds the object of a template in a search region."""

    def embed(self, template_chw: Tensor, /) -> Any:
        """Compute the features of a template that ``compare`` needs; called once a video.

        Args:
            template_chw: float32 ``(3, 127, 127)`` RGB, 0 to 255, on the CPU.
        """
        ...

    def compare(self, embedding: Any, search_chw: Tensor, /) -> tuple[Tensor, Tensor]:
        """Score every anchor of a search region.

        Args:
            embedding: the answer of ``embed``.
            search_chw: float32 ``(3, 255, 255)`` RGB, 0 to 255, on the CPU.

        Returns:
            Scores ``(n,)``, the softmax probability of the object, and deltas ``(n, 4)`` (dx, dy,
            dw, dh) as ``decode_deltas`` takes them, in (row, column, anchor) order, on any device.
        """
        ...
