"""What a GPU does, held against what a CPU says of it beforehand: arithmetic, memory, time.

    python benchmarks/gpu.py [arithmetic] [memory] [time]

Arithmetic: one training step of each R50 model with deterministic weights, on the GPU and rehearsed
on the CPU, with the same samples (the first candidates). Memory: the
peak that `halftrack plan` predicts against live bytes, torch's allocator and the driver, at
published sizes. Time: whole steps in each precision, in turn, and how long the GPU's kernels ran in
them.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from measure import (
    golden_detector,
    golden_reid,
    golden_selsa,
    golden_siamrpn,
    golden_weights,
    learner,
    machine,
    paired,
    training_clip,
)
from plan import CASES, OBJECTS, Case
from siamrpn import pairs
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from tracktor import crop_batch, frame_batch

from halftrack.precision import Precision
from halftrack.recipes import TrainedRecipe, choose_device, override
from halftrack.rehearsing.gpu import on_a_gpu
from halftrack.studies.memory.step import metered_step, predicted_step
from halftrack.training import Learner, total_loss
from halftrack.training.placement import placed

FP32, TF32, BF16 = Precision(), Precision("tf32"), Precision("bf16")
SCALES = (1.0, 512.0, 65536.0)
MIB = 2**20
PAIRS = "data.pairs_per_batch=28"
# A published step is eight GPUs' work, one clip or two images each.
WHOLE_STEP = {
    "SELSA": ("training.accumulate=8", "training.clips_per_pass=8"),
    "Faster R-CNN FPN": ("data.images_per_batch=16",),
}


@dataclass
class Step:
    """What came of forward and backward."""

    loss: float
    gradients: dict[str, Tensor]
    """In fp64 on the CPU, without the loss scale."""

    def loss_distance(self, other: Step) -> float:
        """Of the losses' sums, relative."""
        return abs(self.loss - other.loss) / abs(other.loss)

    def distance(self, other: Step) -> float:
        """Of the gradients: the norm of the difference over the norm of the other's."""
        apart = sum(float((g - other.gradients[n]).square().sum()) for n, g in self._finite())
        size = sum(float(other.gradients[n].square().sum()) for n, _ in self._finite())
        return math.sqrt(apart / size) if size else math.nan

    def lost(self, exact: Step) -> float:
        """Percent of the non-zero gradients that are 0 here, overflowed ones apart."""
        gone = counted = 0
        for name, gradient in self._finite():
            counts = exact.gradients[name] != 0
            gone += int((counts & (gradient == 0)).sum())
            counted += int(counts.sum())
        return 100 * gone / counted if counted else math.nan

    @property
    def overflowed(self) -> int:
        """Parameters whose gradients are not finite."""
        return len(self.gradients) - len(list(self._finite()))

    def _finite(self) -> Iterator[tuple[str, Tensor]]:
        for name, gradient in self.gradients.items():
            if bool(gradient.isfinite().all()):
                yield name, gradient


@contextmanager
def first_candidates() -> Iterator[None]:
    """Of candidates always the first ones."""
    drawn = torch.randperm
    torch.randperm = lambda n, *, device=None, **_: torch.arange(n, device=device)
    try:
        yield
    finally:
        torch.randperm = drawn


def gradients(
    build: Callable[[], nn.Module], batch: Any, precision: Precision, device: torch.device
) -> Step:
    """Forward and backward of a new model."""
    taught = learner(build(), precision, device=device)
    with first_candidates():
        losses = taught.gradients(batch.to(device), seed=0)
    named = {n: p.grad for n, p in taught.model.named_parameters() if p.grad is not None}
    scale = taught.loss_scale.value
    return Step(
        loss=total_loss(losses).item(),
        gradients={name: gradient.cpu().double() / scale for name, gradient in named.items()},
    )


