"""Tracktor put together from a detector and a ReID model, run over sequences and scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn

from halftrack.data import Problem, Progress, SourceFrame
from halftrack.data.mot import Benchmark, MotSequences, TestSequence
from halftrack.data.prefetch import passes
from halftrack.errors import UserError
from halftrack.evaluation import TrackRows, read_result_folder, score_tracks
from halftrack.frames import Detections, Frame, Tracks
from halftrack.models import FasterRCNN, ReID
from halftrack.recipes.scoring.evaluation import TrackingEvaluation
from halftrack.recipes.scoring.mot_tracks import (
    CollectedTracks,
    CountedMotion,
    has_truth,
    lost_frames,
    motion_notes,
    result_notes,
    sequence_truth,
)
from halftrack.recipes.scoring.scorer import Scorer, Skips, Stopwatch, left_out
from halftrack.tracking import Tracktor
from halftrack.tracking.protocols import Detector, Embedder

if TYPE_CHECKING:
    from halftrack.recipes.kinds.multi_object import TrackingRecipe

__all__ = [
    "FoundTracks",
    "PassDetector",
    "TracktorOnVideo",
    "TracktorParts",
    "assembled",
    "follow",
    "new_tracker",
    "result_scores",
    "track_evaluation",
    "track_scorer",
]


class PassDetector(Protocol):
    """A detector that sees several frames of one size at once."""

    def detect_all(self, frames: Sequence[Frame], /) -> list[Detections]:
        """Detections in each frame, in original pixels."""


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
    return assembled(recipe, model.detector, None if recipe.reid is None else model.reid.embed)


def assembled(recipe: TrackingRecipe, detector: Detector, embedder: Embedder | None) -> Tracktor:
    """The state machine around what finds objects, and finds them again."""
    motion = None
    if recipe.camera_motion is not None:
        motion = CountedMotion(recipe.camera_motion, normalised=recipe.tracker.compatible)
    return Tracktor(
        detector=detector, embedder=embedder, camera_motion=motion, config=recipe.tracker
    )


@dataclass(frozen=True, kw_only=True)
class FoundTracks:
    """Tracks in a sequence, and the frames that could be read."""

    rows: TrackRows
    """The tracks."""
    numbers: list[int]
    """Numbers of the frames, counted from 1."""
    seconds: float
    """Time spent in the tracker."""
    lost: Sequence[str] = ()
    """Frames whose camera motion was not found."""
    skipped: Counter[Problem] = field(default_factory=Counter)
    """Problems of the frames that were left out."""


def track_scorer(
    recipe: TrackingRecipe, data_root: str | Path, device: torch.device, progress: Progress | None
) -> Scorer[FoundTracks, TrackingEvaluation]:
    """Scorer that tracks every validation sequence; TrackEval scores where there is truth.

    Raises:
        DataError: if the data are not there or not readable, or if only some have ground truth.
        ValueError: if ground truth cannot be scored.
    """
    sequences = MotSequences.open(recipe.data, data_root, scored=True)
    lengths, skips = [len(sequence) for sequence in sequences], Skips(sequences.skipped)

    def find(model: nn.Module, numbers: Sequence[int]) -> list[FoundTracks]:
        assert isinstance(model, TracktorParts)
        found, done = [], count(1)
        total = sum(lengths[number] for number in numbers)

        def told() -> None:
            if progress is not None:
                progress(next(done), total)

        with recipe.precision.inference(device):
            for number in numbers:
                sequence, tracker = sequences[number], recipe.new_tracker(model)
                with skips.of_video() as skipped:
                    ahead = passes(sequence.frames(), recipe.data.test_batch)
                    tracks = follow(sequence, ahead, tracker, model.detector, device, told)
                found.append(replace(tracks, lost=lost_frames(tracker), skipped=skipped))
        return found

    def conclude(found: Sequence[FoundTracks]) -> TrackingEvaluation:
        return track_evaluation(found, sequences, recipe.data.benchmark, skips)

    return Scorer(lengths=lengths, find=find, conclude=conclude, facts={})


def follow(
    sequence: TestSequence,
    frames: Iterable[Sequence[Frame]],
    tracker: Tracktor,
    detector: PassDetector,
    device: torch.device,
    told: Callable[[], None] = lambda: None,
) -> FoundTracks:
    """Track all objects of a sequence, in the arithmetic around the call.

    Args:
        sequence: what is tracked.
        frames: its frames, pass by pass.
        tracker: a new one.
        detector: sees the frames of a pass at once.
        device: where to compute.
        told: called after each frame.
    """
    clock, rows, numbers = Stopwatch(), CollectedTracks(), list[int]()
    for index, tracks in _tracked(tracker, detector, frames, clock, device):
        numbers.append(sequence.frame_numbers[index])
        rows.add(numbers[-1], tracks)
        told()
    return FoundTracks(rows=rows.rows(), numbers=numbers, seconds=clock.seconds)


def track_evaluation(
    found: Sequence[FoundTracks], sequences: MotSequences, benchmark: Benchmark, skips: Skips
) -> TrackingEvaluation:
    """Scores of the tracks in all sequences, in their order."""
    results = {name: each.rows for name, each in zip(sequences.names, found, strict=True)}
    metrics = None
    if has_truth(sequences):
        # Of frames that could not be read nothing is asked.
        pairs = zip(sequences, found, strict=True)
        truths = [sequence_truth(sequence, each.numbers) for sequence, each in pairs]
        metrics = score_tracks(truths, results, benchmark=benchmark)
    motion = motion_notes([name for each in found for name in each.lost])
    return TrackingEvaluation(
        metrics=metrics,
        results=results,
        frames=sum(len(each.numbers) for each in found),
        seconds=sum(each.seconds for each in found),
        skipped=(*skips.lines(each.skipped for each in found), *sequences.notes, *motion),
    )


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
    detector: PassDetector,
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
    tracker: Tracktor, detector: PassDetector, frames: Sequence[Frame], device: torch.device
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
        return motion_notes(lost_frames(self._tracker))
