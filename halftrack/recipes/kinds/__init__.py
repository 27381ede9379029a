"""The types of recipes: the questions that a recipe answers about itself."""
