"""Tracktor put together from a detector and a ReID model, run over sequences and scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from halftrack.data import Progress, SourceFrame
from halftrack.data.mot import MotSequences
from halftrack.data.prefetch import passes
from halftrack.errors import UserError
from halftrack.evaluation import TrackRows, read_result_folder, score_tracks
from halftrack.frames import Frame, Tracks
from halftrack.models import FasterRCNN, ReID
from halftrack.recipes.scoring.evaluation import TrackingEvaluation
from halftrack.recipes.scoring.mot_tracks import (
    CollectedTracks,
    CountedMotion,
    has_truth,
    motion_notes,
    result_notes,
    sequence_truth,
)
from halftrack.recipes.scoring.scorer import Stopwatch, left_out
from halftrack.tracking import Tracktor

if TYPE_CHECKING:
    from halftrack.recipes.kinds.multi_object import TrackingRecipe

__all__ = ["TracktorOnVideo", "TracktorParts", "new_tracker", "result_scores", "track_scorer"]


class TracktorParts(nn.Module):
    """Detector and ReID under the keys of MMTracking's tracker."""

    def __init__(self, detector: FasterRCNN, reid: ReID | None) -> None:
        super().__init__()
        self.detector = detector
        if reid is not None:
            self.reid = reid


def new_tracker(recipe: TrackingRecipe, model: nn.Module) -> Tracktor:
    """The state machine around a model of this recipe, on the model's device."""
    assert isinstance(model, TracktorParts)
    motion = None
    if recipe.camera_motion is not None:
        motion = CountedMotion(recipe.camera_motion, normalised=recipe.tracker.compatible)
    return Tracktor(
        detector=model.detector,
        embedder=None if recipe.reid is None else model.reid.embed,
        camera_motion=motion,
        config=recipe.tracker,
    )


def track_scorer(
    recipe: TrackingRecipe, data_root: str | Path, device: torch.device, progress: Progress | None
) -> Callable[[nn.Module], TrackingEvaluation]:
    """Scorer that tracks every validation sequence; TrackEval scores where there is truth.

    Raises:
        DataError: if the data are not there or not readable, or if only some have ground truth.
        ValueError: if ground truth cannot be scored.
    """
    data = recipe.data
    sequences = MotSequences.open(data, data_root, scored=True)
    scored = has_truth(sequences)

    def score(model: nn.Module) -> TrackingEvaluation:
        assert isinstance(model, TracktorParts)
        clock, tracker = Stopwatch(), recipe.new_tracker(model)
        results: dict[str, TrackRows] = {}
        came: dict[str, list[int]] = {}
        frames = 0
        with recipe.precision.inference(device):
            for sequence in sequences:
                tracker.reset()
                rows, came[sequence.name] = CollectedTracks(), []
                ahead = passes(sequence.frames(), data.test_batch)
                for index, tracks in _tracked(tracker, model.detector, ahead, clock, device):
                    number = sequence.frame_numbers[index]
                    came[sequence.name].append(number)
                    rows.add(number, tracks)
                    frames += 1
                    if progress is not None:
                        progress(frames, sequences.num_frames)
                results[sequence.name] = rows.rows()
        notes = [*left_out(sequences.skipped), *sequences.notes, *motion_notes(tracker)]
        metrics = None
        if scored:
            # Of frames that could not be read nothing is asked.
            truths = [sequence_truth(sequence, came[sequence.name]) for sequence in sequences]
            metrics = score_tracks(truths, results, benchmark=data.benchmark)
        return TrackingEvaluation(
            metrics=metrics,
            results=results,
            frames=frames,
            seconds=clock.seconds,
            skipped=tuple(notes),
        )

    return score


def result_scores(
    recipe: TrackingRecipe, folder: str | Path, data_root: str | Path
) -> TrackingEvaluation:
    """Scores of a folder of MOTChallenge result files on the validation sequences.

    Raises:
        DataError: if the data are not there or not readable.
        ValueError: for sequences without ground truth, and files that are missing or malformed.
    """
    sequences, data = MotSequences.open(recipe.data, data_root, scored=True), recipe.data
    if not has_truth(sequences):
        raise UserError(f"{data.test_split} of {data.benchmark} has no ground truth")
    truths = [sequence_truth(sequence) for sequence in sequences]
    found = read_result_folder(Path(folder), sequences.names)
    odd = result_notes(Path(folder), sequences, found.results)
    return TrackingEvaluation(
        metrics=score_tracks(truths, found.results, benchmark=data.benchmark),
        results=found.results,
        frames=sequences.num_frames,
        seconds=0.0,
        skipped=(*left_out(sequences.skipped), *sequences.notes, *odd, *found.notes()),
    )


def _tracked(
    tracker: Tracktor,
    detector: FasterRCNN,
    passes: Iterable[Sequence[Frame]],
    clock: Stopwatch,
    device: torch.device,
) -> Iterator[tuple[int, Tracks]]:
    """Index and tracks of each frame."""
    for frames in passes:
        answers = _steps(tracker, detector, frames, device)
        for frame in frames:
            with clock:
                tracks = next(answers)
            yield frame.frame_index, tracks


def _steps(
    tracker: Tracktor, detector: FasterRCNN, frames: Sequence[Frame], device: torch.device
) -> Iterator[Tracks]:
    """Tracks of each frame; the detector sees all frames at once.

    ReID does not: which boxes it is to embed depends on the tracks of the frame before.
    """
    moved = [frame.to(device) for frame in frames]
    found = detector.detect_all(moved)
    for frame, detections in zip(moved, found, strict=True):
        yield tracker.step(frame, detections)


class TracktorOnVideo:
    """Tracktor over the frames of a video."""

    def __init__(self, recipe: TrackingRecipe, model: nn.Module, device: torch.device) -> None:
        assert isinstance(model, TracktorParts)
        self.batch = recipe.data.test_batch
        self._tracker, self._detector = recipe.new_tracker(model), model.detector
        self._device = device

    def steps(self, frames: Sequence[SourceFrame]) -> Iterator[Tracks]:
        """The tracks seen in each of the next frames."""
        given = [each.frame for each in frames]
        return _steps(self._tracker, self._detector, given, self._device)

    def notes(self) -> list[str]:
        """A line on frames whose camera motion was not found, if there are any."""
        return motion_notes(self._tracker)
