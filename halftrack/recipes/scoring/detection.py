"""Scoring of detectors: SELSA on whole videos, Faster R-CNN on frames of sequences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from halftrack.data import DataError, OrderedBatches, Problem, Progress, SkipLedger
from halftrack.data.mot import MotRows, MotSequence, MotSequences, learned_rows
from halftrack.data.mot.scoring import nothing_to_detect
from halftrack.data.prefetch import passes
from halftrack.data.vid import TestVideos
from halftrack.evaluation import FrameDetections, score_detections
from halftrack.frames import Detections, Frame, FrameTruth
from halftrack.recipes.scoring.evaluation import DetectionEvaluation
from halftrack.recipes.scoring.scorer import Scorer, Skips, Stopwatch
from halftrack.training.same_run import DataFacts

if TYPE_CHECKING:
    from halftrack.recipes.kinds.detection import (
        DetectionRecipe,
        FrameDetectionRecipe,
        VideoDetectionRecipe,
    )

__all__ = ["frame_scorer", "samples_scorer", "video_scorer"]

_Pass = tuple[list[Frame], list[FrameTruth]]
_Passes = Callable[[nn.Module, Stopwatch, int], Iterator[_Pass]]


def video_scorer(
    recipe: VideoDetectionRecipe,
    data_root: str | Path,
    device: torch.device,
    progress: Progress | None,
) -> Scorer[_Found, DetectionEvaluation]:
    """Scorer that streams every validation video through the model, references once a video."""
    videos = TestVideos.open(recipe.data, data_root)

    def passes_of(model: nn.Module, clock: Stopwatch, number: int) -> Iterator[_Pass]:
        video = videos[number]
        references = [frame.to(device) for frame in video.references]
        with clock:
            model.start(references)  # type: ignore[operator]
        for each in passes(video.frames(), recipe.data.test_batch):
            yield each, [video.truth(frame.frame_index) for frame in each]

    return _scorer(recipe, device, _Videos.of(videos), passes_of, progress)


def frame_scorer(
    recipe: FrameDetectionRecipe,
    data_root: str | Path,
    device: torch.device,
    progress: Progress | None,
) -> Scorer[_Found, DetectionEvaluation]:
    """Scorer that detects in every frame of the validation sequences, on the rows that train."""
    data = recipe.data
    sequences = MotSequences.open(data, data_root)
    flag_zero = data.train_flag_zero
    # All of it now: without ground truth a run shall end before its first step.
    rows = {each.name: learned_rows(each.record, flag_zero=flag_zero)[0] for each in sequences}
    nothing = nothing_to_detect([each.record for each in sequences], flag_zero=flag_zero)
    if nothing is not None:
        raise DataError(nothing.file, nothing.reason)

    def passes_of(_: nn.Module, __: Stopwatch, number: int) -> Iterator[_Pass]:
        sequence = sequences[number]
        for frames in passes(sequence.frames(), data.test_batch):
            numbers = [sequence.frame_numbers[frame.frame_index] for frame in frames]
            inside = [rows[sequence.name].in_frame(number) for number in numbers]
            yield frames, [_truth(sequence.record, each) for each in inside]

    return _scorer(recipe, device, _Videos.of(sequences), passes_of, progress)


def samples_scorer(
    recipe: FrameDetectionRecipe,
    samples: OrderedBatches[Frame, Any],
    device: torch.device,
    progress: Progress | None = None,
) -> Scorer[_Found, DetectionEvaluation]:
    """Scorer that detects in samples which are kept from training, for data of one's own.

    Args:
        recipe: whose model is scored, in its precision; its data name the classes.
        samples: a source of single frames with their boxes. Whatever ``sample`` draws, it draws as
            in the first epoch of seed 0, and nothing may be mirrored.
        device: the device of the model.
        progress: told (samples done, samples in all).

    Raises:
        ValueError: when a model is scored, for labels that are not of the recipe's classes and
            boxes that are not finite.
    """

    def passes_of(_: nn.Module, __: Stopwatch, number: int) -> Iterator[_Pass]:
        frame = samples.sample(seed=0, epoch=0, index=number)
        assert not frame.flipped, f"{frame.sample_id} is mirrored"
        truth = FrameTruth(
            video=frame.sample_id,
            boxes_xyxy=frame.boxes_xyxy.double().numpy() / (frame.scale_xy * 2),
            labels=frame.labels.numpy(),
            track_ids=np.arange(len(frame.labels)),
        )
        yield [frame], [truth]

    videos = _Videos([1] * samples.num_samples, samples.facts(), samples.skipped)
    return _scorer(recipe, device, videos, passes_of, progress)


def _truth(sequence: MotSequence, rows: MotRows) -> FrameTruth:
    return FrameTruth(
        video=sequence.name,
        boxes_xyxy=rows.boxes_xyxy,
        labels=sequence.labels(rows),
        track_ids=rows.ids,
        ignored=np.zeros(len(rows), dtype=np.bool_),
    )


@dataclass(frozen=True)
class _Videos:
    """What a scorer knows of its data before it reads them."""

    lengths: list[int]
    facts: DataFacts
    skipped: SkipLedger

    @classmethod
    def of(cls, videos: TestVideos | MotSequences) -> _Videos:
        return cls([len(video) for video in videos], videos.facts(), videos.skipped)


@dataclass(frozen=True)
class _Found:
    """Detections in a video, and what is there."""

    detections: list[Detections]
    truths: list[FrameTruth]
    seconds: float
    skipped: Counter[Problem]


def _scorer(
    recipe: DetectionRecipe,
    device: torch.device,
    videos: _Videos,
    passes_of: _Passes,
    progress: Progress | None,
) -> Scorer[_Found, DetectionEvaluation]:
    """Scorer that detects in every frame and compares with what is there."""
    skips = Skips(videos.skipped)

    def find(model: nn.Module, numbers: Sequence[int]) -> list[_Found]:
        found = []
        with recipe.precision.inference(device):
            for number in numbers:
                clock = Stopwatch()
                with skips.of_video() as skipped:
                    detections, truths = _detected(model, passes_of(model, clock, number), clock)
                found.append(_Found(detections, truths, clock.seconds, skipped))
                if progress is not None:
                    progress(len(found), len(numbers))
        return found

    def _detected(
        model: nn.Module, passes: Iterable[_Pass], clock: Stopwatch
    ) -> tuple[list[Detections], list[FrameTruth]]:
        detections: list[Detections] = []
        truths: list[FrameTruth] = []
        for frames, inside in passes:
            with clock:
                answers = model([frame.to(device) for frame in frames])
                # The copy to the CPU waits for the device, so the time is the model's.
                detections += [each.to("cpu") for each in answers]
            truths += inside
        return detections, truths

    def conclude(found: Sequence[_Found]) -> DetectionEvaluation:
        return _evaluation(found, recipe.data.class_names, skips)

    return Scorer(
        lengths=videos.lengths,
        find=find,
        conclude=conclude,
        facts=videos.facts,
    )


def _evaluation(
    found: Sequence[_Found], class_names: Sequence[str], skips: Skips
) -> DetectionEvaluation:
    detections = [each for video in found for each in video.detections]
    truths = [each for video in found for each in video.truths]
    arrays = [
        FrameDetections(
            boxes_xyxy=each.boxes_xyxy.double().numpy(),
            scores=each.scores.double().numpy(),
            labels=each.labels.numpy(),
        )
        for each in detections
    ]
    return DetectionEvaluation(
        metrics=score_detections(truths, arrays, class_names=class_names),
        frames=len(detections),
        seconds=sum(video.seconds for video in found),
        detections=tuple(detections),
        skipped=skips.lines(video.skipped for video in found),
    )
