"""Camera motion: EccMotion against cv2.findTransformECC, time and corner error at known motions.

    python benchmarks/ecc.py [--rounds 10] [--threads 2] [--levels 4] [--frames FOLDER]

Both start from the same uint8 RGB (3, 1080, 1920) tensors and take their turns in one process. With
FOLDER, a folder of images, the scene is also its first frame, warped, and frames that follow each
other as they are, whose true motion is not known: there the two answers are compared. Needs cv2.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from measure import spread
from torch import Tensor

from halftrack.data.images import load_image
from halftrack.tracking import EccMotion

SIZE = (1080, 1920)
MARGIN = 96  # the camera sees new scene at its borders, not black
NOISE = 3.0  # grey levels of each frame's own noise, one standard deviation
MOTIONS = {"small": (1.5, 0.02), "medium": (8.0, 0.5), "large": (30.0, 1.0)}  # pixels, degrees
Pair = tuple[Tensor, Tensor]
Estimate = Callable[[Tensor, Tensor], Tensor]


def euclidean(shift: float, degrees: float, heading: float) -> Tensor:
    """A turn around the middle of the frame and a shift by so many pixels; ``(3, 3)`` float64."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = (SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2
    dx, dy = shift * math.cos(heading), shift * math.sin(heading)
    rows = [[cos, -sin, x - cos * x + sin * y + dx], [sin, cos, y - sin * x - cos * y + dy]]
    return torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float64)