def models_and_batches() -> Mapping[str, tuple[Callable[[], nn.Module], Any]]:
    """The builder of each R50 model, and what it learns from."""
    return {
        "ReID R50, 16 crops": (golden_reid, crop_batch(16)),
        "SiamRPN++ R50, 4 pairs": (golden_siamrpn, pairs(4)),
        "SELSA R50, 3x320x512": (golden_selsa, training_clip(320, 512)),
        "Faster R-CNN R50-FPN, 2x320x512": (golden_detector, frame_batch(320, 512)),
    }


def arithmetic(device: torch.device) -> None:
    """A step on the device against the same rehearsed."""
    cpu = torch.device("cpu")
    print(
        "| model | precision | losses: GPU to CPU | CPU to fp32 | gradients: GPU to CPU | "
        "CPU to fp32 | lost, CPU (%) | lost, GPU (%) | overflowed parameters, CPU / GPU |"
    )
    print("|---" * 9 + "|")
    for name, (build, batch) in models_and_batches().items():
        exact = gradients(build, batch, FP32, cpu)
        ways = {"fp32": FP32, "tf32": TF32, "bf16": BF16}
        ways |= {f"fp16 at {scale:g}": Precision("fp16", scale) for scale in SCALES}
        for way, precision in ways.items():
            here = exact if precision is FP32 else gradients(build, batch, precision, cpu)
            there = gradients(build, batch, precision, device)
            print(
                f"| {name} | {way} | {there.loss_distance(here):.1e} "
                f"| {here.loss_distance(exact):.1e} | {there.distance(here):.1e} "
                f"| {here.distance(exact):.1e} | {here.lost(exact):.3f} | {there.lost(exact):.3f} "
                f"| {here.overflowed} / {there.overflowed} |",
                flush=True,
            )


class Training:
    """A recipe's whole step at its largest size on a device, over and over."""

    def __init__(self, case: Case, recipe: TrainedRecipe, device: torch.device) -> None:
        self._device = device
        model = recipe.build_model()
        golden_weights(model, *case.weights)
        config = replace(recipe.training, lr=0.0)
        model = placed(model, config, recipe.precision, device)
        self.learner = Learner(model, config, recipe.precision, device=device, batches_per_epoch=1)
        self.learner.begin_epoch(case.epoch)
        batch = recipe.planned_batch(objects=OBJECTS)
        torch.manual_seed(0)
        for tensor in images(batch):
            tensor.random_(0, 256)
        self.batch = batch.to(device)

    def __call__(self) -> None:
        """One step, over when it returns."""
        self.learner.gradients(self.batch, seed=0)
        self.learner.step()
        torch.cuda.synchronize(self._device)


