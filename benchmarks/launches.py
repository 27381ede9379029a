"""Kernels and waits of a training step, counted on a CPU; the profiler's beside them on a GPU.

    python benchmarks/launches.py [--device cuda]

The four R50 models with deterministic weights, fp32, the whole step with clip and SGD, at two image
sizes and several batch sizes, and torchvision's Faster R-CNN for comparison: with our step, and as
both come by default.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch
from measure import (
    golden_detector,
    golden_reid,
    golden_selsa,
    golden_siamrpn,
    golden_video,
    learner,
    machine,
    training_clip,
)
from siamrpn import pairs
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from tracktor import crop_batch, frame_batch

from halftrack.frames import Clip, ClipBatch, CropBatch, FrameBatch, PairBatch
from halftrack.models import SiamRPNConfig
from halftrack.precision import Launches
from halftrack.recipes import choose_device, load_recipe
from halftrack.training import Learner

SIZE, LARGER = (160, 256), (224, 320)
SIAMESE_SIDE = 239  # of search regions that give two cells fewer than the published 255
Step = Callable[[], None]


def ours(
    model: nn.Module,
    batch: Clip | ClipBatch | CropBatch | FrameBatch | PairBatch,
    device: torch.device,
) -> Step:
    """A whole step of ours."""
    phases = load_recipe("siamese_rpn_r50_20e_lasot").for_training().training.phases
    frozen = {"phases": phases} if isinstance(batch, PairBatch) else {}
    taught: Learner = learner(model, device=device, **frozen)
    taught.begin_epoch(0)
    given = batch.to(device)

    def step() -> None:
        taught.gradients(given, seed=0)
        taught.step()

    return step


def clips(count: int) -> ClipBatch:
    """So many clips that share a pass."""
    return ClipBatch(clips=(training_clip(*SIZE),) * count, seeds=tuple(range(count)))


def small_crops(count: int) -> CropBatch:
    """Crops of 128x64."""
    batch = crop_batch(count)
    return replace(batch, images=batch.images[..., ::2, ::2].contiguous())


def siamese(count: int, side: int) -> tuple[nn.Module, PairBatch]:
    """SiamRPN++ with search regions of another size, and so many pairs for it."""
    geometry = replace(SiamRPNConfig().geometry, search_size=side)
    model = replace(SiamRPNConfig(), geometry=geometry).build()
    model.load_state_dict(golden_siamrpn().state_dict())
    return model, replace(pairs(count), searches=torch.rand(count, 3, side, side) * 255)


class _Losses(nn.Module):
    """torchvision's detector under our names of losses."""

    def __init__(self) -> None:
        super().__init__()
        backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=3)
        self.detector = FasterRCNN(backbone, 91, min_size=SIZE[0], max_size=SIZE[1])

    def forward(self, batch: FrameBatch) -> dict[str, torch.Tensor]:
        images = [frame.image / 255 for frame in batch.frames]
        targets = [{"boxes": f.boxes_xyxy, "labels": f.labels + 1} for f in batch.frames]
        losses: dict[str, torch.Tensor] = self.detector(images, targets)
        return {f"loss_{name}": value for name, value in losses.items()}


def by_default(batch: FrameBatch) -> Step:
    """Detector of torchvision as it comes without weights, with a step written plainly, on a CPU.

    No norm is frozen, all parameters learn, and torch's clip and SGD are told nothing: on a CPU
    that is an op for each parameter.
    """
    size = {"min_size": SIZE[0], "max_size": SIZE[1]}
    model = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, **size).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
    images = [frame.image / 255 for frame in batch.frames]
    targets = [{"boxes": f.boxes_xyxy, "labels": f.labels + 1} for f in batch.frames]

    def step() -> None:
        optimizer.zero_grad()
        sum(model(images, targets).values()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 35.0)
        optimizer.step()

    return step


def profiled(step: Step) -> tuple[int, int]:
    """Kernels that a GPU's profiler saw launched, and streams that the host waited for."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        step()
    events = profiler.key_averages()

    def calls(name: str) -> int:
        return sum(event.count for event in events if name in event.key)

    return calls("LaunchKernel"), calls("StreamSynchronize")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", type=choose_device, default=choose_device(None))
    device = parser.parse_args().device
    two = FrameBatch(frames=tuple(golden_video(2, *SIZE)))
    steps: dict[str, Callable[[], Step]] = {
        "SELSA, key + 2 references": lambda: ours(golden_selsa(), training_clip(*SIZE), device),
        "at 224x320": lambda: ours(golden_selsa(), training_clip(*LARGER), device),
        "2 clips in a pass": lambda: ours(golden_selsa(), clips(2), device),
        "4 clips in a pass": lambda: ours(golden_selsa(), clips(4), device),
        "detector, 2 images": lambda: ours(golden_detector(), frame_batch(*SIZE), device),
        "2 images of 224x320": lambda: ours(golden_detector(), frame_batch(*LARGER), device),
        "4 images": lambda: ours(
            golden_detector(), FrameBatch(frames=frame_batch(*SIZE).frames * 2), device
        ),
        "ReID, 8 crops of 256x128": lambda: ours(golden_reid(), crop_batch(8), device),
        "8 crops of 128x64": lambda: ours(golden_reid(), small_crops(8), device),
        "16 crops of 256x128": lambda: ours(golden_reid(), crop_batch(16), device),
        "SiamRPN++ frozen, 28 pairs": lambda: ours(golden_siamrpn(), pairs(28), device),
        "28 pairs, searched in 239x239": lambda: ours(*siamese(28, SIAMESE_SIDE), device),
        "14 pairs": lambda: ours(golden_siamrpn(), pairs(14), device),
        "fasterrcnn_resnet50_fpn, 2 images": lambda: ours(_Losses(), two, device),
    }
    if device.type == "cpu":
        steps["the same, nothing frozen, clip and SGD by default"] = lambda: by_default(two)
    print("| step | forward | backward | step | kernels | waits | copies | GPU: kernels, waits |")
    print("|---|---|---|---|---|---|---|---|")
    for name, make in steps.items():
        step = make()
        step()
        with Launches() as launches:
            step()
        parts = " | ".join(f"{part.kernels}, {part.waits.total()}" for part in launches.parts)
        seen = "{}, {}".format(*profiled(step)) if device.type == "cuda" else ""
        total = f"{launches.kernels} | {launches.waits} | {launches.copies}"
        print(f"| {name} | {parts} | {total} | {seen} |", flush=True)
        for part in launches.parts:
            for line, count in sorted(part.waits.items()):
                print(f"    {count} at {line}")
    print(machine())


if __name__ == "__main__":
    main()
