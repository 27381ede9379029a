"""Training samples a second: halftrack's clips against the same steps written plainly with OpenCV.

Usage: ``python benchmarks/data.py DATA_ROOT [--rounds 10] [--clips 200]``. Both read the same clips
with two DataLoader workers of one thread each; rounds are interleaved.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from halftrack.data.images import network_size
from halftrack.data.ordered_batches import epoch_order, sample_random
from halftrack.data.vid import TrainingClips, VidDataConfig
from halftrack.data.vid.frames import bilateral_uniform

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
    count = min(options.clips, len(clips))
    order = epoch_order(0, 0, len(clips))[:count]
    plain = DataLoader(
        Plain(clips, order),
        batch_size=None,
        num_workers=WORKERS,
        prefetch_factor=4,
        persistent_workers=True,
        worker_init_fn=one_thread,
        collate_fn=list,
    )

    def ours() -> int:
        return sum(1 for _ in clips.batches(seed=0, epoch=0, stop=count, workers=WORKERS))

    def theirs() -> int:
        return sum(1 for _ in plain)

    ours(), theirs()
    pairs = [(rate(ours), rate(theirs)) for _ in range(options.rounds)]
    for name, column in (("halftrack", 0), ("plain OpenCV", 1)):
        values = [pair[column] for pair in pairs]
        print(
            f"{name:13s} median {statistics.median(values):6.1f} clips/s "
            f"(min {min(values):.1f}, max {max(values):.1f}, {len(values)} rounds)"
        )
    ratios = [a / b for a, b in pairs]
    print(f"ratio median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    clips.close()


if __name__ == "__main__":
    main()
