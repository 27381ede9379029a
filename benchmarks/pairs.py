"""Training pairs a second: halftrack's against the same steps written plainly with OpenCV.

Usage: ``python benchmarks/pairs.py DATA [--rounds 10] [--batches 10] [--cache-mb 256]``. DATA holds
``LaSOTBenchmark`` and ``ILSVRC``. Both prepare the same pairs, with 1 and with 2 worker processes
of one thread each; rounds are interleaved.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import torch
from measure import machine
from torch.utils.data import DataLoader, Dataset

from halftrack.data.ordered_batches import epoch_order, sample_random
from halftrack.data.sot import PairBatches, PairDataConfig
from halftrack.data.sot.augment import View
from halftrack.data.sot.pairs import draw_pair
from halftrack.layers import SiameseGeometry

CONFIG = PairDataConfig(
    training_sets=("lasot", "vid"), set_weights=(0.5, 0.5), lasot_split="all", pairs_per_epoch=5000
)
COLOURS = np.array(
    [
        [-0.55919361, 0.98062831, -0.41940627],
        [1.72091413, 0.19879334, -1.82968581],
        [4.64467907, 4.73710203, 4.88324118],
    ]
)


class Plain(Dataset):
    """imread, float32, 511 px crop, shifted and scaled, colours moved, blurred, CHW tensors."""

    def __init__(self, pairs: PairBatches, batches: int) -> None:
        self.pairs, self.batches = pairs, batches
        self.order = epoch_order(0, 0, pairs.num_samples)

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, position: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        size = self.pairs.samples_per_batch
        indices = self.order[position * size : (position + 1) * size]
        pairs = [self.pair(int(index)) for index in indices]
        templates, searches, boxes = zip(*pairs, strict=True)
        return torch.stack(templates), torch.stack(searches), torch.stack(boxes)

    def pair(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One pair, the choices those of halftrack."""
        drawn = draw_pair(self.pairs.sets, self.pairs.config, sample_random(0, 0, index))
        template, _ = self.view(drawn.source, drawn.template, drawn.template_view, 127)
        search, box = self.view(drawn.source, drawn.search, drawn.search_view, 255)
        return template, search, box

    def view(
        self, source: int, number: int, view: View, size: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One image and its box."""
        import cv2

        objects = self.pairs.sets[source]
        image = cv2.imread(objects.path(number)).astype(np.float32)
        x1, y1, x2, y2 = objects.boxes_xyxy[number].astype(np.float64)
        width, height = x2 - x1, y2 - y1
        margin = 0.5 * (width + height)
        scale = 127 / np.sqrt((width + margin) * (height + margin))
        reach, centre_x, centre_y = 0.5 * 511 / scale, (x1 + x2) / 2, (y1 + y2) / 2
        region = np.array([centre_x, centre_y, centre_x, centre_y])
        region += (-reach, -reach, reach, reach)
        crop = warp(image, region, 511, image.mean(axis=(0, 1)).tolist())
        half = np.array([width, height]) * scale / 2
        box = np.concatenate([255 - half, 255 + half])
        scale_xy = np.minimum(view.scale_xy, 511 / size)
        low = 255 - 0.5 * scale_xy * size
        shift = np.maximum(-low, np.minimum(low + 1, view.shift_xy))
        region = np.concatenate([low + shift, low + shift + scale_xy * size])
        out = warp(crop, region, size, (0, 0, 0))
        box = (box - np.tile(region[:2], 2)) / np.tile(scale_xy, 2)
        if view.colour is not None:
            out = (out - (COLOURS @ np.array(view.colour))[::-1]).astype(np.float32)
        if view.blur is not None:
            kernel = np.zeros((view.blur.size, view.blur.size))
            kernel[:, view.blur.size // 2] += view.blur.vertical / view.blur.size
            kernel[view.blur.size // 2] += (1 - view.blur.vertical) / view.blur.size
            out = cv2.filter2D(out, -1, kernel)
        chw = torch.from_numpy(np.ascontiguousarray(out.transpose(2, 0, 1)))
        return chw, torch.from_numpy(box.astype(np.float32))


def warp(image: np.ndarray, region: np.ndarray, size: int, fill: Iterable[float]) -> np.ndarray:
    import cv2

    x, y = size / (region[2:] - region[:2])
    mapping = np.array([[x, 0, -x * region[0]], [0, y, -y * region[1]]], dtype=np.float32)
    border = cv2.BORDER_CONSTANT
    return cv2.warpAffine(image, mapping, (size, size), borderMode=border, borderValue=fill)


def one_thread(worker: int) -> None:
    import cv2

    cv2.setNumThreads(1)


def seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_root")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--cache-mb", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(1)
    fresh = PairBatches.open(CONFIG, options.data_root, geometry=SiameseGeometry())
    held = PairBatches.open(
        replace(CONFIG, cache_mb=options.cache_mb),
        options.data_root,
        geometry=SiameseGeometry(),
    )
    for workers in (1, 2):
        plain = DataLoader(
            Plain(fresh, options.batches),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4,
            persistent_workers=True,
            worker_init_fn=one_thread,
            collate_fn=list,
        )

        def ours(pairs: PairBatches, workers: int = workers) -> None:
            for _ in pairs.batches(seed=0, epoch=0, places=range(options.batches), workers=workers):
                pass

        runs = {
            "halftrack": lambda: ours(fresh),
            f"halftrack, cache of {options.cache_mb} MiB": lambda: ours(held),
            "plain OpenCV": lambda plain=plain: list(plain),
        }
        # The first round, left out, starts the workers and fills the cache.
        rounds = [[seconds(run) for run in runs.values()] for _ in range(1 + options.rounds)][1:]
        count = options.batches * fresh.samples_per_batch
        for place, name in enumerate(runs):
            rates = [count / row[place] for row in rounds]
            ratios = [row[-1] / row[place] for row in rounds]
            print(
                f"{workers} workers  {name:29s} median {statistics.median(rates):6.1f} pairs/s "
                f"(min {min(rates):.1f}, max {max(rates):.1f}), "
                f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )
        fresh.close()
        held.close()
    print(machine(), f"{options.rounds} rounds of {count} pairs")


if __name__ == "__main__":
    main()
