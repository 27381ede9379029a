"""Untrained models whose answers depend on their image: boxes of many scores and sizes."""

from __future__ import annotations

from typing import Any

import torch

from halftrack.recipes import load_recipe

_JUDGES = ("rpn_conv", "rpn_cls", "rpn_reg", "fc_cls", "fc_reg")


def lively(name: str) -> Any:
    """The model of a recipe, in evaluation mode, with larger weights where it judges."""
    recipe: Any = load_recipe(name)
    model = recipe.without_data().build_model().eval()
    source = torch.Generator().manual_seed(3)
    for key, weight in model.named_parameters():
        if weight.ndim > 1 and any(judge in key for judge in _JUDGES):
            weight.data.normal_(0, 0.03, generator=source)
    return model
