"""Small world to film: textured individuals of four classes over a panning ground.

Classes differ in colour and shape, individuals in tint, texture and build, so that they can be told
apart and recognised again. They pass over each other and behind posts, change size, blur, enter and
leave.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from halftrack.synthetic.canvas import Array, Canvas, blend, scaled_into
from halftrack.synthetic.textures import SPRITE_REACH, ground, individual, post
from halftrack.synthetic.trajectories import Path, crossing, excursion, wander

__all__ = ["SYNTHETIC_CLASSES", "Absence", "SeenObject", "Shot", "film"]

SYNTHETIC_CLASSES: tuple[tuple[str, str], ...] = (
    ("disc", "n90000001"),
    ("kite", "n90000002"),
    ("crate", "n90000003"),
    ("ring", "n90000004"),
)
"""Name and WordNet-like id of each class of synthetic video."""

Absence = Literal["none", "hidden", "outside"]
"""Absence of the first individual in mid-film: none, behind a wall, or outside the image."""

_EXPOSURE = 0.5  # share of the time between frames in which the shutter is open
_NOISE = 2.5  # standard deviation of the camera's noise, in grey levels


@dataclass(frozen=True, kw_only=True)
class SeenObject:
    """One individual in one frame."""

    identity: int
    """Number of the individual in the film, from 0."""
    label: int
    """Index into ``SYNTHETIC_CLASSES``."""
    box_xyxy: tuple[float, float, float, float]
    """Full box in pixels; parts may lie outside the image."""
    visible_xyxy: tuple[int, int, int, int] | None
    """Tight box around the pixels of it that can be seen; None if there are none."""
    visible: float
    """Share of its pixels that are inside the image and not covered."""
    inside: float
    """Share of its pixels that are inside the image, covered or not."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One frame of a film."""

    image: Image.Image
    """RGB image."""
    objects: tuple[SeenObject, ...]
    """All individuals, by number, with those that are hidden or absent."""


@dataclass(frozen=True, kw_only=True)
class _Actor:
    identity: int
    label: int
    picture: Image.Image
    extent: tuple[float, float, float, float]
    """x1, y1, x2, y2 of the solid part of the picture, in units of half the actor's size."""
    path: Path


@dataclass(frozen=True, kw_only=True)
class _Post:
    picture: Image.Image
    corner: tuple[float, float]
    """Upper left corner on the ground, in pixels."""


def film(
    rng: np.random.Generator,
    *,
    frames: int,
    size: tuple[int, int],
    labels: Sequence[int],
    posts: int = 1,
    absence: Absence = "none",
) -> Iterator[Shot]:
    """Film individuals of given classes, frame by frame.

    Args:
        rng: the only source of randomness.
        frames: length of the film.
        size: height and width in pixels.
        labels: class of each individual; the first stays in the image unless ``absence`` is set.
        posts: number of static things that they pass before and behind.
        absence: the absence of the first individual in mid-film.
    """
    height, width = size
    # A panning camera would carry the wall over a target that it must not hide yet.
    camera = _camera(rng, frames, size, reach=0.03 if absence == "hidden" else 0.14)
    margin = np.ceil(np.abs(camera).max(axis=0)).astype(int) + 2
    scenery = ground(rng, (height + 2 * int(margin[1]), width + 2 * int(margin[0])))
    paths = _paths(rng, frames, size, len(labels), absence)
    actors = [_actor(rng, number, label, paths[number]) for number, label in enumerate(labels)]
    scene: list[_Actor | _Post] = [actors[i] for i in _depth_order(rng, paths)]
    for _ in range(posts):
        scene.insert(int(rng.integers(len(scene) + 1)), _trunk(rng, size, int(margin[1])))
    if absence == "hidden":
        scene.append(_wall(rng, size, int(margin[1]), paths[0], camera))
    haze = rng.uniform(0.0, 0.5)
    focus = haze + rng.uniform(0.0, 0.7) * np.clip(
        np.sin(np.arange(frames) / rng.uniform(4, 9) + rng.uniform(0, 6)), 0, 1
    )
    noise = rng.normal(0.0, _NOISE, (height + 64, width + 64, 1)).astype(np.float32)
    for time in range(frames):
        canvas = Canvas(
            image=_view(scenery, camera[time] + margin, size),
            owner=np.zeros(size, dtype=np.uint8),
        )
        areas = [(0, 0)] * len(actors)
        for thing in scene:
            if isinstance(thing, _Actor):
                areas[thing.identity] = _paint_actor(canvas, thing, time)
            else:
                _paint_post(canvas, thing, camera[time])
        top, left = rng.integers(0, 65, 2)
        grainy = canvas.image + noise[top : top + height, left : left + width]
        image = Image.fromarray(np.clip(grainy, 0, 255).astype(np.uint8))
        if focus[time] > 0.3:
            image = image.filter(ImageFilter.BoxBlur(float(focus[time])))
        seen = [_seen(canvas, actor, areas[actor.identity], time) for actor in actors]
        yield Shot(image=image, objects=tuple(seen))


def _camera(
    rng: np.random.Generator, frames: int, size: tuple[int, int], *, reach: float
) -> NDArray[np.float64]:
    """Positions of the camera, ``(frames, 2)`` as x and y on the ground, swaying about 0."""
    height, width = size
    span = rng.uniform(0.2, 1.0, 2) * reach * np.asarray([width, 0.6 * height])
    speed = rng.uniform(0.2, 1.6) * width / 320
    time = np.arange(frames)[:, None]
    look: NDArray[np.float64] = span * np.sin(time * speed / span + rng.uniform(0, 2 * np.pi, 2))
    return look


