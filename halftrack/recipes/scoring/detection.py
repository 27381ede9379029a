"""Scoring of detectors: SELSA on whole videos, Faster R-CNN on frames of sequences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from halftrack.data import DataError, Progress, SkipLedger
from halftrack.data.mot import MotRows, MotSequences, learned_rows
from halftrack.data.mot.scoring import nothing_to_detect
from halftrack.data.prefetch import passes
from halftrack.data.vid import TestVideos
from halftrack.evaluation import FrameDetections, score_detections
from halftrack.frames import Detections, Frame, FrameTruth
from halftrack.recipes.scoring.evaluation import DetectionEvaluation
from halftrack.recipes.scoring.scorer import Scorer, Stopwatch, left_out

if TYPE_CHECKING:
    from halftrack.recipes.kinds.detection import FrameDetectionRecipe, VideoDetectionRecipe

__all__ = ["frame_scorer", "video_scorer"]

_Pass = tuple[list[Frame], list[FrameTruth]]


def video_scorer(
    recipe: VideoDetectionRecipe,
    data_root: str | Path,
    device: torch.device,
    progress: Progress | None,
) -> Scorer[DetectionEvaluation]:
    """Scorer that streams every validation video through the model, references once a video."""
    videos = TestVideos.open(recipe.data, data_root)

    def frames(model: nn.Module, clock: Stopwatch) -> Iterator[_Pass]:
        for done, video in enumerate(videos, start=1):
            references = [frame.to(device) for frame in video.references]
            with clock:
                model.start(references)  # type: ignore[operator]
            for each in passes(video.frames(), recipe.data.test_batch):
                yield each, [video.truth(frame.frame_index) for frame in each]
            if progress is not None:
                progress(done, len(videos))

    def score(model: nn.Module) -> DetectionEvaluation:
        clock = Stopwatch()
        return _score(model, frames(model, clock), clock, recipe, device, videos.skipped)

    return Scorer(score, videos.facts())


def frame_scorer(
    recipe: FrameDetectionRecipe,
    data_root: str | Path,
    device: torch.device,
    progress: Progress | None,
) -> Scorer[DetectionEvaluation]:
    """Scorer that detects in every frame of the validation sequences, on the rows that train."""
    data = recipe.data
    sequences = MotSequences.open(data, data_root)
    flag_zero = data.train_flag_zero
    # All of it now: without ground truth a run shall end before its first step.
    rows = {each.name: learned_rows(each.record, flag_zero=flag_zero)[0] for each in sequences}
    nothing = nothing_to_detect([each.record for each in sequences], flag_zero=flag_zero)
    if nothing is not None:
        raise DataError(nothing.file, nothing.reason)

    def score(model: nn.Module) -> DetectionEvaluation:
        frames = _truths(sequences, rows, data.test_batch, progress)
        return _score(model, frames, Stopwatch(), recipe, device, sequences.skipped)

    return Scorer(score, sequences.facts())


def _truths(
    sequences: MotSequences, rows: Mapping[str, MotRows], batch: int, progress: Progress | None
) -> Iterator[_Pass]:
    """Every frame of the sequences and the pedestrians in it."""
    for done, sequence in enumerate(sequences, start=1):
        for frames in passes(sequence.frames(), batch):
            numbers = [sequence.frame_numbers[frame.frame_index] for frame in frames]
            inside = [rows[sequence.name].in_frame(number) for number in numbers]
            yield frames, [_pedestrians(sequence.name, each) for each in inside]
        if progress is not None:
            progress(done, len(sequences))


def _pedestrians(video: str, rows: MotRows) -> FrameTruth:
    return FrameTruth(
        video=video,
        boxes_xyxy=rows.boxes_xyxy,
        labels=np.zeros(len(rows), dtype=np.int64),
        track_ids=rows.ids,
        ignored=np.zeros(len(rows), dtype=np.bool_),
    )


def _score(
    model: nn.Module,
    passes: Iterable[_Pass],
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
        for frames, inside in passes:
            with clock:
                answers = model([frame.to(device) for frame in frames])
                # The copy to the CPU waits for the device, so the time is the model's.
                found += [each.to("cpu") for each in answers]
            truths += inside
    arrays = [
        FrameDetections(
            boxes_xyxy=each.boxes_xyxy.double().numpy(),
            scores=each.scores.double().numpy(),
            labels=each.labels.numpy(),
        )
        for each in found
    ]
    return DetectionEvaluation(
        metrics=score_detections(truths, arrays, class_names=recipe.data.class_names),
        frames=len(found),
        seconds=clock.seconds,
        detections=tuple(found),
        skipped=left_out(ledger),
    )
