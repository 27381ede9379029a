"""A small world for trackers: a detector, an embedder and a camera that know what is there.

Its objects are letters; each is 40 px wide and high, and scores 0.9 ("b" 0.8). Where a track's box
is tells the letter it follows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from halftrack.boxes import iou
from halftrack.frames import Detections, Frame
from halftrack.tracking import Tracktor, TracktorConfig

Scene = dict[str, tuple[float, float]]
NOTHING: Scene = {}


def boxes_of(scene: Scene) -> Tensor:
    corners = torch.tensor(list(scene.values()), dtype=torch.float32).reshape(-1, 2)
    return torch.cat([corners, corners + 40], dim=1)


def scores_of(scene: Scene) -> Tensor:
    return torch.tensor([0.8 if name == "b" else 0.9 for name in scene])


@dataclass
class World:
    """A detector, an embedder and a camera that all know what is really there."""

    scenes: list[Scene]
    missed: dict[int, str] = field(default_factory=dict)
    """Letters the first stage does not find, by frame; the second stage still does."""
    warps: dict[int, list[list[float]]] = field(default_factory=dict)
    asked: list[Tensor] = field(default_factory=list)
    """The boxes each call of regress got."""

    def detect(self, frame: Frame) -> Detections:
        hidden = self.missed.get(frame.frame_index, "")
        scene = {k: v for k, v in self.scenes[frame.frame_index].items() if k not in hidden}
        labels = torch.zeros(len(scene), dtype=torch.int64)
        return Detections(boxes_xyxy=boxes_of(scene), scores=scores_of(scene), labels=labels)

    def regress(self, frame: Frame, boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
        self.asked.append(boxes_xyxy)
        scene = self.scenes[frame.frame_index]
        if not scene:
            return boxes_xyxy[:, None], torch.full((len(boxes_xyxy), 1), 0.1)
        overlap, nearest = iou(boxes_xyxy, boxes_of(scene)).max(dim=1)
        hit = overlap > 0.2
        boxes = torch.where(hit[:, None], boxes_of(scene)[nearest], boxes_xyxy)
        return boxes[:, None], torch.where(hit, scores_of(scene)[nearest], 0.1)[:, None]

    def embed(self, frame: Frame, boxes_xyxy: Tensor) -> Tensor:
        """Always the same for a letter, 14 away from every other one."""
        scene = self.scenes[frame.frame_index]
        names = [list(scene)[i] for i in iou(boxes_xyxy, boxes_of(scene)).argmax(dim=1)]
        return torch.stack([torch.eye(256)[ord(name)] * 10 for name in names])

    def camera(self, previous: Frame, frame: Frame) -> Tensor:
        still = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
        return torch.tensor(self.warps.get(frame.frame_index, still))


def frame_at(index: int, scale_xy: tuple[float, float] = (1.0, 1.0)) -> Frame:
    image = torch.zeros((3, 1, 1), dtype=torch.uint8)
    return Frame(image=image, sample_id=f"v/{index}", frame_index=index, scale_xy=scale_xy)


def follow(world: World, **changes: Any) -> Tracktor:
    """A tracker of the world; ``embedder``, ``camera_motion`` and settings may be changed."""
    parts: dict[str, Any] = {"embedder": world.embed, "camera_motion": world.camera}
    parts |= {name: changes.pop(name) for name in list(changes) if name in (*parts, "detector")}
    return Tracktor(**({"detector": world} | parts), config=TracktorConfig(**changes))


def story_of(world: World, tracktor: Tracktor) -> list[str]:
    """What each frame shows, in the tracker's order: ``a0 b1`` is a with id 0, then b with 1."""
    told = []
    for index, scene in enumerate(world.scenes):
        tracks = tracktor.step(frame_at(index))
        nearest = iou(tracks.boxes_xyxy, boxes_of(scene)).argmax(dim=1) if len(tracks) else []
        named = zip(nearest, tracks.ids.tolist(), strict=True)
        told.append(" ".join(f"{list(scene)[i]}{key}" for i, key in named))
    return told
