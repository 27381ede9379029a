"""Recipes: complete runs under their published names, and the only place where the parts meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
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

_KINDS = f"{__name__}.kinds"
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "RECIPES": f"{__name__}.names",
        "BackboneRecipe": f"{_KINDS}.backbone",
        "DetectionEvaluation": f"{_KINDS}.detection",
        "Evaluation": f"{_KINDS}.evaluation",
        "FrameDetectionRecipe": f"{_KINDS}.detection",
        "ReIDRecipe": f"{_KINDS}.reid",
        "Recipe": f"{_KINDS}.recipe",
        "Replay": f"{__name__}.replays",
        "RetrievalEvaluation": f"{_KINDS}.reid",
        "Sharing": f"{_KINDS}.planned",
        "SingleObjectEvaluation": f"{_KINDS}.single_object",
        "SingleObjectRecipe": f"{_KINDS}.single_object",
        "TrackingEvaluation": f"{_KINDS}.multi_object",
        "TrackingRecipe": f"{_KINDS}.multi_object",
        "TrainedRecipe": f"{_KINDS}.trained",
        "TrainingSource": f"{_KINDS}.trained",
        "VideoDetectionRecipe": f"{_KINDS}.detection",
        "VideoTracker": f"{_KINDS}.recipe",
        "choose_device": f"{__name__}.run",
        "evaluate": f"{__name__}.run",
        "load_recipe": f"{__name__}.names",
        "open_model": f"{__name__}.run",
        "override": f"{_KINDS}.settings",
        "prepare_model": f"{__name__}.run",
        "replay": f"{__name__}.replays",
        "score_results": f"{__name__}.run",
        "spread_boxes": f"{_KINDS}.planned",
        "track": f"{__name__}.stream",
        "train": f"{__name__}.run",
    },
)