def images(value: Any) -> Iterator[Tensor]:
    """The pictures in a batch."""
    if isinstance(value, Tensor):
        if value.dim() >= 3:
            yield value
    elif is_dataclass(value):
        for part in fields(value):
            yield from images(getattr(value, part.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from images(item)


def published(case: Case, precision: Precision, *settings: str) -> TrainedRecipe:
    """The recipe at its published size; proposals as the settings leave them."""
    largest = replace(case, setting=PAIRS if "pairs" in case.setting else case.setting)
    size = (255, 255) if "pairs" in case.setting else case.sizes[-1]
    recipe = largest.sized(size, precision)
    return override(recipe, list(settings)) if settings else recipe


def title(case: Case) -> str:
    """Recipe and phase."""
    siamese = "pairs" in case.setting
    return case.recipe + (", thawed" if case.epoch else ", frozen" if siamese else "")


def memory(device: torch.device) -> None:
    """Predicted peaks against what the meter, the allocator and the driver say."""
    print(
        "| recipe | precision | predicted live (MiB) | live | allocated | reserved | "
        "allocated / predicted | beyond (MiB) | range foretold (MiB) | within | driver besides |"
    )
    print("|---" * 11 + "|")
    for case in CASES:
        for precision in (FP32, BF16, Precision("fp16", 1.0)):
            recipe = published(case, precision)
            predicted = predicted_step(recipe, epoch=case.epoch, objects=OBJECTS).peak
            torch.cuda.empty_cache()
            before = torch.cuda.memory_allocated(device)
            step = Training(case, recipe, device)
            step()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            for _ in range(3):
                step()
            allocated = torch.cuda.max_memory_allocated(device) - before
            reserved = torch.cuda.max_memory_reserved(device)
            free, total = torch.cuda.mem_get_info(device)
            driver = total - free - torch.cuda.memory_reserved(device)
            meter = metered_step(step.learner, step.batch)
            low, high = on_a_gpu(precision.name, predicted)
            print(
                f"| {title(case)} | {precision.name} | {predicted / MIB:.0f} "
                f"| {meter.peak / MIB:.0f} | {allocated / MIB:.0f} | {reserved / MIB:.0f} "
                f"| {allocated / predicted:.3f} | {(allocated - predicted) / MIB:.0f} "
                f"| {low / MIB:.0f} to {high / MIB:.0f} | {low <= allocated <= high} "
                f"| {driver / MIB:.0f} |",
                flush=True,
            )
            del step, meter


def time(device: torch.device, *, rounds: int) -> None:
    """Whole steps in each precision, in turn: of a GPU's share, and of all in one pass."""
    ways = {
        "tf32": (TF32, ()),
        "bf16": (BF16, ()),
        "fp16": (Precision("fp16", 1.0), ()),
        "fp16, channels first": (Precision("fp16", 1.0), ("training.channels_last=False",)),
    }
    columns = " | ".join(f"{way} (ms)" for way in ways)
    print(f"| recipe | {columns} | tf32 / fp16 | launches, waits |")
    print("|---" * (len(ways) + 3) + "|")
    shares: list[tuple[Case, tuple[str, ...]]] = [(case, ()) for case in CASES]
    methods = [(case, published(case, FP32).method) for case in CASES]
    shares += [(case, WHOLE_STEP[name]) for case, name in methods if name in WHOLE_STEP]
    for case, larger in shares:
        steps = [
            Training(case, published(case, precision, *larger, *more), device)
            for precision, more in ways.values()
        ]
        rows = paired(steps, rounds=rounds, warm_up=3)
        seen = [profiled(step) for step in steps]
        cells = " | ".join(
            f"{1e3 * statistics.median(seconds):.1f}, kernels {kernels:.1f}"
            for seconds, (kernels, _, _) in zip(zip(*rows, strict=True), seen, strict=True)
        )
        faster = sorted(row[0] / row[2] for row in rows)
        ratio = f"{statistics.median(faster):.2f} ({faster[0]:.2f} to {faster[-1]:.2f})"
        name = ", ".join((title(case), *larger))
        print(f"| {name} | {cells} | {ratio} | {seen[2][1]}, {seen[2][2]} |", flush=True)
        del steps
        torch.cuda.empty_cache()


def profiled(step: Training) -> tuple[float, int, int]:
    """Milliseconds that kernels ran in a step, how many were launched, how often the CPU waited."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        step()
    events = profiler.key_averages()
    kernels = sum(
        event.self_device_time_total
        for event in events
        if event.device_type != DeviceType.CPU and not event.is_user_annotation
    )

    def calls(name: str) -> int:
        return sum(event.count for event in events if name in event.key)

    return kernels / 1e3, calls("LaunchKernel"), calls("StreamSynchronize")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["arithmetic", "memory", "time"])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", type=choose_device, default=choose_device(None))
    asked = parser.parse_args()
    device = asked.device
    for part in asked.parts:
        print(f"\n{part}\n")
        if part == "arithmetic":
            arithmetic(device)
        elif part == "memory":
            memory(device)
        else:
            time(device, rounds=asked.rounds)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    print(f"{name}; {machine()}")


if __name__ == "__main__":
    main()
