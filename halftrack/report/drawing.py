"""Draws detections into frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from halftrack.frames import Detections

__all__ = ["draw_detections"]

_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#00a0a0", "#f032e6", "#808000")


def draw_detections(
    image: Tensor, detections: Detections, *, classes: Sequence[str], threshold: float = 0.5
) -> Image.Image:
    """The frame with a labelled box for every detection scored at least ``threshold``.

    Args:
        image: uint8 ``(3, height, width)`` RGB at original size, the size the boxes are in.
        detections: what was found.
        classes: names of the classes, in the order of the labels.
        threshold: least score drawn.
    """
    if image.dtype != torch.uint8 or image.dim() != 3 or image.shape[0] != 3:
        raise ValueError(
            f"expected a uint8 (3, height, width) image, got {image.dtype} {tuple(image.shape)}"
        )
    picture = Image.fromarray(image.permute(1, 2, 0).cpu().numpy())
    draw = ImageDraw.Draw(picture)
    rows = zip(
        detections.boxes_xyxy.tolist(),
        detections.scores.tolist(),
        detections.labels.tolist(),
        strict=True,
    )
    for box, score, label in rows:
        if score < threshold:
            continue
        colour = _COLOURS[label % len(_COLOURS)]
        draw.rectangle(box, outline=colour, width=2)
        text = f"{classes[label]} {score:.2f}"
        corner = (box[0] + 2, max(box[1] - 12, 0))
        draw.rectangle(draw.textbbox(corner, text), fill="white")
        draw.text(corner, text, fill=colour)
    return picture
