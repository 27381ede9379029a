"""What one training step of a recipe holds in memory at its peak, measured without a GPU."""

from __future__ import annotations

from pathlib import Path

import torch

from halftrack.precision import LiveBytes, optimizer_step
from halftrack.recipes import TrainedRecipe
from halftrack.training import total_loss

__all__ = ["step_memory"]


def step_memory(recipe: TrainedRecipe, data_root: Path) -> int:
    """Peak live bytes of the second training step, when the optimizer's state exists."""
    device = torch.device("cpu")
    recipe = recipe.settled(data_root)
    model = recipe.build_model().train()
    recipe.precision.keep_in_fp32(model)
    settings = recipe.training
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.0, momentum=settings.momentum)
    loss_scale = recipe.precision.new_loss_scale()
    source = recipe.training_source(data_root)
    batches = source.batches(seed=0, epoch=0, start=0, stop=2, workers=0, pin=False)
    meter = LiveBytes(model, [optimizer])
    for batch in batches:
        meter = LiveBytes(model, [optimizer])
        with meter:
            with recipe.precision.arithmetic(device):
                with recipe.precision.autocast(device):
                    losses = model(batch)
                loss_scale.scale(total_loss(losses)).backward()
            optimizer_step([optimizer], loss_scale, max_grad_norm=settings.max_grad_norm)
    return meter.peak
