"""The recipe that is rehearsed, in the precision that is asked for."""

from __future__ import annotations

from halftrack.errors import UserError
from halftrack.recipes import Recipe, TrainedRecipe

__all__ = ["rehearsable"]


def rehearsable(recipe: Recipe, precision: str | None = None) -> TrainedRecipe:
    """The recipe in the precision that is asked for, else its own, which fp16 replaces if fp32.

    Raises:
        ValueError: for a recipe without a training step, and for fp32.
    """
    trained = recipe.for_training()
    if precision is None:
        precision = "fp16" if recipe.precision.name == "fp32" else recipe.precision.name
    if precision == "fp32":
        raise UserError("precision 'fp32' has nothing to rehearse; choose tf32, bf16 or fp16")
    return trained.with_precision(precision)
