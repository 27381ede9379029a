"""The types of recipes: the questions that a recipe answers about itself.

All of halftrack's own are loaded with this package, so that ``Recipe.from_dict`` finds them.
"""

from halftrack.recipes.kinds import detection, multi_object, reid, single_object

__all__ = ["detection", "multi_object", "reid", "single_object"]
