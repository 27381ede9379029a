"""Recipes: complete runs under their published names, and the only place where the parts meet."""

from halftrack.recipes.names import RECIPES, load_recipe
from halftrack.recipes.recipe import Recipe, override
from halftrack.recipes.run import Evaluation, evaluate, prepare_model, train

__all__ = [
    "RECIPES",
    "Evaluation",
    "Recipe",
    "evaluate",
    "load_recipe",
    "override",
    "prepare_model",
    "train",
]
