"""Textures of the synthetic world: grounds, individuals, posts and walls, all made from noise.

Pictures with an outline are premultiplied RGBA (PIL's ``RGBa``), which scale without dark rims.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["SPRITE_REACH", "ground", "individual", "post"]

Array = NDArray[np.float32]

SPRITE_REACH = 1.16
"""Half the side of an individual's picture, in units in which the individual is -1 to 1."""

_SPRITE = 128
_LIGHT = np.asarray([-0.5, -0.75], dtype=np.float32)  # from the upper left, as in most drawings

# Muted, so that the classes' colours stand out; each from low to high ground.
_GROUNDS = (
    ((86, 96, 70), (126, 132, 96), (168, 162, 126)),
    ((136, 116, 92), (178, 158, 128), (206, 190, 160)),
    ((72, 79, 90), (112, 118, 126), (158, 160, 162)),
    ((84, 73, 88), (128, 111, 118), (176, 156, 150)),
)
_COLOURS = ((206, 58, 46), (52, 160, 74), (54, 88, 206), (232, 182, 38))
_MARKS = ((250, 244, 228), (36, 34, 40))


def ground(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Draw a lit relief in muted colours, of a given height and width."""
    relief = _noise(rng, size, cells=5, octaves=5)
    tones = _GROUNDS[int(rng.integers(len(_GROUNDS)))]
    stops = np.linspace(0.0, 1.0, len(tones))
    colour = np.stack([np.interp(relief, stops, [tone[c] for tone in tones]) for c in range(3)], -1)
    slope = np.gradient(relief)
    light = np.clip(1.0 - 9.0 * (slope[1] * _LIGHT[0] + slope[0] * _LIGHT[1]), 0.72, 1.25)
    grain = rng.normal(0.0, 4.0, (*size, 1))
    return Image.fromarray(_bytes(colour * light[..., None] + grain))


def individual(rng: np.random.Generator, label: int) -> Image.Image:
    """Draw one individual: shape and colour of its class; tint, pattern, tilt and build its own."""
    side = 2 * _SPRITE  # drawn at twice the size: smooth outlines
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 * SPRITE_REACH - SPRITE_REACH
    x, y = np.meshgrid(axis, axis)
    tilt = rng.uniform(-0.2, 0.2)
    build = rng.uniform(0.84, 1.0, 2)
    u = (np.cos(tilt) * x + np.sin(tilt) * y) / build[0]
    v = (np.cos(tilt) * y - np.sin(tilt) * x) / build[1]
    inside, light = _SHAPES[label](u, v)
    tint = np.asarray(_COLOURS[label]) + rng.uniform(-26, 26, 3)
    mark = np.asarray(_MARKS[int(rng.integers(len(_MARKS)))])
    pattern = _pattern(rng, u, v)[..., None]
    colour = (tint * (1 - pattern) + mark * pattern) * light[..., None]
    solid = np.concatenate([np.clip(colour, 0, 255), np.full_like(pattern, 255)], axis=2)
    picture = np.where(inside[..., None], solid, 0.0)
    return _premultiplied(picture.reshape(_SPRITE, 2, _SPRITE, 2, 4).mean(axis=(1, 3)))


def post(rng: np.random.Generator, size: tuple[int, int], *, planks: bool) -> Image.Image:
    """Draw an upright thing to pass behind: a round trunk, or a wall of planks."""
    width = size[1]
    across = (np.arange(width, dtype=np.float32) + 0.5) / width
    bark = _noise(rng, size, cells=3, octaves=4)
    tone = np.asarray(((104, 90, 76), (92, 94, 98), (120, 108, 92))[int(rng.integers(3))])
    if planks:
        boards = max(round(width / 11), 2)
        light = 0.9 + 0.25 * ((across * boards) % 1.0 > 0.12)
        light = light * (1 + 0.08 * np.sin(7.0 * np.floor(across * boards)))
    else:
        light = 0.55 + 0.75 * np.sqrt(np.clip(1 - (2 * across - 0.8) ** 2, 0.0, 1.0))
    shade = light[None, :] * (0.75 + 0.5 * bark)
    colour = np.clip(tone * shade[..., None], 0, 255)
    return _premultiplied(np.concatenate([colour, np.full((*size, 1), 255.0)], axis=2))


def _disc(u: Array, v: Array) -> tuple[NDArray[np.bool_], Array]:
    radius = np.hypot(u, v)
    ball = np.sqrt(np.clip(1 - radius**2, 0.0, 1.0))
    return radius <= 1, 0.62 + 0.42 * ball + 0.22 * (u * _LIGHT[0] + v * _LIGHT[1])


def _kite(u: Array, v: Array) -> tuple[NDArray[np.bool_], Array]:
    return np.abs(u) + np.abs(v) <= 1, np.where(u < 0, 1.1, 0.8) * np.where(v < 0, 1.05, 0.9)


def _crate(u: Array, v: Array) -> tuple[NDArray[np.bool_], Array]:
    edge = np.maximum(np.abs(u), np.abs(v))
    return edge <= 0.86, np.where(edge > 0.72, 0.68, 1.0) * (1.0 - 0.12 * v)


def _ring(u: Array, v: Array) -> tuple[NDArray[np.bool_], Array]:
    radius = np.hypot(u, v)
    bulge = np.sqrt(np.clip(1 - ((radius - 0.76) / 0.26) ** 2, 0.0, 1.0))
    return (radius <= 1) & (radius >= 0.52), 0.62 + 0.45 * bulge - 0.12 * v


_SHAPES: tuple[Callable[[Array, Array], tuple[NDArray[np.bool_], Array]], ...] = (
    _disc,
    _kite,
    _crate,
    _ring,
)


def _pattern(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Share of the second colour at each pixel of the individual, 0 to 1."""
    angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * u + np.sin(angle) * v
    across = np.cos(angle) * v - np.sin(angle) * u
    waves = rng.uniform(4.0, 9.0)
    kind = int(rng.integers(5))
    if kind == 0:  # stripes
        value = np.sin(waves * along + phase)
    elif kind == 1:  # checks
        value = np.sin(waves * along + phase) * np.sin(waves * across + phase) * 2
    elif kind == 2:  # spots
        value = np.cos(waves * along + phase) + np.cos(waves * across) - 0.9
    elif kind == 3:  # spokes
        value = np.sin(int(rng.integers(3, 7)) * np.arctan2(v, u) + phase)
    else:  # waves
        value = np.sin(waves * along + 1.6 * np.sin(0.6 * waves * across) + phase)
    # The mark covers less than half and lets the class's colour through.
    strength = rng.uniform(0.4, 0.75)
    mark: Array = (strength * np.clip(3.0 * (value - 0.35), 0.0, 1.0)).astype(np.float32)
    return mark


def _noise(rng: np.random.Generator, size: tuple[int, int], *, cells: int, octaves: int) -> Array:
    """Draw smooth noise from 0 to 1: each octave is twice as fine and about half as strong."""
    height, width = size
    total = np.zeros(size, dtype=np.float32)
    for octave in range(octaves):
        grid = rng.uniform(-1.0, 1.0, (cells << octave, cells << octave)).astype(np.float32)
        layer = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(layer) * 0.55**octave
    total -= total.min()
    scaled: Array = total / max(float(total.max()), 1e-6)
    return scaled


def _bytes(picture: NDArray[np.floating]) -> NDArray[np.uint8]:
    whole: NDArray[np.uint8] = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return whole


def _premultiplied(picture: NDArray[np.floating]) -> Image.Image:
    rows, columns = picture.shape[:2]
    return Image.frombytes("RGBa", (columns, rows), _bytes(picture).tobytes())
