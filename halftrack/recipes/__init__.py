"""Recipes: complete runs under their published names, and the only place where the parts meet."""

from halftrack.recipes.kinds.backbone import BackboneRecipe
from halftrack.recipes.kinds.detection import (
    DetectionEvaluation,
    FrameDetectionRecipe,
    VideoDetectionRecipe,
)
from halftrack.recipes.kinds.evaluation import Evaluation
from halftrack.recipes.kinds.multi_object import TrackingEvaluation, TrackingRecipe
from halftrack.recipes.kinds.planned import Sharing, spread_boxes
from halftrack.recipes.kinds.recipe import Recipe, VideoTracker
from halftrack.recipes.kinds.reid import ReIDRecipe, RetrievalEvaluation
from halftrack.recipes.kinds.settings import override
from halftrack.recipes.kinds.single_object import SingleObjectEvaluation, SingleObjectRecipe
from halftrack.recipes.kinds.trained import TrainedRecipe, TrainingSource
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
from halftrack.recipes.stream import track

__all__ = [
    "RECIPES",
    "BackboneRecipe",
    "DetectionEvaluation",
    "Evaluation",
    "FrameDetectionRecipe",
    "ReIDRecipe",
    "Recipe",
    "Replay",
    "RetrievalEvaluation",
    "Sharing",
    "SingleObjectEvaluation",
    "SingleObjectRecipe",
    "TrackingEvaluation",
    "TrackingRecipe",
    "TrainedRecipe",
    "TrainingSource",
    "VideoDetectionRecipe",
    "VideoTracker",
    "choose_device",
    "evaluate",
    "load_recipe",
    "open_model",
    "override",
    "prepare_model",
    "replay",
    "score_results",
    "spread_boxes",
    "track",
    "train",
]
