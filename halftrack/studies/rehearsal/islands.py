"""Search for the modules of a model that must stay in fp32: steps are rehearsed in fp16."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

import torch
from torch import nn

from halftrack.precision import Islands, NonFiniteGradientError, Precision, find_islands
from halftrack.precision.ops import is_finite
from halftrack.recipes import TrainedRecipe
from halftrack.rehearsing.half_watch import ForwardOverflowError, HalfWatch
from halftrack.training import Batch, Learner, total_loss

__all__ = ["islands_of"]

_CPU = torch.device("cpu")


def islands_of(
    recipe: TrainedRecipe,
    batches: Iterable[Batch],
    *,
    steps: int,
    loss_scale: float,
    epoch: int = 0,
    model: nn.Module | None = None,
) -> Islands:
    """The fp32 islands that a recipe needs to be trained in fp16 at a loss scale, on the CPU.

    Clean is a rehearsal in which no op of the forward pass gives a half tensor that is not finite,
    the losses are finite, and no step would be skipped. Steps are training's at a learning rate of
    0: the weights stay as they are. Islands that the recipe has already are searched
    for like any other.

    Args:
        recipe: with what only the data can tell filled in.
        batches: what is learned from, a pass each step.
        steps: how many of the batches each rehearsal takes; it ends at the first that is not clean.
        loss_scale: what the loss is multiplied by.
        epoch: 0-based; decides which parameters train.
        model: with the weights to rehearse, which it keeps, and no islands yet: they cannot be
            copied. If left out, the recipe's with random weights.

    Raises:
        ValueError: without a step, or if there are fewer batches.
    """
    taken = list(islice(batches, steps)) if steps > 0 else []
    if len(taken) < max(steps, 1):
        raise ValueError(
            f"steps={steps} with {len(taken)} batches: expected at least 1, and a batch for each"
        )
    fresh = recipe.build_model() if model is None else model
    # The weights stay as they are, and need no average.
    config = replace(recipe.training, lr=0.0, ema_decay=None)

    def is_clean(keep_fp32: tuple[str, ...]) -> bool:
        precision = Precision("fp16", loss_scale, keep_fp32)
        # Batch norms count: each rehearsal has a model of its own.
        learner = Learner(
            copy.deepcopy(fresh), config, precision, device=_CPU, batches_per_epoch=len(taken)
        )
        learner.begin_epoch(epoch)
        with torch.random.fork_rng(devices=[]):
            return all(_is_clean(learner, batch, seed) for seed, batch in enumerate(taken))

    return find_islands(fresh, is_clean)


def _is_clean(learner: Learner, batch: Batch, seed: int) -> bool:
    """Whether nothing overflows in a step on this batch."""
    try:
        with learner.precision.arithmetic(_CPU), HalfWatch():
            losses = learner.gradients(batch, seed)
        return is_finite(total_loss(losses)) and not learner.step().skipped
    except (ForwardOverflowError, NonFiniteGradientError):
        return False
