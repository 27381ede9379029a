"""What one training step of a recipe holds in memory at its peak, measured without a GPU."""

from __future__ import annotations

from pathlib import Path

import torch

from halftrack.precision import LiveBytes, optimizer_step
from halftrack.recipes import Recipe
from halftrack.training import total_loss

__all__ = ["step_memory"]


def step_memory(recipe: Recipe, data_root: Path) -> int:
    """Peak live bytes of the second training step, when the optimizer's state exists."""
    device = torch.device("cpu")
    model = recipe.build_model().train()
    recipe.precision.keep_in_fp32(model)
    settings = recipe.training
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.0, momentum=settings.momentum)
    loss_scale = recipe.precision.new_loss_scale()
    clips = recipe.data.training_clips(data_root).batches(seed=0, epoch=0, stop=2)
    meter = LiveBytes(model, [optimizer])
    for clip in clips:
        meter = LiveBytes(model, [optimizer])
        with meter:
            with recipe.precision.arithmetic(device):
                with recipe.precision.autocast(device):
                    losses = model(clip)
                loss_scale.scale(total_loss(losses)).backward()
            optimizer_step([optimizer], loss_scale, max_grad_norm=settings.max_grad_norm)
    return meter.peak
