"""Tracking in a loop of one's own, image by image."""

from __future__ import annotations

from pathlib import Path

import torch

from halftrack.data import VideoSource
from halftrack.data.images import GivenImage
from halftrack.data.video_file import Picture
from halftrack.frames import Tracks
from halftrack.recipes.given_images import given_images, image_tensor
from halftrack.recipes.kinds.recipe import Box, Recipe
from halftrack.recipes.names import load_recipe
from halftrack.recipes.opened import check_weights, open_for
from halftrack.recipes.run import choose_device, open_model
from halftrack.recipes.scoring.on_video import VideoTracker

__all__ = ["FrameTracker"]


class FrameTracker:
    """Tracker that is handed one image after another, wherever they come from.

    In a loop of one's own::

        tracker = FrameTracker(recipe, checkpoint="runs/tracker.pth")
        for image in camera:
            tracks = tracker.step(image)
            print(tracks.ids.tolist(), tracks.boxes_xyxy.tolist())

    For videos whose images are there already ``track`` is faster: it decodes ahead, and shows a
    detector several frames at once.

    Args:
        recipe: a recipe that tracks all objects, one of single-object tracking, or a detector of
            single frames, whose detections are tracks with the id -1; or its name.
        checkpoint: the weights; None for the files that a tracking recipe names.
        init_box_xyxy: the one object in the first image, in its pixels, for single-object tracking
            alone; it becomes the track with id 0.
        device: where to compute; the accelerator, if there is one, if None.
        trust: unpickle any object in a weights file.

    Raises:
        ValueError, FileNotFoundError: a recipe that does not track, a first box that is missing or
            not wanted, weights that are not there or do not fit.
    """

    def __init__(
        self,
        recipe: Recipe | str,
        *,
        checkpoint: str | Path | None = None,
        init_box_xyxy: Box | None = None,
        device: torch.device | str | None = None,
        trust: bool = False,
    ) -> None:
        self.recipe = load_recipe(recipe)
        """The recipe, which says in which precision is computed."""
        self.reset(init_box_xyxy=init_box_xyxy)
        check_weights(self.recipe, checkpoint)
        self._device = choose_device(device)
        self._model = open_model(self.recipe, checkpoint, self._device, trust=trust)

    def reset(self, *, init_box_xyxy: Box | None = None) -> None:
        """Forget all tracks: the next image begins another video.

        Args:
            init_box_xyxy: the one object in that image, as at the start.

        Raises:
            ValueError: for a first box that is missing or not wanted.
        """
        self._new_tracker = self.recipe.video_tracker(init_box_xyxy)
        self._first_box = init_box_xyxy
        self._begun: tuple[VideoTracker, VideoSource] | None = None
        self._frame_index = 0

    def step(self, image: GivenImage) -> Tracks:
        """Track the objects into the next image of the video.

        Args:
            image: a picture of Pillow, a uint8 array ``(height, width, 3)`` or a uint8 tensor
                ``(3, height, width)``, RGB. It is copied.

        Returns:
            The tracks seen in this image, on the CPU, their boxes in its pixels.

        Raises:
            ValueError: for what is no such image, an image of another size than the first one, a
                first box wholly outside the first one, and SELSA, which looks at a whole video.
        """
        pixels = image_tensor(image)
        tracker, source = self._begun or self._begin(pixels)
        frames = list(source.prepared([(self._frame_index, Picture(pixels))]))
        with self.recipe.precision.inference(self._device):
            [tracks] = tracker.steps(frames)
        self._begun = tracker, source
        self._frame_index += 1
        return tracks

    def notes(self) -> list[str]:
        """Lines on what was amiss so far in this video."""
        return [] if self._begun is None else self._begun[0].notes()

    def _begin(self, pixels: torch.Tensor) -> tuple[VideoTracker, VideoSource]:
        first = given_images(iter([pixels]))
        source = open_for(self.recipe, first, init_box_xyxy=self._first_box)
        return self._new_tracker(self._model, self._device, source), source
