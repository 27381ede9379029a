"""What one training step of a recipe holds in memory: measured, or predicted, without a GPU.

A prediction is the same step of the same model on tensors without values, under the same meter: a
measurement less the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftrack.frames import Frame
from halftrack.models.roi_head import RoIHead, SampledRoIs
from halftrack.precision import LiveBytes, ShapesOnly, optimizer_step
from halftrack.recipes import TrainedRecipe, spread_boxes
from halftrack.training import Batch, total_loss
from halftrack.training.optimiser import apply_phases, build_sgd

__all__ = ["metered_step", "predicted_step", "step_memory"]


def step_memory(recipe: TrainedRecipe, data_root: Path) -> int:
    """Peak live bytes of a training step on the data's first batch."""
    recipe = recipe.settled(data_root)
    model = recipe.build_model().train()
    recipe.precision.keep_in_fp32(model)
    source = recipe.training_source(data_root)
    batches = source.batches(seed=0, epoch=0, start=0, stop=1, workers=0, pin=False)
    return metered_step(recipe, model, next(iter(batches))).peak


def metered_step(recipe: TrainedRecipe, model: nn.Module, batch: Batch) -> LiveBytes:
    """The meter around a batch and the step after it, on the CPU.

    The optimizer has its state and, where a step accumulates batches, the gradients of an earlier
    one. Weights move as on a GPU, all at once: the copies that takes are counted.

    Args:
        recipe: its precision and how weights move.
        model: in training mode.
        batch: what is learned from.
    """
    settings, precision = recipe.training, recipe.precision
    optimizer = build_sgd(
        model, lr=0.0, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    for group in optimizer.param_groups:
        group["foreach"] = True
    _begin(optimizer)
    if settings.accumulate == 1:
        optimizer.zero_grad(set_to_none=True)
    loss_scale = precision.new_loss_scale()
    with LiveBytes(model, [optimizer]) as meter:
        with precision.arithmetic("cpu"):
            with precision.autocast("cpu"):
                losses = model(batch)
            loss_scale.scale(total_loss(losses) / settings.accumulate).backward()
        optimizer_step([optimizer], loss_scale, max_grad_norm=settings.max_grad_norm)
    return meter


def predicted_step(recipe: TrainedRecipe, *, epoch: int = 0, objects: int = 50) -> LiveBytes:
    """The meter after a step at the recipe's largest sizes that nobody computed.

    Where values decide how many there are of something (proposals, sampled rois), there are as many
    as there can be.

    Args:
        recipe: with what only the data can tell filled in.
        epoch: 0-based; decides which parameters train.
        objects: boxes to learn in each frame of a detector.
    """
    shapes = ShapesOnly()
    with shapes.making():
        model = recipe.build_model().train()
    recipe.precision.keep_in_fp32(model)
    apply_phases(model, recipe.training.phases, epoch)
    for module in model.modules():
        if isinstance(module, RoIHead):
            module.__dict__["sample"] = partial(_placed, module.sample)
    batch = recipe.planned_batch(objects=objects, forget=shapes.forget)
    with shapes:
        return metered_step(recipe, model, batch)


def _placed(
    sample: Callable[[Tensor, Frame], SampledRoIs], proposals_xyxy: Tensor, frame: Frame
) -> SampledRoIs:
    """Rois with a place, which alone decides the map of a pyramid that each is read from."""
    rois = sample(proposals_xyxy, frame)
    return replace(rois, boxes_xyxy=spread_boxes(len(rois.boxes_xyxy), frame.size))


def _begin(optimizer: Optimizer) -> None:
    """A step on gradients of zero, after which the optimizer has its state."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
