"""What Tracktor's parts cost: a detector frame, training steps, and their peak live bytes.

    python benchmarks/tracktor.py [--rounds 10]

Times in cal_inf (torchvision's ResNet-50 forward at 1x3x608x1008) and cal_train (its forward and
backward at 3x3x320x512), interleaved. The reference takes 3.4 to 4.2 cal_inf for a detector frame
at 3x608x1088, 3.1 cal_train for a detector step on 2 images of 3x320x512 and 0.58 for a ReID step
on 8 crops of 256x128. It holds 2.15 GiB (fp32) and 1.33 (fp16) in a detector step on 2 images of
3x608x1088, and 1.89 and 1.12 in a ReID step on 32 crops.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from measure import (
    calibration_inference,
    calibration_training,
    golden_detector,
    golden_reid,
    golden_video,
    learner,
    machine,
    paired,
    spread,
)
from torch import nn

from halftrack.frames import CropBatch, FrameBatch
from halftrack.precision import LiveBytes, Precision


def frame_batch(height: int, width: int) -> FrameBatch:
    """Two frames of one class."""
    frames = golden_video(2, height, width)
    zeros = [torch.zeros_like(frame.labels) for frame in frames]
    return FrameBatch(
        frames=tuple(
            type(frame)(
                image=frame.image,
                sample_id=frame.sample_id,
                boxes_xyxy=frame.boxes_xyxy,
                labels=labels,
            )
            for frame, labels in zip(frames, zeros, strict=True)
        )
    )


def crop_batch(count: int) -> CropBatch:
    """Crops of 256x128, four of each individual."""
    images = torch.rand(count, 3, 256, 128) * 255
    labels = torch.arange(count) // 4
    return CropBatch(images=images, labels=labels, sample_ids=("crop",) * count)


def training(model: nn.Module, batch: FrameBatch | CropBatch) -> Callable[[], None]:
    """Forward and backward, as the reference's figures have it."""
    taught = learner(model)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        taught.gradients(batch, seed=0)

    return step


def live_bytes(model: nn.Module, batch: FrameBatch | CropBatch, precision: Precision) -> float:
    """Peak GiB of the second step with SGD and momentum."""
    model.zero_grad(set_to_none=True)
    taught = learner(model, precision, weight_decay=0.0, max_grad_norm=None)
    for _ in range(2):
        with LiveBytes(model, [taught.optimizer]) as meter:
            taught.gradients(batch, seed=0)
            taught.step()
    return meter.peak / 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    print(machine())
    detector, (_, frame) = golden_detector().eval(), golden_video(2, 608, 1088)
    rows = paired([lambda: detector(frame), calibration_inference()], rounds=rounds)
    print(f"detector frame: {spread([a / b for a, b in rows])} cal_inf")
    works = [
        training(golden_detector(), frame_batch(320, 512)),
        training(golden_reid(), crop_batch(8)),
        calibration_training(),
    ]
    rows = paired(works, rounds=rounds)
    print(f"detector step: {spread([a / c for a, _, c in rows])} cal_train")
    print(f"ReID step: {spread([b / c for _, b, c in rows])} cal_train")
    for name, model, batch in (
        ("detector", golden_detector(), frame_batch(608, 1088)),
        ("ReID", golden_reid(), crop_batch(32)),
    ):
        peaks = [live_bytes(model, batch, p) for p in (Precision(), Precision("fp16", 512.0))]
        print(f"{name}: {peaks[0]:.2f} GiB live in fp32, {peaks[1]:.2f} in fp16")


if __name__ == "__main__":
    main()
