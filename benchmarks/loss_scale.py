"""What a loss scale is for: gradients that fp16 loses, and a run that fails without one.

    python benchmarks/loss_scale.py [--steps 120] [--out runs/loss_scale]

First figure 3 of Micikevicius et al. 2017 (arXiv 1710.03740) for a detector trained here. Then the
same detector from the same seed with a loss weight of 2^-k, its rate multiplied by 2^k and weight
decay and clip norm by 2^-k: in exact arithmetic the same run, but for the 1e-6 in the clip. It is
trained in fp32, in fp16 without a loss scale and in fp16 at the scale that ``LossScaleAdvice``
recommends after one step.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from measure import machine
from torch import Tensor, nn

from halftrack.precision import Histogram, LossScaleAdvice, Precision, RangeMeter, Ranges
from halftrack.recipes import TrainedRecipe, load_recipe
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training import Learner, total_loss

RECIPE = "faster-rcnn_tiny_sample"
SMALLEST, IRRELEVANT = -24, -27  # exponents: fp16's smallest number, what the paper says is no loss
HISTOGRAM_STEPS = 10
HISTOGRAM_SCALE = 65536.0  # where dynamic loss scaling starts
USUAL_SCALE = 128.0
USUAL = Precision("fp16", USUAL_SCALE)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Outcome:
    """What a short run came to."""

    model: nn.Module
    losses: list[float]
    """Of each step, without the loss weight."""
    skipped: int
    ranges: Ranges
    """Of the steps that were metered."""


class Weighted(nn.Module):
    """A model whose only loss is the sum of its losses times a weight."""

    def __init__(self, model: nn.Module, weight: float) -> None:
        super().__init__()
        self.model, self.weight = model, weight

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """The weighted loss."""
        return {"loss": total_loss(self.model(batch)) * self.weight}


def run(
    recipe: TrainedRecipe,
    batches: Sequence[Any],
    precision: Precision,
    *,
    weight: float = 1.0,
    metered: range = range(0),
) -> Outcome:
    """Train on the batches in order, from the same weights and with the same draws every time.

    Args:
        recipe: model, rate, weight decay and clip norm.
        batches: one a step.
        precision: with its loss scale.
        weight: of the loss, which the rate makes up for.
        metered: the steps whose ranges are taken.
    """
    model, published = recipe.build_model(), recipe.training
    rate = published.lr / weight
    config = replace(
        published,
        lr=rate,
        weight_decay=published.weight_decay * weight,
        max_grad_norm=published.max_grad_norm * weight,
    )
    taught = Learner(
        Weighted(model, weight), config, precision, device=CPU, batches_per_epoch=len(batches)
    )
    ranges, losses, skipped = Ranges(), [], 0
    for step, batch in enumerate(batches):
        scale = taught.loss_scale.value
        meter = RangeMeter(model, loss_scale=scale) if step in metered else None
        with meter or nullcontext():
            found = taught.gradients(batch, seed=step)
        losses.append(float(found["loss"].detach()) / weight)
        ranges += Ranges() if meter is None else meter.ranges
        for group in taught.optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / config.warmup_steps)
        skipped += taught.step().skipped
    return Outcome(model=model, losses=losses, skipped=skipped, ranges=ranges)


def activation_gradients(ranges: Ranges) -> Histogram:
    """Those of all modules together."""
    return sum(ranges.activation_gradients.values(), Histogram())


def told(found: Histogram) -> str:
    """Shares as the paper quotes them, of all values, zeros too."""

    def share(count: int) -> str:
        return f"{100 * count / found.total:.2f}%"

    band = found.at_least(IRRELEVANT) - found.at_least(SMALLEST)
    return (
        f"{found.total / 1e6:.1f} million activation gradients: {share(found.zeros)} are 0, "
        f"{share(found.becomes_zero())} more become 0 in fp16 without a loss scale; "
        f"{share(band)} lie in [2^{IRRELEVANT}, 2^{SMALLEST}), which must be kept, "
        f"{share(found.nonzero - found.at_least(IRRELEVANT))} below; the largest is under "
        f"2^{max(found.counts) + 1}"
    )


def draw(found: Histogram, path: Path) -> None:
    """The histogram: share of all values by log2 of their magnitude, zeros at the left."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    first, last = min(found.counts), max(*found.counts, 16)
    exponents = range(first, last + 1)
    shares = [100 * found.counts.get(e, 0) / found.total for e in exponents]
    panel.bar([e + 0.5 for e in exponents], shares, width=0.9, color="C0")
    panel.bar(first - 3, 100 * found.zeros / found.total, width=2, color="grey")
    panel.text(first - 3, 100 * found.zeros / found.total, "0", ha="center", va="bottom")
    panel.axvspan(first, IRRELEVANT, color="C7", alpha=0.2, zorder=0, label="irrelevant")
    panel.axvspan(
        IRRELEVANT, SMALLEST, color="C3", alpha=0.3, zorder=0, label="0 in fp16, must be kept"
    )
    panel.axvspan(SMALLEST, -14, color="C1", alpha=0.2, zorder=0, label="subnormal in fp16")
    panel.axvspan(-14, 16, color="C2", alpha=0.15, zorder=0, label="normal in fp16")
    panel.set_yscale("log")
    panel.set_xlabel("log2 of the magnitude")
    panel.set_ylabel("share of activation gradients (%)")
    panel.set_title(f"{RECIPE}: {100 * found.zeros / found.total:.0f}% are 0")
    panel.legend(loc="upper right")
    figure.savefig(path, dpi=110)


