"""Tracktor: a multi-object tracker that finds its boxes again with the detector's second stage.

Bergmann et al., "Tracking without bells and whistles" (ICCV 2019). Must agree with MMTracking 0.14:
Tracktor.simple_test, TracktorTracker, BaseTracker and CameraMotionCompensation.
Legend: n boxes, c classes (without background), d embedding dimensions. State is kept on the CPU.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, replace

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from halftrack.boxes import iou, nms_by_class
from halftrack.errors import NonFiniteOutputError
from halftrack.frames import Detections, Frame, Tracks
from halftrack.precision import fp32_island
from halftrack.tracking.camera_motion import warp_boxes
from halftrack.tracking.config import TracktorConfig
from halftrack.tracking.protocols import CameraMotion, Detector, Embedder

__all__ = ["Tracktor"]

_OUT_OF_REACH = 1e6


@dataclass
class _Track:
    path: Tensor  # (k, 4): the last boxes, moved along with the camera, the newest last
    last_index: int
    embeddings: deque[Tensor]


class Tracktor:
    """Multi-object tracker, called with one frame of a video after another.

    Args:
        detector: finds objects and regresses boxes.
        embedder: recognises lost tracks; None never finds one again.
        camera_motion: moves the boxes of the last frame along with the camera; None leaves them.
        config: the thresholds.
    """

    def __init__(
        self,
        *,
        detector: Detector,
        embedder: Embedder | None = None,
        camera_motion: CameraMotion | None = None,
        config: TracktorConfig,
    ) -> None:
        self.detector = detector
        self.embedder = embedder
        self.camera_motion = camera_motion
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Forget all tracks and ids: the next frame begins another video."""
        self._tracks: dict[int, _Track] = {}
        self._next_id = 0
        self._previous: Frame | None = None

    @property
    def live_ids(self) -> tuple[int, ...]:
        """Ids of the tracks seen within the last ``num_frames_retain`` frames, oldest first."""
        return tuple(self._tracks)

    @torch.no_grad()
    def step(self, frame: Frame, found: Detections | None = None) -> Tracks:
        """Track the objects into the next frame.

        Only tracks seen in the frame before (``frame_index - 1``) are regressed; after frames that
        were left out, a track continues through its embedding alone. A step that raises an error
        changes no track.

        Args:
            frame: the next frame.
            found: the detections in it, where they are known already; None asks the detector.

        Returns:
            The tracks seen in this frame, on the CPU: regressed ones, best first, then new and
            recognised ones.

        Raises:
            ValueError: if the frame does not follow the last one, if a part answers with other
                shapes, or if boxes, scores, embeddings or the warp are not finite.

        Source: MMTracking 0.14, TracktorTracker.track.
        """
        self._check_follows(frame)
        found = self._counted(frame, self.detector.detect(frame) if found is None else found)
        paths = self._carried(frame)
        carried = (
            torch.stack([p[-1] for p in paths]) if paths else torch.zeros((0, 4), device="cpu")
        )
        regressed = self._regressed(frame, carried)
        unclaimed = iou(found.boxes_xyxy, regressed.boxes_xyxy) < self.config.new_track_iou
        found = _rows(found, unclaimed.all(dim=1))
        boxes = torch.cat([regressed.boxes_xyxy, found.boxes_xyxy])
        embeddings = self._embedded(frame, boxes)
        ids = self._recognised(found, embeddings, regressed.ids, carried)
        tracks = Tracks(
            ids=torch.cat([regressed.ids, ids]),
            boxes_xyxy=boxes,
            scores=torch.cat([regressed.scores, found.scores]),
            labels=torch.cat([regressed.labels, found.labels]),
        )
        self._commit(frame, tracks, embeddings, paths)
        return tracks

    def _check_follows(self, frame: Frame) -> None:
        last = self._previous
        if last is not None and frame.frame_index <= last.frame_index:
            raise ValueError(
                f"{frame.sample_id!r} (frame_index {frame.frame_index}) does not follow "
                f"{last.sample_id!r} ({last.frame_index}): frame_index must increase in a video; "
                "call reset() between videos"
            )

    def _counted(self, frame: Frame, found: Detections) -> Detections:
        """The detections that count."""
        found = found.to("cpu")  # host sync
        boxes = _finite(found.boxes_xyxy, "detected boxes", frame)
        scores = _finite(found.scores, "detection scores", frame)
        found = replace(found, boxes_xyxy=boxes, scores=scores)
        return _rows(found, scores > self.config.detection_score)

    def _carried(self, frame: Frame) -> list[Tensor]:
        """For every live track: its last boxes, moved with the camera, and the box expected now."""
        paths = [track.path for track in self._tracks.values()]
        if self._previous is None or not paths:
            return []
        if self.camera_motion is not None:
            warp = _finite(self.camera_motion(self._previous, frame), "camera warp", frame)
            scale = torch.tensor(frame.scale_xy * 2, device="cpu")
            if self.config.compatible:
                scale = torch.ones_like(scale)
            moved = warp_boxes(torch.cat(paths) * scale, warp) / scale
            paths = list(moved.split([len(path) for path in paths]))
        return [torch.cat([path, _next_box(path)[None]]) for path in paths]

    def _regressed(self, frame: Frame, carried: Tensor) -> Tracks:
        """The tracks of the frame before which the detector finds again."""
        before = frame.frame_index - 1
        seen = [track.last_index == before for track in self._tracks.values()]
        ids = torch.tensor(self.live_ids, dtype=torch.int64, device="cpu")
        rows = torch.tensor(seen, dtype=torch.bool, device="cpu")
        ids, boxes = ids[rows], carried[rows]
        if not len(ids):
            return Tracks(ids=ids, boxes_xyxy=boxes, scores=boxes[:, 0], labels=ids)
        by_class, scores = self.detector.regress(frame, boxes)
        if scores.shape[:1] != ids.shape or by_class.shape != (*scores.shape, 4):
            raise ValueError(
                f"regress gave boxes {tuple(by_class.shape)} and scores {tuple(scores.shape)} for "
                f"{len(ids)} boxes; expected (n, c, 4) and (n, c)"
            )
        by_class = _finite(by_class, "regressed boxes", frame)  # host sync
        # A track is one class: with several, the reference mixes up the rows of its ids.
        best, labels = _finite(scores, "regression scores", frame).max(dim=1)
        boxes = by_class[torch.arange(len(ids), device="cpu"), labels]
        kept = nms_by_class(boxes, best, labels, self.config.regression_nms_iou)
        kept = kept[best[kept] > self.config.regression_score]
        return Tracks(ids=ids[kept], boxes_xyxy=boxes[kept], scores=best[kept], labels=labels[kept])

    def _embedded(self, frame: Frame, boxes_xyxy: Tensor) -> Tensor | None:
        """Embeddings ``(n, d)`` of this frame's boxes, all in one batch; None without ReID."""
        if self.embedder is None or not len(boxes_xyxy):
            return None
        # A copy: embedders like to clip in place, and the boxes are the answer. A host sync.
        return _finite(self.embedder(frame, boxes_xyxy.clone()), "embeddings", frame)

    def _recognised(
        self, found: Detections, embeddings: Tensor | None, taken: Tensor, carried: Tensor
    ) -> Tensor:
        """The ids ``(n,)`` of found boxes: a lost track's where one fits, else the next free id."""
        ids = [-1] * len(found)
        lost = [row for row, key in enumerate(self._tracks) if key not in taken.tolist()]
        if embeddings is not None and lost and ids:
            keys = [self.live_ids[row] for row in lost]
            looks = torch.stack([torch.stack([*self._tracks[k].embeddings]).mean(0) for k in keys])
            distances = _distances(looks, embeddings[len(taken) :])
            apart = iou(carried[lost], found.boxes_xyxy) < self.config.reid_iou
            distances = torch.where(apart, _OUT_OF_REACH, distances)
            for row, column in zip(*linear_sum_assignment(distances.numpy()), strict=True):
                if distances[row, column] <= self.config.reid_distance:
                    ids[column] = keys[row]
        free = itertools.count(self._next_id)
        ids = [next(free) if key < 0 else key for key in ids]
        return torch.tensor(ids, dtype=torch.int64, device="cpu")

    def _commit(
        self, frame: Frame, tracks: Tracks, embeddings: Tensor | None, paths: list[Tensor]
    ) -> None:
        """Store this frame's tracks; end the tracks that have not been seen for too long."""
        for track, path in zip(self._tracks.values(), paths, strict=True):
            track.path = path[-1 - self.config.linear_motion :]
        seen = zip(tracks.ids.tolist(), tracks.boxes_xyxy.clone(), strict=True)
        for row, (key, box) in enumerate(seen):
            if key not in self._tracks:
                samples: deque[Tensor] = deque(maxlen=self.config.reid_num_samples)
                self._tracks[key] = _Track(box[None], frame.frame_index, samples)
            track = self._tracks[key]
            box = _blend(track.path[-1], box, self.config.box_momentum)
            track.path = torch.cat([track.path[:-1], box[None]])
            track.last_index = frame.frame_index
            if embeddings is not None:
                momentum, looks = self.config.embedding_momentum, embeddings[row]
                if momentum is not None and track.embeddings:
                    looks = _blend(track.embeddings.pop(), looks, momentum)
                track.embeddings.append(looks)
        self._next_id = max([self._next_id, *(key + 1 for key in tracks.ids.tolist())])
        oldest = frame.frame_index - self.config.num_frames_retain
        self._tracks = {k: track for k, track in self._tracks.items() if track.last_index > oldest}
        self._previous = frame


