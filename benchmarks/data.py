"""Training samples a second: halftrack's clips against the same steps written plainly with OpenCV.

Usage: ``python benchmarks/data.py DATA_ROOT [--rounds 10] [--clips 200]``. All read the same clips
with two DataLoader workers of one thread each; rounds are interleaved. First comes the time of each
pass over an image's pixels.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from measure import machine
from torch.utils.data import DataLoader, Dataset

from halftrack.data.images import load_image, network_size
from halftrack.data.ordered_batches import epoch_order, sample_random
from halftrack.data.vid import TrainingClips, VidDataConfig
from halftrack.data.vid.frames import bilateral_uniform
from halftrack.frames import resized

MEAN = np.array((123.675, 116.28, 103.53), dtype=np.float32)
STD = np.array((58.395, 57.12, 57.375), dtype=np.float32)
WORKERS = 2


class Plain(Dataset):
    """imread, cvtColor, resize, flip, normalise in float32, pad to 16, CHW tensor."""

    def __init__(self, clips: TrainingClips, order: np.ndarray) -> None:
        self.clips, self.order = clips, order
        self.keys = clips.indexes[0].training_keys(min_size=32)

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        sample = int(self.order[position])
        index = self.clips.indexes[0]
        key = int(self.keys[sample])
        start, stop = index.span(index.video_of(key))
        rng = sample_random(0, 0, sample)
        references = bilateral_uniform(
            key - start, stop - start, num_references=2, frame_range=9, rng=rng
        )
        flipped = rng.random() < 0.5
        return [self.frame(n, flipped) for n in (key, *(start + r for r in references))]

    def frame(self, number: int, flipped: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One image with its boxes and labels."""
        import cv2

        index = self.clips.indexes[0]
        image = cv2.cvtColor(cv2.imread(index.path(number)), cv2.COLOR_BGR2RGB)
        old_height, old_width = image.shape[:2]
        height, width = network_size(old_height, old_width, (1000, 600))
        image = cv2.resize(image, (width, height))
        if flipped:
            image = cv2.flip(image, 1)
        image = (image.astype(np.float32) - MEAN) / STD
        image = np.pad(image, ((0, -height % 16), (0, -width % 16), (0, 0)))
        at = index.boxes_of(number)
        scale = np.array([width / old_width, height / old_height] * 2, dtype=np.float32)
        boxes = index.boxes_xyxy[at] * scale
        if flipped:
            boxes = np.stack(
                [width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1
            )
        chw = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return chw, torch.from_numpy(boxes), torch.from_numpy(index.labels[at])


def one_thread(worker: int) -> None:
    import cv2

    cv2.setNumThreads(1)


def milliseconds(work: Callable[[], object]) -> float:
    """Processor time of a piece of work, the median of ten."""
    taken = []
    for _ in range(10):
        begin = time.process_time()
        work()
        taken.append(time.process_time() - begin)
    return 1000 * statistics.median(taken)


def tell_passes(clips: TrainingClips, numbers: np.ndarray) -> None:
    """Print the mean time of each pass over an image's pixels, in the order in which they come."""
    index, rows = clips.indexes[0], []
    keys = index.training_keys(min_size=32)
    for number in numbers.tolist():
        path = index.path(int(keys[number]))
        image = load_image(path)
        size = network_size(*image.shape[1:], (1000, 600))
        prepared = resized(image, size)
        works = (
            lambda path=path: load_image(path),
            lambda image=image, size=size: resized(image, size),
            lambda prepared=prepared: prepared.flip(-1),
            lambda prepared=prepared: prepared.clone(),
        )
        rows.append([milliseconds(work) for work in works])
    names = ("read and decode", "resize", "mirror (every second)", "copy to shared memory")
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        print(f"{name:22s} {statistics.mean(column):5.2f} ms an image")


def rate(run: Callable[[], int]) -> float:
    """Samples a second of one pass, the start of its workers left out by a warm-up pass."""
    begin = time.perf_counter()
    return run() / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_root")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--clips", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = VidDataConfig(training_sets=("vid",), key_frames="all")
    clips = TrainingClips.open(config, options.data_root)
    decoded = TrainingClips.open(replace(config, resize_on="device"), options.data_root)
    count = min(options.clips, len(clips))
    order = epoch_order(0, 0, len(clips))[:count]
    tell_passes(clips, order[:20])
    plain = DataLoader(
        Plain(clips, order),
        batch_size=None,
        num_workers=WORKERS,
        prefetch_factor=4,
        persistent_workers=True,
        worker_init_fn=one_thread,
        collate_fn=list,
    )

    def ours(source: TrainingClips) -> int:
        return sum(1 for _ in source.batches(seed=0, epoch=0, places=range(count), workers=WORKERS))

    runs: dict[str, Callable[[], int]] = {
        "halftrack": lambda: ours(clips),
        "halftrack, resize_on=device": lambda: ours(decoded),
        "plain OpenCV": lambda: sum(1 for _ in plain),
    }
    for run in runs.values():
        run()
    rounds = [[rate(run) for run in runs.values()] for _ in range(options.rounds)]
    for name, values in zip(runs, zip(*rounds, strict=True), strict=True):
        print(
            f"{name:27s} median {statistics.median(values):6.1f} clips/s "
            f"(min {min(values):.1f}, max {max(values):.1f}, {len(values)} rounds)"
        )
    for name, over, under in (("halftrack / plain", 0, 2), ("resize_on=device / cpu", 1, 0)):
        ratios = [row[over] / row[under] for row in rounds]
        middle = statistics.median(ratios)
        print(f"{name}: median {middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(machine())
    clips.close()
    decoded.close()


if __name__ == "__main__":
    main()
