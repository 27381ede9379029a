"""SiamRPN++'s tracker: it finds the object of the first frame in each frame after it.

Li et al., "SiamRPN++" (CVPR 2019). Must agree with MMTracking 0.14: SiamRPN.init and .track,
SiameseRPNHead.get_bbox (its OPE mode; VOT's restarts after failures are left out).
Legend: n anchors, in (row, column, anchor) order. State is kept on the CPU, in fp32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from halftrack.boxes import decode_deltas, start_box_fault
from halftrack.errors import NonFiniteOutputError, UserError
from halftrack.frames import Tracks
from halftrack.layers import SiameseGeometry
from halftrack.tracking.config import SiameseConfig
from halftrack.tracking.protocols import SiameseModel

__all__ = ["SiameseTracker"]

_LEAST_SIDE = 10.0


@dataclass(frozen=True)
class _State:
    embedding: Any
    fill: Tensor  # (3,): what lies outside the image
    box: Tensor  # (4,) cxcywh in original pixels, not rounded
    shape: torch.Size
    frame_index: int


class SiameseTracker:
    """Single-object tracker: ``start`` with the object's box, then one ``step`` a frame.

    Both answer with one track, whose id and label are 0.

    Args:
        model: finds the object of a template in a search region.
        config: penalties and smoothing.
        geometry: the sizes and anchors that the model was trained with.
    """

    def __init__(
        self, *, model: SiameseModel, config: SiameseConfig, geometry: SiameseGeometry
    ) -> None:
        self.model = model
        self.config = config
        self.geometry = geometry
        side = geometry.response_size
        self._anchors = geometry.anchors(side, side, "cpu")
        self._window = _window(geometry)
        self._state: _State | None = None

    @torch.no_grad()
    def start(self, image: Tensor, box_xyxy: Tensor) -> Tracks:
        """Begin a video with the box of its object; forget the object of the last video.

        Args:
            image: uint8 ``(3, height, width)`` RGB, in original pixels.
            box_xyxy: ``(4,)`` the object, at least partly inside the image.

        Returns:
            The track in this frame: the box as given, with score 1.

        Raises:
            ValueError: if the image is of another kind, or if the box is not finite, empty or
                wholly outside the image.

        Source: MMTracking 0.14, SiamRPN.init.
        """
        _check_image(image)
        first = _checked_box(box_xyxy, image)
        box = _centre_and_size(first)
        fill = image.to("cpu", torch.float32).mean(dim=(1, 2))
        side = self._context_side(box).round()
        template = _cut(image, box[:2], side, self.geometry.template_size, fill)
        self._state = _State(self.model.embed(template), fill, box, image.shape, frame_index=0)
        return _one_track(first, torch.ones((), device="cpu"))

    @torch.no_grad()
    def step(self, image: Tensor) -> Tracks:
        """Track the object into the next frame.

        The centre of the box stays in the image, its sides are at least 10 px and at most the
        image's; parts of it may lie outside. A step that raises an error changes nothing.

        Returns:
            The track in this frame, on the CPU.

        Raises:
            RuntimeError: if ``start`` was not called.
            ValueError: if the image is not like the first, or if the model's answer has another
                shape or is not finite.

        Source: MMTracking 0.14, SiamRPN.track and SiameseRPNHead.get_bbox.
        """
        state = self._state
        if state is None:
            raise RuntimeError("step before start: call start(image, box_xyxy) on the first frame")
        frame_index = state.frame_index + 1
        _check_image(image, like=state.shape)
        exact = self._context_side(state.box)
        side = (exact * (self.geometry.search_size / self.geometry.template_size)).round()
        search = _cut(image, state.box[:2], side, self.geometry.search_size, state.fill)
        scores, deltas = self._compared(state.embedding, search, frame_index)
        # The scale of the exact side, as in the reference, though the rounded one was cut out.
        scale = self.geometry.template_size / exact
        box, score = self._chosen(scores, deltas, state.box, scale)
        box = _kept_within(_finite(box, "the box", frame_index), image.shape)
        self._state = replace(state, box=box, frame_index=frame_index)
        return _one_track(torch.cat([box[:2] - box[2:] * 0.5, box[:2] + box[2:] * 0.5]), score)

    def _context_side(self, box: Tensor) -> Tensor:
        """Side of the square with the object and its surroundings, not rounded."""
        sides = box[2:] + self.geometry.context_amount * (box[2] + box[3])
        return (sides[0] * sides[1]).sqrt()

    def _compared(self, embedding: Any, search: Tensor, frame_index: int) -> tuple[Tensor, Tensor]:
        scores, deltas = self.model.compare(embedding, search)
        count = len(self._anchors)
        if scores.shape != (count,) or deltas.shape != (count, 4):
            raise ValueError(
                f"compare gave scores {tuple(scores.shape)} and deltas {tuple(deltas.shape)} in "
                f"frame_index {frame_index}; expected ({count},) and ({count}, 4): "
                f"{self.geometry.response_size} rows, as many columns, "
                f"{len(self.geometry.anchor_ratios)} anchors"
            )
        scores = _finite(scores, "scores", frame_index)  # host sync
        return scores, _finite(deltas, "deltas", frame_index)

    def _chosen(
        self, scores: Tensor, deltas: Tensor, last: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The box ``(4,)`` cxcywh of the best anchor, in original pixels, size smoothed; its score.

        Args:
            scores: ``(n,)``.
            deltas: ``(n, 4)``.
            last: ``(4,)`` cxcywh, the box in the frame before, in original pixels.
            scale: network pixels per original pixel.
        """
        found = _centre_and_size(decode_deltas(self._anchors, deltas[:, None])[:, 0])
        resized = _change(_padded_side(found) / _padded_side(last * scale))
        reshaped = _change((last[2] / last[3]) / (found[:, 2] / found[:, 3]))
        penalty = torch.exp((1 - reshaped * resized) * self.config.penalty_k)
        influence = self.config.window_influence
        rank = penalty * scores * (1 - influence) + self._window * influence  # fp64, as the window
        best = int(rank.argmax())
        box = found[best] / scale
        share = penalty[best] * scores[best] * self.config.lr
        size = last[2:] * (1 - share) + box[2:] * share
        return torch.cat([last[:2] + box[:2], size]), scores[best]


