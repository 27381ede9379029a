"""What the instruments cost a training step: idle, in use, and once they are left.

    python benchmarks/instruments.py [--rounds 120]

Idle: the loop as it is, which logs, keeps each step's batches and stands ready to explain a skipped
step, against the learner's bare step; no step is skipped. In use: a step under RangeMeter, and with
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

from halftrack.precision import Precision, RangeMeter
from halftrack.recipes import TrainedRecipe, load_recipe
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training import Learner, TrainingConfig, train
from halftrack.training.loop import batch_seed

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
    """A step of training/loop.py without its log and without what explains a skip."""

    def __init__(self, recipe: TrainedRecipe) -> None:
        self.learner = Learner(
            recipe.build_model(),
            recipe.training,
            recipe.precision,
            device=CPU,
            batches_per_epoch=BATCHES,
        )

    def update(self) -> None:
        """The optimizer's step."""
        assert not self.learner.step().skipped

    def __call__(self, batch: Any, seed: int = 0) -> None:
        """The whole step."""
        self.learner.gradients(batch, seed)
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
            self._bare(batch, batch_seed(seed, epoch, index))
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
    assert same(model, bare.learner.model), "the two trained otherwise: not the same work"
    return [loop / plain for loop, plain in source.rows[1:]]


def in_use(recipe: TrainedRecipe, batch: Any, *, rounds: int) -> list[list[float]]:
    """Steps over those of a model that no meter ever saw, a list each.

    Gradients metered, updates too, and a step that the meter has left.
    """
    plain, metered = BareStep(recipe), BareStep(recipe)
    model, scale = metered.learner.model, metered.learner.loss_scale.value

    def under_meter(*, updates: bool) -> None:
        with RangeMeter(model, loss_scale=scale) as meter:
            metered.learner.gradients(batch, 0)
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
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
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
            batches = source.batches(seed=0, epoch=0, places=range(BATCHES), workers=0, pin=False)
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
