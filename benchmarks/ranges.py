"""Whether histograms of one step foretell what any loss scale loses, for all four models.

    python benchmarks/ranges.py [--steps 2]

One fp16 step at loss scale 128 gives the histograms; then the same step, from the same weights,
batch and draws, is rehearsed at each scale, and its roundings are counted apart from the meter.
Tiny recipes on synthetic video from random weights, R50 models with the weights of the golden
values on small images. At the end, what the meter costs.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from measure import (
    golden_detector,
    golden_reid,
    golden_selsa,
    golden_siamrpn,
    golden_video,
    learner,
    machine,
    paired,
    spread,
    training_clip,
)
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from halftrack.frames import CropBatch, FrameBatch, PairBatch
from halftrack.precision import LossScaleAdvice, Precision, RangeMeter
from halftrack.precision.dtypes import is_half, widen
from halftrack.recipes import load_recipe
from halftrack.synthetic import SyntheticVideo, write_synthetic

SCALES = (1.0, 8.0, 512.0, 4096.0, 65536.0)
TOO_SMALL = (1 / 16, 1 / 256)
HISTOGRAM_SCALE = 128.0
TINY = {
    "selsa_tiny_sample": "vid",
    "faster-rcnn_tiny_sample": "mot",
    "reid_tiny_sample": "mot",
    "siamese_rpn_tiny_sample": "sot",
}
aten = torch.ops.aten


class Roundings(TorchDispatchMode):
    """Counts, in the backward pass, non-zero fp32 values and what rounding to half made of them."""

    def __init__(self) -> None:
        super().__init__()
        self.nonzero = self.zeroed = self.infinite = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if torch._C._current_graph_task_id() == -1 or not is_half(result):
            return result
        if func in (aten._to_copy.default, aten.to.dtype) and args[0].dtype == torch.float32:
            self.add(args[0], result)
        elif func in (aten.mul.Tensor, aten.div.Tensor, aten.sum.dim_IntList):
            self.add(func(*map(widen, args)), result)
        return result

    def add(self, exact: Tensor, rounded: Tensor) -> None:
        """Take one rounding into account."""
        finite = exact.isfinite() & (exact != 0)
        self.nonzero += int(finite.sum())
        self.zeroed += int((finite & (rounded == 0)).sum())
        self.infinite += int((~rounded.isfinite()).sum())


@dataclass(frozen=True)
class Case:
    """A model, in training mode, and its batches."""

    name: str
    model: nn.Module
    batches: Sequence[Any]


def step(case: Case, batch: Any, scale: float) -> None:
    """Forward and backward in fp16, always from the same state and with the same draws."""
    case.model.zero_grad(set_to_none=True)
    taught = learner(case.model, Precision("fp16", scale))
    taught.gradients(batch, seed=0)
    taught.statistics.put_back()


def tiny_cases(folder: Path, steps: int) -> Iterator[Case]:
    """The tiny recipes on synthetic video, one after the other."""
    roots = {}
    for layout in ("vid", "mot", "sot"):
        settings = SyntheticVideo(layout=layout, train_videos=4, val_videos=1, frames=12)
        roots[layout] = write_synthetic(folder / layout, settings)
    for name, layout in TINY.items():
        recipe = load_recipe(name).for_training()
        recipe = recipe.settled(roots[layout])
        source = recipe.training_source(roots[layout])
        batches = source.batches(seed=0, epoch=0, places=range(steps), workers=0, pin=False)
        yield Case(name, recipe.build_model().train(), list(batches))


def golden_cases() -> Iterator[Case]:
    """The R50 models on small images, one step each."""
    frames = golden_video(2, 128, 192)
    yield Case("SELSA R50-DC5, 3x128x192", golden_selsa().train(), [training_clip(128, 192)])
    one_class = tuple(replace(f, labels=torch.zeros_like(f.labels)) for f in frames)
    batch = FrameBatch(frames=one_class)
    yield Case("Faster R-CNN R50-FPN, 2x128x192", golden_detector().train(), [batch])
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(8, 3, 128, 64, generator=generator) * 255
    crops = CropBatch(images=images.byte(), labels=torch.arange(8) // 2, sample_ids=("crop",) * 8)
    yield Case("ReID R50, 8x128x64", golden_reid().train(), [crops])
    video = golden_video(2, 255, 255)
    pairs = PairBatch(
        templates=torch.stack([f.image[:, 64:191, 64:191] for f in video]),
        searches=torch.stack([f.image for f in video]),
        boxes_xyxy=torch.tensor([[90.0, 80.0, 160.0, 170.0]]).repeat(2, 1),
        positive=torch.tensor([True, False]),
        sample_ids=("pair",) * 2,
    )
    yield Case("SiamRPN++ R50, 2 pairs", golden_siamrpn().train(), [pairs])


def compare(case: Case) -> list[str]:
    """Prints a row for each step; returns what each step advises."""
    advised = []
    for number, batch in enumerate(case.batches):
        with Roundings() as whole, RangeMeter(case.model, loss_scale=HISTOGRAM_SCALE) as meter:
            step(case, batch, HISTOGRAM_SCALE)
        assert not whole.infinite
        advice = LossScaleAdvice(meter.ranges.gradients)
        cells = []
        for scale in (*SCALES, *TOO_SMALL):
            with Roundings() as found:
                step(case, batch, scale)
            foretold = f"{100 * advice.lost_share(scale):.3f}"
            lost = f"{100 * (1 - (found.nonzero - found.zeroed) / whole.nonzero):.3f}"
            here = f"{100 * found.zeroed / found.nonzero:.3f}"
            cells.append(
                f"{'overflow' if advice.overflows(scale) else foretold} / "
                f"{'overflow' if found.infinite else f'{lost} / {here}'}"
            )
        row = [case.name, str(number), f"{whole.nonzero / 1e6:.1f}", *cells]
        print("|", " | ".join(row), "|", flush=True)
        advised.append(
            f"{case.name}, step {number}: least scale {advice.least:g}, greatest "
            f"{advice.greatest:.0f}, recommended {advice.recommended}, "
            f"unserved modules {len(advice.unserved)}"
        )
    return advised


def cost(case: Case, rounds: int) -> str:
    """A metered step over a plain one."""
    batch = case.batches[0]

    def metered() -> None:
        with RangeMeter(case.model, loss_scale=HISTOGRAM_SCALE):
            step(case, batch, HISTOGRAM_SCALE)

    rows = paired([metered, lambda: step(case, batch, HISTOGRAM_SCALE)], rounds=rounds)
    return spread([with_meter / plain for with_meter, plain in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    columns = ["model", "step", "non-zero gradients (M)", *(f"{scale:.0f}" for scale in SCALES)]
    columns += [f"1/{1 / scale:g}" for scale in TOO_SMALL]
    print("|", " | ".join(columns), "|")
    print("|---" * len(columns) + "|")
    advised, costs = [], []
    with tempfile.TemporaryDirectory() as folder:
        for case in chain(tiny_cases(Path(folder), options.steps), golden_cases()):
            advised += compare(case)
            costs.append(f"{case.name}: {cost(case, options.rounds)}")
    print(*advised, sep="\n")
    print("a metered step over a plain one", *costs, machine(), sep="\n")


if __name__ == "__main__":
    main()
