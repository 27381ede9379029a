"""A small world to film: textured objects of three classes over a panning background.

Objects differ by class in colour and shape, and by individual in tint and texture, so that they can
be told apart and recognised again. They pass over each other and behind pillars, change size, blur,
enter and leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

__all__ = ["SAMPLE_CLASSES", "SeenObject", "Shot", "film"]

SAMPLE_CLASSES: tuple[tuple[str, str], ...] = (
    ("disc", "n90000001"),
    ("kite", "n90000002"),
    ("crate", "n90000003"),
)
"""Name and WordNet-like id of each class of the sample video."""

_SPRITE = 96  # pixels a side an individual is painted at, before it is scaled into the frame
_BASE_COLOURS = ((205, 60, 50), (60, 170, 70), (60, 90, 205))


@dataclass(frozen=True, kw_only=True)
class SeenObject:
    """One object in one frame."""

    identity: int
    """Individual within the shot, from 0."""
    label: int
    """Index into ``SAMPLE_CLASSES``."""
    box_xyxy: tuple[float, float, float, float]
    """Full extent in pixels; may leave the image."""
    visible: float
    """Share of the object's pixels that are inside the image and not covered."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One frame of a film: the picture and the objects near it, hidden ones included."""

    image: Image.Image
    objects: tuple[SeenObject, ...]


@dataclass(frozen=True, kw_only=True)
class _Actor:
    label: int
    sprite: Image.Image
    centre: NDArray[np.float64]
    velocity: NDArray[np.float64]
    sway: NDArray[np.float64]
    size: float
    growth: float
    period: float

    def box(self, time: float) -> tuple[float, float, float, float]:
        x, y = self.centre + self.velocity * time + self.sway * np.sin(time / self.period)
        half = 0.5 * self.size * (1.0 + self.growth * np.sin(time / self.period))
        return float(x - half), float(y - half), float(x + half), float(y + half)


def film(
    rng: np.random.Generator,
    *,
    frames: int,
    size: tuple[int, int],
    objects: int,
    label: int | None = None,
    pillars: int = 1,
) -> Iterator[Shot]:
    """Film ``objects`` for a number of frames.

    Args:
        rng: the only source of randomness.
        frames: length of the film.
        size: height and width in pixels.
        objects: how many individuals there are.
        label: class of all of them; None to draw each.
        pillars: static things they pass behind.
    """
    height, width = size
    pan = rng.uniform(-1.2, 1.2, 2)
    margin = int(np.ceil(np.abs(pan).max() * frames)) + 2
    background = _texture(rng, (height + 2 * margin, width + 2 * margin), cells=14, contrast=70)
    actors = [_actor(rng, frames, size, label) for _ in range(objects)]
    posts = [_pillar(rng, size) for _ in range(pillars)]
    focus = float(rng.uniform(0.0, 0.8))
    for time in range(frames):
        shift = np.rint(margin + pan * time).astype(int)
        image = background.crop((shift[0], shift[1], shift[0] + width, shift[1] + height))
        owner = Image.new("L", (width, height), 0)
        painted = []
        for identity, actor in enumerate(actors):
            painted.append(_paint(image, owner, actor, identity + 1, time, focus))
        for x, post in posts:
            image.paste(post, (x, 0))
            owner.paste(255, (x, 0, x + post.width, height))
        seen_pixels = np.bincount(np.asarray(owner).ravel(), minlength=256)
        yield Shot(
            image=image,
            objects=tuple(
                SeenObject(
                    identity=identity,
                    label=actor.label,
                    box_xyxy=actor.box(time),
                    visible=float(seen_pixels[identity + 1] / max(area, 1)),
                )
                for identity, (actor, area) in enumerate(zip(actors, painted, strict=True))
            ),
        )


