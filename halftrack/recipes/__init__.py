"""Recipes: complete runs under their published names, and the only place where the parts meet."""

from halftrack.recipes.kinds.detection import (
    DetectionEvaluation,
    FrameDetectionRecipe,
    VideoDetectionRecipe,
)
from halftrack.recipes.kinds.multi_object import (
    ReIDRecipe,
    RetrievalEvaluation,
    TrackingEvaluation,
    TrackingRecipe,
)
from halftrack.recipes.kinds.recipe import Evaluation, Recipe, TrainedRecipe, override
from halftrack.recipes.kinds.single_object import SingleObjectEvaluation, SingleObjectRecipe
from halftrack.recipes.names import RECIPES, load_recipe
from halftrack.recipes.replays import Replay, replay
from halftrack.recipes.run import (
    choose_device,
    evaluate,
    open_model,
    prepare_model,
    score_results,
    train,
)
from halftrack.recipes.stream import follow, track

__all__ = [
    "RECIPES",
    "DetectionEvaluation",
    "Evaluation",
    "FrameDetectionRecipe",
    "ReIDRecipe",
    "Recipe",
    "Replay",
    "RetrievalEvaluation",
    "SingleObjectEvaluation",
    "SingleObjectRecipe",
    "TrackingEvaluation",
    "TrackingRecipe",
    "TrainedRecipe",
    "VideoDetectionRecipe",
    "choose_device",
    "evaluate",
    "follow",
    "load_recipe",
    "open_model",
    "override",
    "prepare_model",
    "replay",
    "score_results",
    "track",
    "train",
]
