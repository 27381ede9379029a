"""Recipes of detectors: SELSA in video, Faster R-CNN in single frames, and how both are scored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from halftrack.data import Progress, SkipLedger
from halftrack.data.mot import FrameBatches, MotDetectionConfig, MotRows, MotSequences, learned_rows
from halftrack.data.vid import TestVideos, TrainingClips, VidDataConfig
from halftrack.evaluation import DetectionMetrics, FrameDetections, score_detections
from halftrack.frames import Detections, Frame, FrameTruth
from halftrack.models import FasterRCNNConfig, SelsaConfig
from halftrack.recipes.kinds.recipe import Evaluation, TrainedRecipe, TrainingSource

__all__ = [
    "DetectionEvaluation",
    "FrameDetectionRecipe",
    "Stopwatch",
    "VideoDetectionRecipe",
    "left_out",
]


@dataclass(frozen=True, kw_only=True)
class DetectionEvaluation(Evaluation):
    """How a detector did on the validation videos."""

    metrics: DetectionMetrics
    """The scores."""
    detections: tuple[Detections, ...]
    """What was found in each frame, in the order of the videos, on the CPU."""

    def flat(self) -> dict[str, float]:
        """``coco_ap50``, ``voc_ap50`` and so on."""
        return self.metrics.flat()

    def numbers(self) -> dict[str, Any]:
        """The scores in full, those by class too."""
        return self.metrics.metrics()

    def tables(self) -> dict[str, list[dict[str, object]]]:
        """AP by class."""
        coco, voc = self.metrics.coco_ap50_per_class, self.metrics.voc_ap50_per_class
        rows: list[dict[str, object]] = [
            {"class": name, "COCO AP50": f"{100 * ap:.1f}", "VOC AP50": f"{100 * voc[name]:.1f}"}
            for name, ap in coco.items()
        ]
        return {"AP50 by class": rows}


@dataclass(frozen=True, kw_only=True)
class VideoDetectionRecipe(TrainedRecipe):
    """SELSA on ImageNet VID."""

    backbone_path: ClassVar[str] = "detector.backbone"
    model: SelsaConfig
    """Architecture and its loss, sampling and test settings."""
    data: VidDataConfig
    """What is read and how it is sampled."""

    def training_source(
        self, data_root: str | Path, *, progress: Progress | None = None
    ) -> TrainingSource:
        """Clips of the training videos."""
        return TrainingClips.open(self.data, data_root, progress=progress)

    def scorer(
        self, data_root: str | Path, device: torch.device, *, progress: Progress | None = None
    ) -> Callable[[nn.Module], DetectionEvaluation]:
        """Streams every validation video through the model, references once a video."""
        videos = TestVideos.open(self.data, data_root)

        def frames(model: nn.Module, clock: Stopwatch) -> Iterator[tuple[Frame, FrameTruth]]:
            for done, video in enumerate(videos, start=1):
                references = [frame.to(device) for frame in video.references]
                with clock:
                    model.start(references)  # type: ignore[operator]
                for frame in video.frames():
                    yield frame, video.truth(frame.frame_index)
                if progress is not None:
                    progress(done, len(videos))

        def score(model: nn.Module) -> DetectionEvaluation:
            clock = Stopwatch()
            return _score(model, frames(model, clock), clock, self, device, videos.skipped)

        return score


@dataclass(frozen=True, kw_only=True)
class FrameDetectionRecipe(TrainedRecipe):
    """Faster R-CNN on the frames of MOTChallenge sequences: Tracktor's detector."""

    model: FasterRCNNConfig
    """Architecture and its loss, sampling and test settings."""
    data: MotDetectionConfig
    """What is read and how it is augmented."""

    def training_source(
        self, data_root: str | Path, *, progress: Progress | None = None
    ) -> TrainingSource:
        """Batches of the training frames."""
        return FrameBatches.open(self.data, data_root)

    def scorer(
        self, data_root: str | Path, device: torch.device, *, progress: Progress | None = None
    ) -> Callable[[nn.Module], DetectionEvaluation]:
        """Detects in every frame of the validation sequences; scored on the rows that train."""
        sequences = MotSequences.open(self.data, data_root)
        flag_zero = self.data.train_flag_zero
        # All of it now: without ground truth a run shall end before its first step.
        rows = {each.name: learned_rows(each.record, flag_zero=flag_zero)[0] for each in sequences}

        def score(model: nn.Module) -> DetectionEvaluation:
            frames = _truths(sequences, rows, progress)
            return _score(model, frames, Stopwatch(), self, device, sequences.skipped)

        return score


def _truths(
    sequences: MotSequences, rows: Mapping[str, MotRows], progress: Progress | None
) -> Iterator[tuple[Frame, FrameTruth]]:
    """Every frame of the sequences and the pedestrians in it."""
    for done, sequence in enumerate(sequences, start=1):
        for frame in sequence.frames():
            inside = rows[sequence.name].in_frame(sequence.frame_numbers[frame.frame_index])
            yield (
                frame,
                FrameTruth(
                    video=sequence.name,
                    boxes_xyxy=inside.boxes_xyxy,
                    labels=np.zeros(len(inside), dtype=np.int64),
                    track_ids=inside.ids,
                    ignored=np.zeros(len(inside), dtype=np.bool_),
                ),
            )
        if progress is not None:
            progress(done, len(sequences))


def _score(
    model: nn.Module,
    frames: Iterable[tuple[Frame, FrameTruth]],
    clock: Stopwatch,
    recipe: VideoDetectionRecipe | FrameDetectionRecipe,
    device: torch.device,
    ledger: SkipLedger,
) -> DetectionEvaluation:
    """Detect in every frame and compare with what is there."""
    truths: list[FrameTruth] = []
    found: list[Detections] = []
    precision = recipe.precision
    with precision.inference(device):
        for frame, truth in frames:
            with clock:
                # The copy to the CPU waits for the device, so the time is the model's.
                found.append(model(frame.to(device)).to("cpu"))
            truths.append(truth)
    arrays = [
        FrameDetections(
            boxes_xyxy=each.boxes_xyxy.double().numpy(),
            scores=each.scores.double().numpy(),
            labels=each.labels.numpy(),
        )
        for each in found
    ]
    return DetectionEvaluation(
        metrics=score_detections(truths, arrays, classes=recipe.data.class_names),
        frames=len(found),
        seconds=clock.seconds,
        detections=tuple(found),
        skipped=left_out(ledger),
    )


def left_out(ledger: SkipLedger) -> tuple[str, ...]:
    """What a ledger lists, as lines; nothing if it is empty."""
    return tuple(ledger.lines()) if len(ledger) else ()


class Stopwatch:
    """Adds up the time spent inside it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._start
