"""Paths of the individuals of the synthetic world, frame by frame, in pixels of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Path", "crossing", "excursion", "wander"]

# Top speeds in pixels a frame at a width of 320: about FGFA's slow, medium and fast.
_SPEEDS = ((0.05, 0.3), (0.5, 1.3), (1.8, 4.0))


@dataclass(frozen=True, kw_only=True)
class Path:
    """Position and size of an individual in each frame."""

    centres: NDArray[np.float64]
    """``(frames, 2)`` x and y of the centre."""
    sizes: NDArray[np.float64]
    """``(frames,)`` side of the square that it fills."""

    @property
    def speeds(self) -> NDArray[np.float64]:
        """``(frames, 2)`` speed along x and y, in pixels a frame."""
        if len(self.centres) < 2:
            return np.zeros_like(self.centres)
        moved: NDArray[np.float64] = np.gradient(self.centres, axis=0)
        return moved


def wander(
    rng: np.random.Generator,
    *,
    frames: int,
    size: tuple[int, int],
    stays: bool,
    others: Sequence[Path],
) -> Path:
    """Make a path that swings about a place in the image; far swings leave the image.

    Args:
        rng: source of randomness.
        frames: length of the film.
        size: height and width of the image.
        stays: the path never leaves the image.
        others: paths whose places are avoided, as far as chance allows.
    """
    height, width = size
    extent = np.asarray([width, height], dtype=np.float64)
    inner = np.asarray([0.36, 0.4] if stays else [0.12, 0.2])
    places = rng.uniform(inner * extent, (1 - inner) * extent, (8, 2))
    if others:
        taken = np.stack([other.centres[frames // 2] for other in others])
        apart = np.linalg.norm(places[:, None] - taken[None], axis=2).min(axis=1)
        place = places[apart.argmax()]
    else:
        place = places[0]
    slowest, fastest = _SPEEDS[int(rng.integers(len(_SPEEDS)))]
    speed = rng.uniform(slowest, fastest) * width / 320
    swing = extent * (rng.uniform(0.04, 0.2, 2) if stays else rng.uniform((0.1, 0.04), (0.6, 0.3)))
    direction = rng.choice([-1.0, 1.0], 2) * rng.uniform((0.8, 0.2), (1.0, 0.6))
    time = np.arange(frames)[:, None] - rng.uniform(0.35, 0.65) * frames
    return Path(
        centres=place + swing * np.sin(direction * speed * time / swing),
        sizes=_sizes(rng, frames, height, largest=0.4),
    )


def crossing(rng: np.random.Generator, *, frames: int, size: tuple[int, int]) -> Path:
    """Make a path that crosses the image once, at an even pace."""
    height, width = size
    share = np.linspace(0.12, 0.88, frames)
    x = width * (share if rng.uniform() < 0.5 else 1 - share)
    y = height * (rng.uniform(0.35, 0.65) + 0.06 * np.sin(np.arange(frames) / rng.uniform(6, 12)))
    return Path(centres=np.stack([x, y], axis=1), sizes=_sizes(rng, frames, height, largest=0.27))


def excursion(rng: np.random.Generator, *, frames: int, size: tuple[int, int]) -> Path:
    """Make a path that leaves the image sideways in mid-film and comes back."""
    height, width = size
    sizes = _sizes(rng, frames, height, largest=0.34)
    start = rng.uniform(0.25, 0.45) * width
    out = np.sin(np.pi * np.arange(frames) / max(frames - 1, 1)) ** 2
    # Just out of sight: it comes back where it left, soon enough for one who waits.
    x = start - out * (start + 0.62 * sizes.max())
    if rng.uniform() < 0.5:
        x = width - x
    y = height * (rng.uniform(0.35, 0.65) + 0.08 * np.sin(np.arange(frames) / rng.uniform(6, 12)))
    return Path(centres=np.stack([x, y], axis=1), sizes=sizes)


def _sizes(
    rng: np.random.Generator, frames: int, height: int, *, largest: float
) -> NDArray[np.float64]:
    base = rng.uniform(0.2, largest) * height
    growth, phase = rng.uniform(0.0, 0.18), rng.uniform(0, 2 * np.pi)
    return base * (1 + growth * np.sin(np.arange(frames) / rng.uniform(5, 12) + phase))
