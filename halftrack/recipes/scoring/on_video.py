"""Models on any video: what runs one asks of them, and detections in each frame as tracks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn

from halftrack.data import SourceFrame, VideoSource
from halftrack.data.vid.frames import adaptive_stride
from halftrack.frames import Frame, Tracks

if TYPE_CHECKING:
    from halftrack.recipes.kinds.detection import DetectionRecipe

__all__ = ["DetectorOnVideo", "VideoTracker"]


class VideoTracker(Protocol):
    """Tracks the objects of one video, one pass of frames after the other."""

    batch: int
    """Frames of a pass, which must all be there before the first of them is tracked."""

    def steps(self, frames: Sequence[SourceFrame]) -> Iterator[Tracks]:
        """The tracks seen in each of the next frames, up to ``batch`` of one size, in order."""

    def notes(self) -> list[str]:
        """Lines on what was amiss so far."""


class DetectorOnVideo:
    """A detector over a video's frames; ids are -1.

    SELSA takes references that are spread over all of it, and read when the first frame is asked
    for: the video is gone through twice.
    """

    def __init__(
        self,
        recipe: DetectionRecipe,
        model: nn.Module,
        device: torch.device,
        source: VideoSource,
    ) -> None:
        self.batch = recipe.data.test_batch
        self._references = recipe.test_references
        self._model, self._device = model, device
        self._source = source if self._references else None

    def steps(self, frames: Sequence[SourceFrame]) -> Iterator[Tracks]:
        """The detections in each of the next frames, as tracks without ids."""
        if self._source is not None:
            references = [frame.to(self._device) for frame in self._spread(self._source)]
            self._source = None
            self._model.start(references)  # type: ignore[operator]
        for found in self._model([each.frame.to(self._device) for each in frames]):
            here = found.to("cpu")
            yield Tracks(
                ids=torch.full_like(here.labels, -1),
                boxes_xyxy=here.boxes_xyxy,
                scores=here.scores,
                labels=here.labels,
            )

    def notes(self) -> list[str]:
        """Nothing: whatever was amiss was an error."""
        return []

    def _spread(self, source: VideoSource) -> list[Frame]:
        """The reference frames; what a container says of its length may be too much."""
        length = source.num_frames
        if length is None:
            assert source.count is not None, f"{source.name} is live"
            length = source.count()
        wanted = adaptive_stride(length, num_references=self._references)
        frames = {each.frame.frame_index: each.frame for each in source.at(wanted)}
        return [frames[index] for index in wanted if index in frames]