def compare(
    recipe: TrainedRecipe, batches: Sequence[Any], usual: Outcome, *, octaves: int, data_root: Path
) -> None:
    """Prints a row for each run of the weighted loss, and for the usual one."""
    weight = 2.0**-octaves
    start = Precision("fp16", HISTOGRAM_SCALE)
    first = run(recipe, batches[:1], start, weight=weight, metered=range(1))
    advice = LossScaleAdvice(first.ranges.gradients)
    assert advice.recommended is not None
    print(f"loss weight 2^-{octaves}: recommended loss scale {advice.recommended:g}")
    print(
        "| loss weight | precision | loss scale | lost | first loss | last loss | AP50 | skipped |"
    )
    print("|---|---|---|---|---|---|---|---|")
    scorer = recipe.scorer(data_root, CPU)
    rows = [("1", USUAL, advice.lost_share(USUAL_SCALE / weight), usual)]
    for scale in (None, 1.0, advice.recommended):
        precision = Precision("fp16" if scale else "fp32", scale)
        lost = advice.lost_share(scale) if scale else 0.0
        outcome = run(recipe, batches, precision, weight=weight)
        rows.append((f"2^-{octaves}", precision, lost, outcome))
    for label, precision, lost, outcome in rows:
        ap50 = scorer(outcome.model.eval()).flat()["coco_ap50"]
        cells = [label, precision.name, f"{precision.loss_scale or '-'}", f"{100 * lost:.1f}%"]
        ends = outcome.losses[:10], outcome.losses[-20:]
        cells += [f"{statistics.mean(losses):.3f}" for losses in ends]
        print("|", " | ".join([*cells, f"{ap50:.3f}", str(outcome.skipped)]), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/loss_scale"))
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--octaves", type=int, default=16, help="k of the loss weight 2^-k")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    recipe = load_recipe(RECIPE).for_training()
    with tempfile.TemporaryDirectory() as folder:
        settings = SyntheticVideo(layout="mot", val_videos=2, frames=20)
        data_root = write_synthetic(Path(folder) / "data", settings)
        source = recipe.training_source(data_root)
        batches = list(
            source.batches(seed=0, epoch=0, places=range(args.steps), workers=0, pin=False)
        )
        last = range(args.steps - HISTOGRAM_STEPS, args.steps)
        usual = run(recipe, batches, USUAL, metered=last)
        found = activation_gradients(usual.ranges)
        print(told(found))
        draw(found, args.out / "gradients.png")
        compare(recipe, batches, usual, octaves=args.octaves, data_root=data_root)
    print(machine())


if __name__ == "__main__":
    main()