def _next_box(path: Tensor) -> Tensor:
    """The last box, moved by the mean step of the centres; the size stays."""
    if len(path) == 1:
        return path[-1]
    centres = (path[:, :2] + path[:, 2:]) * 0.5
    return path[-1] + (centres[1:] - centres[:-1]).mean(dim=0).repeat(2)


def _blend(old: Tensor, new: Tensor, momentum: float | None) -> Tensor:
    return new if momentum is None else (1 - momentum) * old + momentum * new


def _rows(found: Detections, rows: Tensor) -> Detections:
    boxes, scores, labels = found.boxes_xyxy[rows], found.scores[rows], found.labels[rows]
    return Detections(boxes_xyxy=boxes, scores=scores, labels=labels)


@fp32_island  # differences of embeddings of some hundreds overflow once squared in fp16
def _distances(embeddings: Tensor, others: Tensor) -> Tensor:
    return torch.cdist(embeddings, others)


def _finite(values: Tensor, what: str, frame: Frame) -> Tensor:
    """The values in fp32 on the CPU, or an error that names the first row that is not finite."""
    values = values.to("cpu", torch.float32)
    broken = (~torch.isfinite(values)).nonzero()[:, 0].unique().tolist()
    if broken:
        raise NonFiniteOutputError(
            f"{what} of frame {frame.sample_id!r} (frame_index {frame.frame_index}) not finite in "
            f"{len(broken)} of {len(values)} rows; row {broken[0]} is {values[broken[0]].tolist()}"
        )
    return values