def _paths(
    rng: np.random.Generator, frames: int, size: tuple[int, int], count: int, absence: Absence
) -> list[Path]:
    paths: list[Path] = []
    for number in range(count):
        if number == 0 and absence == "hidden":
            paths.append(crossing(rng, frames=frames, size=size))
        elif number == 0 and absence == "outside":
            paths.append(excursion(rng, frames=frames, size=size))
        else:
            paths.append(wander(rng, frames=frames, size=size, stays=number == 0, others=paths))
    return paths


def _depth_order(rng: np.random.Generator, paths: Sequence[Path]) -> list[int]:
    """Order of painting; the first individual is last if another would hide it at the start."""
    order = [int(i) for i in rng.permutation(len(paths))]
    target = paths[0]
    for other in paths[1:]:
        apart = np.abs(other.centres[0] - target.centres[0]).max()
        if apart < 0.5 * (other.sizes[0] + target.sizes[0]):
            order.remove(0)
            return [*order, 0]
    return order


def _actor(rng: np.random.Generator, identity: int, label: int, path: Path) -> _Actor:
    picture = individual(rng, label)
    solid = np.asarray(picture)[..., 3] > 127
    columns, rows = np.flatnonzero(solid.any(axis=0)), np.flatnonzero(solid.any(axis=1))
    unit = 2 * SPRITE_REACH / picture.width
    edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    x1, y1, x2, y2 = (float(edge * unit - SPRITE_REACH) for edge in edges)
    return _Actor(
        identity=identity, label=label, picture=picture, extent=(x1, y1, x2, y2), path=path
    )


def _trunk(rng: np.random.Generator, size: tuple[int, int], margin: int) -> _Post:
    height, width = size
    thick = max(int(rng.uniform(0.03, 0.06) * width), 4)
    picture = post(rng, (height + 2 * margin + 2, thick), planks=False)
    return _Post(picture=picture, corner=(rng.uniform(0.08, 0.92) * width, -margin - 1.0))


def _wall(
    rng: np.random.Generator,
    size: tuple[int, int],
    margin: int,
    path: Path,
    camera: NDArray[np.float64],
) -> _Post:
    """A wall that hides the individual for some frames in mid-film.

    It is little wider than the individual, so a tracker that waits in place sees it come out again.
    """
    middle = len(path.sizes) // 2
    wide = int(np.ceil(1.25 * path.sizes.max())) + 4
    picture = post(rng, (size[0] + 2 * margin + 2, wide), planks=True)
    left = path.centres[middle, 0] + camera[middle, 0] - wide / 2
    return _Post(picture=picture, corner=(float(left), -margin - 1.0))


def _view(scenery: Image.Image, corner: NDArray[np.float64], size: tuple[int, int]) -> Array:
    height, width = size
    x, y = (float(v) for v in corner)
    box = (x, y, x + width, y + height)
    return np.asarray(
        scenery.resize((width, height), Image.Resampling.BILINEAR, box=box), dtype=np.float32
    )


def _paint_post(canvas: Canvas, thing: _Post, camera: NDArray[np.float64]) -> None:
    x, y = thing.corner[0] - camera[0], thing.corner[1] - camera[1]
    patch, left, top = scaled_into(
        thing.picture, (x, y, x + thing.picture.width, y + thing.picture.height)
    )
    blend(canvas, patch, left, top, owner=0)


def _paint_actor(canvas: Canvas, actor: _Actor, time: int) -> tuple[int, int]:
    """Paint one actor over what is there.

    Returns:
        The number of its pixels, and the number of those that are inside the image.
    """
    speed = actor.path.speeds[time]
    steps = int(np.clip(np.ceil(_EXPOSURE * np.hypot(*speed)), 1, 6))
    reach = 0.5 * actor.path.sizes[time] * SPRITE_REACH
    patches = []
    for share in np.linspace(-0.5, 0.5, steps) if steps > 1 else (0.0,):
        x, y = actor.path.centres[time] + share * _EXPOSURE * speed
        patches.append(scaled_into(actor.picture, (x - reach, y - reach, x + reach, y + reach)))
    left, top = min(p[1] for p in patches), min(p[2] for p in patches)
    right = max(p[1] + p[0].shape[1] for p in patches)
    bottom = max(p[2] + p[0].shape[0] for p in patches)
    smeared = np.zeros((bottom - top, right - left, 4), dtype=np.float32)
    for patch, x, y in patches:
        smeared[y - top : y - top + patch.shape[0], x - left : x - left + patch.shape[1]] += patch
    smeared /= steps
    drop = max(int(0.05 * actor.path.sizes[time]), 1)
    shadow = np.zeros_like(smeared)
    shadow[..., 3] = 0.3 * smeared[..., 3]
    blend(canvas, shadow, left + drop, top + 2 * drop, owner=None)
    inside = blend(canvas, smeared, left, top, owner=actor.identity + 1)
    return int(np.count_nonzero(smeared[..., 3] > 127)), inside


def _seen(canvas: Canvas, actor: _Actor, areas: tuple[int, int], time: int) -> SeenObject:
    area, inside = max(areas[0], 1), areas[1]
    x, y = (float(v) for v in actor.path.centres[time])
    half = 0.5 * float(actor.path.sizes[time])
    x1, y1, x2, y2 = actor.extent
    mine = canvas.owner == actor.identity + 1
    columns, rows = np.flatnonzero(mine.any(axis=0)), np.flatnonzero(mine.any(axis=1))
    tight = None
    if len(rows):
        tight = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return SeenObject(
        identity=actor.identity,
        label=actor.label,
        box_xyxy=(x + half * x1, y + half * y1, x + half * x2, y + half * y2),
        visible_xyxy=tight,
        visible=float(np.count_nonzero(mine) / area),
        inside=inside / area,
    )
