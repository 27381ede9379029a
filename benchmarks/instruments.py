"""What the instruments cost a training step: idle, in use, and once they are left.

    python benchmarks/instruments.py [--rounds 120]

Idle: the loop as it is, which keeps each step's clips and stands ready to explain a skipped one,
against a bare copy of its step; no step is skipped. In use: a step under RangeMeter, and with
``RangeMeter.updates`` too, against a plain one; and a plain step of a model that the meter has
left.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import machine, paired
from torch import nn

from halftrack.precision import Precision, RangeMeter, optimizer_step
from halftrack.recipes import TrainedRecipe, load_recipe
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training import TrainingConfig, total_loss, train
from halftrack.training.loop import clip_seed
from halftrack.training.optimiser import build_sgd

# The shortest step, one with batch norm, and the first at its published size: the layout of the
# synthetic video it learns from, and its share of the rounds.
RECIPES = {
    "reid_tiny_sample": ("mot", 1.0),
    "selsa_tiny_sample": ("vid", 1.0),
    "reid_r50_fp16_8x32_6e_mot17": ("mot", 0.05),
}
PRECISIONS = (Precision("fp32"), Precision("fp16", 128.0))  # of which none skips a step here
CPU = torch.device("cpu")
BATCHES = 8


class BareStep:
    """A step of training/loop.py without its log and without what explains and mends a skip."""

    def __init__(self, recipe: TrainedRecipe) -> None:
        self.model = recipe.build_model().train()
        self.precision, self.config = recipe.precision, recipe.training
        self.loss_scale = self.precision.new_loss_scale()
        self.optimizer = build_sgd(
            self.model,
            lr=self.config.lr,
            momentum=self.config.momentum,
            weight_decay=self.config.weight_decay,
        )

    def gradients(self, batch: Any, seed: int) -> None:
        """Forward and backward."""
        torch.manual_seed(seed)
        with self.precision.arithmetic(CPU):
            with self.precision.autocast(CPU):
                losses = self.model(batch)
            self.loss_scale.scale(total_loss(losses)).backward()

    def update(self) -> None:
        """The optimizer's step."""
        report = optimizer_step(
            [self.optimizer], self.loss_scale, max_grad_norm=self.config.max_grad_norm
        )
        assert not report.skipped

    def __call__(self, batch: Any, seed: int = 0) -> None:
        """The whole step."""
        self.gradients(batch, seed)
        self.update()


class BetweenSteps:
    """A batch source that times the loop's steps, and between two of them a bare one."""

    def __init__(self, batches: Sequence[Any], bare: BareStep, *, rounds: int) -> None:
        self._batches, self._bare, self._rounds = batches, bare, rounds
        self.rows: list[tuple[float, float]] = []
        """Seconds of the loop's step and of the bare one, a row a round."""

    def __len__(self) -> int:
        return self._rounds

    def batches(self, *, seed: int, epoch: int, **_: Any) -> Iterator[Any]:
        """The same few batches over and over; a step of the loop ends when it asks for the next."""
        for index in range(self._rounds):
            batch = self._batches[index % len(self._batches)]
            start = time.perf_counter()
            yield batch
            middle = time.perf_counter()
            self._bare(batch, clip_seed(seed, epoch, index))
            self.rows.append((middle - start, time.perf_counter() - middle))


def idle(recipe: TrainedRecipe, batches: Sequence[Any], *, rounds: int) -> list[float]:
    """The loop's step over a bare one, from the same weights on the same batches and draws."""
    bare = BareStep(recipe)
    source = BetweenSteps(batches, bare, rounds=rounds)
    model = recipe.build_model()
    with tempfile.TemporaryDirectory() as folder:
        train(
            model=model,
            batches=source,
            config=recipe.training,
            precision=recipe.precision,
            out=Path(folder),
            device=CPU,
        )
    assert same(model, bare.model), "the two trained otherwise: not the same work"
    return [loop / plain for loop, plain in source.rows[1:]]


def in_use(recipe: TrainedRecipe, batch: Any, *, rounds: int) -> list[list[float]]:
    """Steps over those of a model that no meter ever saw, a list each.

    Gradients metered, updates too, and a step that the meter has left.
    """
    plain, metered = BareStep(recipe), BareStep(recipe)
    scale = metered.loss_scale.value

    def under_meter(*, updates: bool) -> None:
        with RangeMeter(metered.model, loss_scale=scale) as meter:
            metered.gradients(batch, 0)
        with meter.updates() if updates else nullcontext():
            metered.update()
        meter.ranges  # noqa: B018 - what it saw is read, too

    works = [
        lambda: plain(batch),
        lambda: under_meter(updates=False),
        lambda: under_meter(updates=True),
        lambda: metered(batch),
    ]
    rows = paired(works, rounds=rounds)
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in metered.model.modules())
    assert not hooks, f"{hooks} hooks left behind"
    return [[row[place] / row[0] for row in rows] for place in (1, 2, 3)]


def same(model: nn.Module, other: nn.Module) -> bool:
    """Every parameter equal, bit for bit."""
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return all(torch.equal(mine, theirs) for mine, theirs in pairs)


def median(ratios: Sequence[float]) -> str:
    """Median with the 95% interval that 10,000 bootstrap samples give it."""
    drawn = np.random.default_rng(0).choice(ratios, size=(10_000, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return f"{np.median(ratios):.4f} ({low:.4f} to {high:.4f})"


def short(recipe: TrainedRecipe, precision: Precision) -> TrainedRecipe:
    """One epoch at the full rate, nothing but steps in it."""
    config: TrainingConfig = replace(
        recipe.training,
        epochs=1,
        warmup_steps=0,
        milestones=(),
        scale_lr=False,
        checkpoint_every=None,
        workers=0,
    )
    return replace(recipe, precision=precision, training=config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=120)
    asked = parser.parse_args().rounds
    print("| recipe | precision | idle | under RangeMeter | and its updates | left | pairs |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, (layout, share) in RECIPES.items():
            rounds = max(2, round(asked * share))  # the loop's first step is not counted
            settings = SyntheticVideo(layout=layout, train_videos=4, val_videos=1, frames=12)
            data_root = write_synthetic(Path(folder) / layout, settings)
            recipe = load_recipe(name).for_training()
            recipe = recipe.settled(data_root)
            source = recipe.training_source(data_root)
            batches = source.batches(seed=0, epoch=0, start=0, stop=BATCHES, workers=0, pin=False)
            kept = list(batches)
            for precision in PRECISIONS:
                chosen = short(recipe, precision)
                ratios = [idle(chosen, kept, rounds=rounds)]
                ratios += in_use(chosen, kept[0], rounds=rounds)
                cells = " | ".join(median(each) for each in ratios)
                print(f"| {name} | {precision.name} | {cells} | {rounds} |", flush=True)
    print(machine())


if __name__ == "__main__":
    main()