def _one_track(box_xyxy: Tensor, score: Tensor) -> Tracks:
    zero = torch.zeros(1, dtype=torch.int64, device="cpu")
    # Copies: who writes into the answer must not write into what it was made of.
    boxes, scores = box_xyxy[None].clone(), score[None].clone()
    return Tracks(ids=zero, boxes_xyxy=boxes, scores=scores, labels=zero.clone())


def _window(geometry: SiameseGeometry) -> Tensor:
    """fp64 ``(n,)``: 1 in the middle cell, 0 at the border, the same for all anchors of a cell."""
    line = torch.hann_window(
        geometry.response_size, periodic=False, dtype=torch.float64, device="cpu"
    )
    return torch.outer(line, line).flatten().repeat_interleave(len(geometry.anchor_ratios))


def _padded_side(boxes: Tensor) -> Tensor:
    """Sides ``(...)`` of squares as large as boxes ``(..., 4)`` cxcywh with their padding."""
    width, height = boxes[..., 2], boxes[..., 3]
    pad = (width + height) * 0.5
    return ((width + pad) * (height + pad)).sqrt()


def _change(ratio: Tensor) -> Tensor:
    """1 for no change, more for a change either way."""
    return torch.maximum(ratio, 1 / ratio)


def _cut(image: Tensor, centre_xy: Tensor, side: Tensor, size: int, fill: Tensor) -> Tensor:
    """Cut out the square around a centre: float32 ``(3, size, size)``, ``fill`` outside the image.

    Equals torch's bilinear resize (no antialiasing) of the square cut out and filled, but reads
    only the pixels it samples: a square of the size of the image costs no more than a small one.
    """
    height, width = image.shape[1:]
    rows, down = _sampled(centre_xy[1], side, height, size)
    columns, right = _sampled(centre_xy[0], side, width, size)
    pixels = image[:, rows.clamp(0, height - 1)][:, :, columns.clamp(0, width - 1)]
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    pixels = torch.where(inside, pixels.to("cpu", torch.float32), fill[:, None, None])
    pixels = pixels[..., :size] * (1 - right) + pixels[..., size:] * right
    down = down[:, None]
    return pixels[:, :size] * (1 - down) + pixels[:, size:] * down


def _sampled(centre: Tensor, side: Tensor, length: int, size: int) -> tuple[Tensor, Tensor]:
    """The pixels ``(2 * size,)`` to mix along one axis, and the share ``(size,)`` of the second.

    The reference's span: ends truncated toward zero, the last included, unless it would be the
    first beyond what the image and its padding have: then the span is a pixel shorter.
    """
    first, last = int(centre - side / 2), int(centre + side / 2)
    count = max(min(last + 1, max(last, length)) - first, 1)
    at = (torch.arange(size, device="cpu") + 0.5) * (count / size) - 0.5
    at = at.clamp(min=0)
    near = at.long()
    far = (near + 1).clamp(max=count - 1)
    return torch.cat([near, far]) + first, at - near


def _centre_and_size(boxes_xyxy: Tensor) -> Tensor:
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return torch.cat([(low + high) * 0.5, high - low], dim=-1)


def _kept_within(box: Tensor, shape: torch.Size) -> Tensor:
    """The box cxcywh with its centre in the image and its sides in [10, the image's]."""
    extent = torch.tensor([shape[2], shape[1]], dtype=torch.float32, device="cpu")
    centre = box[:2].clamp(min=0).minimum(extent)
    return torch.cat([centre, box[2:].clamp(min=_LEAST_SIDE).minimum(extent)])


def _check_image(image: Tensor, *, like: torch.Size | None = None) -> None:
    kind = f"{image.dtype} {tuple(image.shape)}"
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3 or not image.numel():
        raise UserError(f"the image is {kind}; expected torch.uint8 (3, height, width)")
    if like is not None and image.shape != like:
        raise UserError(
            f"the image is {kind}, the video's first was {tuple(like)}; all images of a video must "
            "have one size"
        )


def _checked_box(box_xyxy: Tensor, image: Tensor) -> Tensor:
    """The box in fp32 on the CPU, or an error that says why it cannot be tracked."""
    if box_xyxy.shape != (4,):
        raise ValueError(f"the start box is of shape {tuple(box_xyxy.shape)}; expected (4,)")
    box = box_xyxy.to("cpu", torch.float32)
    fault = start_box_fault(box, (image.shape[1], image.shape[2]))
    if fault is not None:
        raise UserError(f"the start box xyxy {box.tolist()} {fault}")
    return box


def _finite(values: Tensor, what: str, frame_index: int) -> Tensor:
    """The values in fp32 on the CPU, or an error that names the frame and the first bad row."""
    values = values.to("cpu", torch.float32)
    broken = (~torch.isfinite(values)).nonzero()[:, 0].unique().tolist()
    if broken:
        raise NonFiniteOutputError(
            f"{what} of frame_index {frame_index} not finite in {len(broken)} of {len(values)} "
            f"rows; row {broken[0]} is {values[broken[0]].tolist()}"
        )
    return values
