"""Recipes: complete runs under their published names, and the only place where the parts meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
    from halftrack.recipes.kinds.backbone import BackboneRecipe
    from halftrack.recipes.kinds.detection import FrameDetectionRecipe, VideoDetectionRecipe
    from halftrack.recipes.kinds.multi_object import TrackingRecipe
    from halftrack.recipes.kinds.recipe import Recipe, VideoTracker
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
    from halftrack.recipes.scoring.evaluation import (
        DetectionEvaluation,
        Evaluation,
        RetrievalEvaluation,
        SingleObjectEvaluation,
        TrackingEvaluation,
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
_EVALUATION = f"{__name__}.scoring.evaluation"
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "RECIPES": f"{__name__}.names",
        "BackboneRecipe": f"{_KINDS}.backbone",
        "DetectionEvaluation": _EVALUATION,
        "Evaluation": _EVALUATION,
        "FrameDetectionRecipe": f"{_KINDS}.detection",
        "ReIDRecipe": f"{_KINDS}.reid",
        "Recipe": f"{_KINDS}.recipe",
        "Replay": f"{__name__}.replays",
        "RetrievalEvaluation": _EVALUATION,
        "Sharing": f"{_KINDS}.trained",
        "SingleObjectEvaluation": _EVALUATION,
        "SingleObjectRecipe": f"{_KINDS}.single_object",
        "TrackingEvaluation": _EVALUATION,
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
        "spread_boxes": f"{_KINDS}.trained",
        "track": f"{__name__}.stream",
        "train": f"{__name__}.run",
    },
)