def textured_scene() -> Tensor:
    """Blobs of 4 to 128 pixels in colour, larger than a frame by the margin."""
    height, width = SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN
    generator = torch.Generator().manual_seed(0)
    scene = torch.full((3, height, width), 120.0)
    for side, contrast in ((4, 24), (8, 36), (32, 72), (128, 96)):
        blobs = torch.rand((1, 3, height // side, width // side), generator=generator) - 0.5
        scene += contrast * F.interpolate(blobs, size=(height, width), mode="bicubic")[0]
    return scene


def real_scene(image: Tensor) -> Tensor:
    """A real frame enlarged to the size of a scene."""
    size = [SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN]
    return F.interpolate(image[None].float(), size=size, mode="bicubic")[0]


def two_frames(scene: Tensor, warp: Tensor, seed: int) -> Pair:
    """uint8 frames of one scene, whose pixels ``warp`` takes across, each with its own noise."""
    y, x = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    at = torch.stack([x, y, torch.ones_like(x)], dim=-1).double() @ warp.inverse().T
    size = torch.tensor([scene.shape[2], scene.shape[1]])
    grid = ((2 * (at[..., :2] + MARGIN) + 1) / size - 1).float()
    second = F.grid_sample(scene[None], grid[None], mode="bicubic", align_corners=False)[0]
    first = scene[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    generator = torch.Generator().manual_seed(seed)
    noisy = [
        frame + NOISE * torch.randn(frame.shape, generator=generator) for frame in (first, second)
    ]
    first, second = (frame.clamp(0, 255).round().to(torch.uint8).contiguous() for frame in noisy)
    return first, second


def enlarged(image: Tensor) -> Tensor:
    """A whole real frame at the size of the benchmark, uint8."""
    large = F.interpolate(image[None].float(), size=list(SIZE), mode="bicubic")[0]
    return large.clamp(0, 255).round().to(torch.uint8)


def by_cv2(first: Tensor, second: Tensor) -> Tensor:
    """As MMTracking 0.14 calls it, whose images are (height, width, 3) arrays already."""
    grey = [
        cv2.cvtColor(image.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY).astype(np.float32)
        for image in (first, second)
    ]
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-5)
    start = np.eye(2, 3, dtype=np.float32)
    _, warp = cv2.findTransformECC(*grey, start, cv2.MOTION_EUCLIDEAN, criteria, None, 1)
    return torch.from_numpy(warp)


def corner_error(warp: Tensor, expected: Tensor) -> float:
    """Greatest distance in pixels at the corners of the frame."""
    right, bottom = SIZE[1] - 1, SIZE[0] - 1
    corners = torch.tensor([[0, 0, 1], [right, 0, 1], [0, bottom, 1], [right, bottom, 1]]).double()
    apart = corners @ (warp.double()[:2] - expected.double()[:2]).T
    return float(apart.norm(dim=1).max())


def in_turns(pairs: list[Pair], works: list[Estimate]) -> tuple[list[list[float]], list[Tensor]]:
    """Seconds and warps of each piece of work, a row a pair; who begins alternates."""
    for work in works:  # the first call of anything is slower
        work(*pairs[0])
    seconds, warps = [], []
    for number, pair in enumerate(pairs):
        row, found = [0.0] * len(works), [torch.empty(0)] * len(works)
        order = range(len(works)) if number % 2 else reversed(range(len(works)))
        for which in order:
            start = time.perf_counter()
            found[which] = works[which](*pair)
            row[which] = time.perf_counter() - start
        seconds.append(row)
        warps.append(torch.stack(found))
    return seconds, warps


def report(name: str, seconds: list[list[float]], ours: list[float], theirs: list[float]) -> None:
    """One row of the note: times, ratio and corner errors."""
    times = " | ".join(
        f"{1e3 * statistics.median(column):.0f} ({1e3 * min(column):.0f}) ms"
        for column in zip(*seconds, strict=True)
    )
    ratio = spread([row[1] / row[0] for row in seconds])
    errors = " | ".join(
        f"{statistics.median(errors):.4f} ({max(errors):.4f})" for errors in (ours, theirs)
    )
    print(f"| {name} | {times} | {ratio} | {errors} |")


def known_motions(name: str, scene: Tensor, motion: EccMotion, rounds: int) -> None:
    for case, (shift, degrees) in MOTIONS.items():
        headings = [2 * math.pi * (number + 0.5) / rounds for number in range(rounds)]
        warps = [
            euclidean(shift, degrees if number % 2 else -degrees, heading)
            for number, heading in enumerate(headings)
        ]
        pairs = [two_frames(scene, warp, seed) for seed, warp in enumerate(warps)]
        seconds, found = in_turns(pairs, [motion, by_cv2])
        errors = [
            [corner_error(both[which], warp) for both, warp in zip(found, warps, strict=True)]
            for which in (0, 1)
        ]
        report(f"{name}, {case}: {shift:g} px, {degrees:g} deg", seconds, *errors)


def real_neighbours(folder: Path, motion: EccMotion, rounds: int) -> None:
    """Frames that follow each other: how long, and how far the two answers lie apart."""
    files = sorted(folder.glob("*.jpg"))[: rounds + 1]
    images = [enlarged(load_image(file)) for file in files]
    seconds, found = in_turns(list(itertools.pairwise(images)), [motion, by_cv2])
    apart = [corner_error(both[0], both[1]) for both in found]
    still = [corner_error(both[1], torch.eye(3)) for both in found]
    report("real frames that follow each other: apart (from cv2), from rest", seconds, apart, still)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--frames", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    motion = EccMotion(levels=options.levels, stride=options.stride)
    print("| case | EccMotion | cv2 | cv2 / EccMotion | our corner error | cv2's |")
    print("|---|---|---|---|---|---|")
    known_motions("textured", textured_scene(), motion, options.rounds)
    if options.frames is not None:
        first = load_image(min(options.frames.glob("*.jpg")))
        known_motions("real", real_scene(first), motion, options.rounds)
        real_neighbours(options.frames, motion, options.rounds)
    print(
        f"{motion}; {os.cpu_count()} {platform.machine()} cores, {torch.get_num_threads()} torch "
        f"and {cv2.getNumThreads()} cv2 threads, torch {torch.__version__}, cv2 {cv2.__version__}, "
        f"Python {platform.python_version()}; load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
