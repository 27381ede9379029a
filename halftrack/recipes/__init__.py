"""Recipes: complete runs under their published names, and the only place where the parts meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
    from halftrack.recipes.frame_tracker import FrameTracker
    from halftrack.recipes.kinds.backbone import BackboneRecipe
    from halftrack.recipes.kinds.detection import FrameDetectionRecipe, VideoDetectionRecipe
    from halftrack.recipes.kinds.multi_object import TrackingRecipe
    from halftrack.recipes.kinds.recipe import Recipe
    from halftrack.recipes.kinds.reid import ReIDRecipe
    from halftrack.recipes.kinds.settings import override
    from halftrack.recipes.kinds.single_object import SingleObjectRecipe
    from halftrack.recipes.kinds.trained import Sharing, TrainedRecipe, TrainingSource, spread_boxes
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
    from halftrack.recipes.scoring.detection import samples_scorer
    from halftrack.recipes.scoring.evaluation import (
        DetectionEvaluation,
        Evaluation,
        RetrievalEvaluation,
        SingleObjectEvaluation,
        TrackingEvaluation,
    )
    from halftrack.recipes.scoring.on_video import VideoTracker
    from halftrack.recipes.stream import track

__all__ = [
    "RECIPES",
    "BackboneRecipe",
    "DetectionEvaluation",
    "Evaluation",
    "FrameDetectionRecipe",
    "FrameTracker",
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
    "samples_scorer",
    "score_results",
    "spread_boxes",
    "track",
    "train",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "frame_tracker": ("FrameTracker",),
        "kinds.backbone": ("BackboneRecipe",),
        "kinds.detection": (
            "FrameDetectionRecipe",
            "VideoDetectionRecipe",
        ),
        "kinds.multi_object": ("TrackingRecipe",),
        "kinds.recipe": ("Recipe",),
        "kinds.reid": ("ReIDRecipe",),
        "kinds.settings": ("override",),
        "kinds.single_object": ("SingleObjectRecipe",),
        "kinds.trained": (
            "Sharing",
            "TrainedRecipe",
            "TrainingSource",
            "spread_boxes",
        ),
        "names": (
            "RECIPES",
            "load_recipe",
        ),
        "replays": (
            "Replay",
            "replay",
        ),
        "run": (
            "choose_device",
            "evaluate",
            "open_model",
            "prepare_model",
            "score_results",
            "train",
        ),
        "scoring.detection": ("samples_scorer",),
        "scoring.evaluation": (
            "DetectionEvaluation",
            "Evaluation",
            "RetrievalEvaluation",
            "SingleObjectEvaluation",
            "TrackingEvaluation",
        ),
        "scoring.on_video": ("VideoTracker",),
        "stream": ("track",),
    },
)