def _texture(
    rng: np.random.Generator, size: tuple[int, int], *, cells: int, contrast: float
) -> Image.Image:
    """A smooth random picture of muted colours with some grain."""
    height, width = size
    coarse = rng.uniform(128 - contrast, 128 + contrast, (cells, cells, 3)).astype(np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    grey = np.asarray(picture.convert("L").convert("RGB"), dtype=np.float32)
    grain = rng.normal(0.0, 6.0, (height, width, 1)).astype(np.float32)
    mixed = 0.45 * np.asarray(picture, dtype=np.float32) + 0.55 * grey + grain
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))


def _actor(
    rng: np.random.Generator, frames: int, size: tuple[int, int], label: int | None
) -> _Actor:
    height, width = size
    label = int(rng.integers(len(SAMPLE_CLASSES))) if label is None else label
    # Somewhere in mid-film the object stands well inside the image; before and after it may be
    # outside.
    middle = rng.uniform((0.15 * width, 0.2 * height), (0.85 * width, 0.8 * height))
    velocity = rng.uniform((-1.0, -0.5), (1.0, 0.5)) * width / 160
    return _Actor(
        label=label,
        sprite=_sprite(rng, label),
        centre=middle - velocity * rng.uniform(0.3, 0.7) * frames,
        velocity=velocity,
        sway=rng.uniform(0, 0.05, 2) * (width, height),
        size=float(rng.uniform(0.2, 0.42) * height),
        growth=float(rng.uniform(0.0, 0.2)),
        period=float(rng.uniform(5, 12)),
    )


def _sprite(rng: np.random.Generator, label: int) -> Image.Image:
    """One individual, RGBA: the class gives shape and colour, the individual tint, pattern and its phase."""
    y, x = np.mgrid[0:_SPRITE, 0:_SPRITE] / (_SPRITE - 1) * 2 - 1
    radius = np.hypot(x, y)
    if label == 0:
        inside, pattern = radius <= 1.0, np.cos(rng.uniform(6, 14) * radius)
    elif label == 1:
        inside, pattern = np.abs(x) + np.abs(y) <= 1.0, np.sign(x * y)
    else:
        inside, pattern = np.maximum(np.abs(x), np.abs(y)) <= 1.0, np.cos(rng.uniform(8, 16) * x)
    angle = rng.uniform(0, 2 * np.pi)
    spots = np.cos(rng.uniform(3, 9) * (x * np.cos(angle) + y * np.sin(angle)) + angle)
    tint = np.asarray(_BASE_COLOURS[label]) + rng.uniform(-35, 35, 3)
    shade = 38 * pattern + rng.uniform(5, 30) * spots
    colour = np.clip(tint + shade[..., None], 0, 255)
    alpha = np.where(inside, 255, 0)[..., None]
    return Image.fromarray(np.concatenate([colour, alpha], axis=2).astype(np.uint8))


def _pillar(rng: np.random.Generator, size: tuple[int, int]) -> tuple[int, Image.Image]:
    height, width = size
    pillar_width = int(rng.uniform(0.04, 0.08) * width)
    bark = _texture(rng, (height, pillar_width), cells=6, contrast=35)
    return int(rng.uniform(0.1, 0.9) * (width - pillar_width)), bark


def _paint(
    image: Image.Image, owner: Image.Image, actor: _Actor, number: int, time: int, focus: float
) -> int:
    """Paint one actor over what is there; returns the pixels it would have if nothing hid it."""
    x1, y1, x2, y2 = (int(round(v)) for v in actor.box(time))
    sprite = actor.sprite.resize((max(x2 - x1, 1), max(y2 - y1, 1)), Image.Resampling.BILINEAR)
    alpha = sprite.getchannel("A")
    solid = alpha.point(lambda value: 255 if value > 127 else 0)
    speed = float(np.hypot(*actor.velocity))
    if focus + 0.25 * speed > 0.5:
        sprite = sprite.filter(ImageFilter.BoxBlur(min(focus + 0.25 * speed, 1.2)))
    image.paste(sprite, (x1, y1), alpha)
    owner.paste(number, (x1, y1), solid)
    return int(np.count_nonzero(np.asarray(solid)))
