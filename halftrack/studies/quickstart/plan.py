"""Contents of a quickstart: how much synthetic video, which recipes, in which precisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from halftrack.recipes import (
    FrameDetectionRecipe,
    ReIDRecipe,
    SingleObjectRecipe,
    TrackingRecipe,
    VideoDetectionRecipe,
)
from halftrack.recipes.published import faster_rcnn, reid, selsa, siamrpn, tracktor
from halftrack.synthetic import SyntheticVideo

__all__ = ["TASKS", "Plan", "full_plan", "quick_plan"]

TASKS = ("vid", "mot", "sot")
"""The tasks by the layout of their synthetic video, in their order."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Contents of a quickstart."""

    precisions: tuple[str, ...]
    """Precisions that every recipe is trained in."""
    processes: int
    """Processes that share the work. With more than one each has one thread: models so small gain
    little from a second."""
    video: Mapping[str, SyntheticVideo]
    """Synthetic video of each task; the seed is the quickstart's."""
    vid: VideoDetectionRecipe
    """SELSA."""
    detector: FrameDetectionRecipe
    """Tracktor's detector."""
    embedder: ReIDRecipe
    """Tracktor's ReID model."""
    tracker: TrackingRecipe
    """Tracktor."""
    sot: SingleObjectRecipe
    """SiamRPN++."""
    rehearsal_steps: int
    """Steps of SELSA's run that are rehearsed."""


def full_plan() -> Plan:
    """The tiny recipes as they are, in three precisions."""
    # A street shows many people, a film of the third task one object to learn from.
    train_videos = {"vid": 14, "mot": 8, "sot": 60}
    return Plan(
        precisions=("fp32", "bf16", "fp16"),
        processes=1,
        video={
            task: SyntheticVideo(layout=task, train_videos=train_videos[task])  # type: ignore[arg-type]
            for task in TASKS
        },
        vid=selsa.tiny_sample(),
        detector=faster_rcnn.tiny_sample(),
        embedder=reid.tiny_sample(),
        tracker=tracktor.tiny_sample(),
        sot=siamrpn.tiny_sample(),
        rehearsal_steps=50,
    )


def quick_plan() -> Plan:
    """Smaller films and shorter runs of the tiny recipes, in fp32 and fp16."""
    vid, detector = selsa.tiny_sample(), faster_rcnn.tiny_sample()
    embedder, sot = reid.tiny_sample(), siamrpn.tiny_sample()
    height, width = size = (144, 240)
    detector = replace(
        detector,
        # Anchors as much smaller than the tiny recipe's as the films are.
        model=replace(detector.model, rpn=replace(detector.model.rpn, scales=(4.5,))),
        data=replace(detector.data, image_scale=(width, height), crop_size=(height, width)),
        training=replace(detector.training, **_QUICK),
    )
    return Plan(
        precisions=("fp32", "fp16"),
        processes=2,
        video={
            # As many frames in more videos teach more.
            "vid": SyntheticVideo(
                layout="vid", train_videos=72, val_videos=10, frames=8, size=size
            ),
            "mot": SyntheticVideo(
                layout="mot", train_videos=10, val_videos=4, frames=24, size=size
            ),
            "sot": SyntheticVideo(
                layout="sot", train_videos=56, val_videos=8, frames=24, size=size, absences=False
            ),
        },
        vid=replace(
            vid,
            model=replace(vid.model, rpn=replace(vid.model.rpn, scales=(1.5, 2.25, 3.4))),
            data=replace(vid.data, image_scale=(width, height)),
            # As many steps over more videos, and their average: with fewer, each seen three times,
            # what is learned depends on the seed (AP50 0.61 to 0.96).
            training=replace(
                vid.training,
                epochs=2,
                milestones=(1,),
                evaluate_every=2,
                ema_decay=0.98,
                **_QUICK,
            ),
        ),
        detector=detector,
        embedder=replace(
            embedder,
            data=replace(embedder.data, min_crops=5, max_crops=5),
            training=replace(embedder.training, **_QUICK),
        ),
        tracker=replace(tracktor.tiny_sample(), detector=detector.model, data=detector.data),
        sot=replace(
            sot,
            data=replace(sot.data, pairs_per_epoch=880),
            training=replace(sot.training, **_QUICK),
        ),
        rehearsal_steps=8,
    )


# A process with one core prepares its batches itself; a log that tells early how far it is.
_QUICK: dict[str, Any] = {"workers": 0, "log_every": 5}
