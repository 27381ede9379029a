"""Which modules of a recipe's model must stay in fp32: training steps are rehearsed in fp16."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from halftrack.precision import Islands, Precision, find_islands
from halftrack.precision.nonfinite import UNWRITTEN, is_finite
from halftrack.precision.sites import op_name
from halftrack.precision.step import unscale_and_norm
from halftrack.recipes import TrainedRecipe
from halftrack.training import Batch, total_loss
from halftrack.training.optimiser import apply_phases

__all__ = ["islands_of"]


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
    the losses are finite, and no step would be skipped. Steps are the training loop's without the
    optimizer's part: the weights stay as they are. Islands that the recipe has already are searched
    for like any other.

    Args:
        recipe: with what only the data can tell filled in.
        batches: what is learned from, a batch each step.
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

    def is_clean(keep_fp32: tuple[str, ...]) -> bool:
        precision = Precision("fp16", loss_scale, keep_fp32)
        # Islands cannot be unmade, and batch norms count: each rehearsal has a model of its own.
        trial = copy.deepcopy(fresh).train()
        precision.keep_in_fp32(trial)
        apply_phases(trial, recipe.training.phases, epoch)
        return _rehearses_clean(recipe, trial, taken, precision)

    return find_islands(fresh, is_clean)


def _rehearses_clean(
    recipe: TrainedRecipe, model: nn.Module, batches: Sequence[Batch], precision: Precision
) -> bool:
    loss_scale = precision.new_loss_scale()
    for seed, batch in enumerate(batches):
        watch = _HalfWatch()
        with torch.random.fork_rng(devices=[]), precision.arithmetic("cpu"):
            torch.manual_seed(seed)
            with watch, precision.autocast("cpu"):
                loss = total_loss(model(batch)) / recipe.training.accumulate
            if not watch.clean or not is_finite(loss):
                return False
            loss_scale.scale(loss).backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if not math.isfinite(unscale_and_norm(gradients, loss_scale.value)):
            return False
        model.zero_grad(set_to_none=True)
    return True


class _HalfWatch(TorchDispatchMode):
    """Whether all half tensors that ops gave are finite; entered within ``precision.arithmetic``.

    An infinity need not reach a loss to do harm: a box at infinity is a proposal that is dropped.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.clean = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.clean and not func.is_view and op_name(func) not in UNWRITTEN:
            self.clean = all(is_finite(value) for value in tree_leaves(result) if _is_half(value))
        return result


def _is_half(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.float16
