"""Recipes of multi-object tracking: Tracktor, put together from a detector and a ReID model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import nn

from halftrack.data import Progress, SourceFrame, VideoSource
from halftrack.data.check import DataReport, check
from halftrack.data.mot import MotDetectionConfig, MotSequences
from halftrack.data.prefetch import passes
from halftrack.errors import MissingFileError, UserError
from halftrack.evaluation import TrackRows, read_result_folder, score_tracks
from halftrack.frames import Frame, Tracks
from halftrack.models import FasterRCNN, FasterRCNNConfig, ReID, ReIDConfig
from halftrack.recipes.kinds.detection import Stopwatch, left_out
from halftrack.recipes.kinds.evaluation import TrackingEvaluation
from halftrack.recipes.kinds.mot_tracks import (
    CollectedTracks,
    CountedMotion,
    has_truth,
    motion_notes,
    result_notes,
    sequence_truth,
)
from halftrack.recipes.kinds.recipe import Box, Recipe, VideoTracker, fill, seeded
from halftrack.recipes.kinds.reid import identities_in
from halftrack.recipes.kinds.trained import TrainedRecipe
from halftrack.tracking import EccMotion, Tracktor, TracktorConfig

__all__ = ["TrackingRecipe"]


class TracktorParts(nn.Module):
    """Detector and ReID under the keys of MMTracking's tracker."""

    def __init__(self, detector: FasterRCNN, reid: ReID | None) -> None:
        super().__init__()
        self.detector = detector
        if reid is not None:
            self.reid = reid


@dataclass(frozen=True, kw_only=True)
class TrackingRecipe(Recipe):
    """Tracktor: nothing is trained; its parts come from the runs of other recipes."""

    method: ClassVar[str] = "Tracktor"
    needs_checkpoint: ClassVar[bool] = False
    detector: FasterRCNNConfig
    """The detector's architecture."""
    detector_recipe: str
    """The recipe that trains it."""
    detector_checkpoint: str
    """Checkpoint of the detector; published recipes name the file that training leaves."""
    reid: ReIDConfig | None = field(default_factory=ReIDConfig)
    """The embedder's architecture; None to track without."""
    reid_recipe: str = ""
    """The recipe that trains it."""
    reid_checkpoint: str = ""
    """Checkpoint of the ReID model."""
    tracker: TracktorConfig = field(default_factory=TracktorConfig)
    """When tracks go on, start and end."""
    camera_motion: EccMotion | None = field(default_factory=EccMotion)
    """Estimate of the camera's motion; None for a camera that stands still."""
    data: MotDetectionConfig
    """The data set's configuration: which sequences are tracked."""

    def build_model(self, *, seed: int = 0) -> TracktorParts:
        """Both parts with random weights, a function of ``seed`` alone, on the CPU."""
        return seeded(self._build, seed)

    def load_model(
        self, checkpoint: str | Path | None, *, seed: int = 0, trust: bool = False
    ) -> nn.Module:
        """Both parts from one file of both, or with ``None`` from the files the recipe names.

        Raises:
            FileNotFoundError: if a file is missing; says which recipe makes it.
            ValueError: if one does not fit.
        """
        files = {"detector": Path(checkpoint or self.detector_checkpoint)}
        if self.reid is not None:
            files["reid"] = Path(checkpoint or self.reid_checkpoint)
        for part, file in files.items():
            if not file.is_file():
                raise MissingFileError(
                    f"no weights of the {part} at {file}: train {getattr(self, f'{part}_recipe')}, "
                    f"or name a file with --{part} or {part}_checkpoint"
                )
        recipe = self
        if self.reid is not None and self.reid.num_identities is None:
            count = identities_in(files["reid"], trust=trust)
            reid = dataclasses.replace(self.reid, num_identities=count)
            recipe = dataclasses.replace(self, reid=reid)
        model = recipe.build_model(seed=seed)
        for part, file in files.items():
            fill(getattr(model, part), file, f"the {part} of {self.name}", trust=trust)
        return model

    def _build(self) -> TracktorParts:
        detector = self.detector.build()
        return TracktorParts(detector, None if self.reid is None else self.reid.build())

    def for_training(self) -> TrainedRecipe:
        """Raises ValueError: a tracker has no training step, its parts have one each."""
        parts = " and ".join(filter(None, (self.detector_recipe, self.reid_recipe)))
        raise UserError(
            f"{self.name} has no training step: it is put together from trained parts, {parts}; "
            "take one of those"
        )

    def with_parts(self, *, detector: str | None, reid: str | None) -> Self:
        """The same recipe with other weights for its parts, where a file is given."""
        return dataclasses.replace(
            self,
            detector_checkpoint=detector or self.detector_checkpoint,
            reid_checkpoint=reid or self.reid_checkpoint,
        )

    def check_data(
        self, data_root: str | Path, *, decode: bool = False, progress: Progress | None = None
    ) -> DataReport:
        """Read every annotation of its parts' training sequences and of the test sequences."""
        return check(data_root, self.data, tracked=True, decode=decode, progress=progress)

    @property
    def test_set(self) -> str:
        """Benchmark and split that it is scored on."""
        return f"{self.data.benchmark} {self.data.test_split}"

    def published_columns(self, *, memory_mb: float | None) -> dict[str, object]:
        """The columns of the published row that say what was run; nothing is trained."""
        return {
            "Method": self.method,
            "Detector": f"{self.detector.backbone.display_name}-FasterRCNN-FPN",
            "ReID": "-" if self.reid is None else self.reid.backbone.display_name,
            "Test Set": self.test_set,
            "Public": "Y" if self.data.public else "N",
        }

    def video_tracker(
        self, init_box_xyxy: Box | None
    ) -> Callable[[nn.Module, torch.device], VideoTracker]:
        """The tracker of all objects in a video, which finds them itself.

        Raises:
            ValueError: for a first box, and for a recipe that takes public detections.
        """
        if init_box_xyxy is not None:
            raise UserError(f"{self.name} finds its objects itself: leave out the first box")
        if self.data.public:
            raise UserError(
                f"{self.name} takes its boxes from a public detector, and a video has none: take "
                "its private twin, or --set data.public=False"
            )
        return lambda model, device: _VideoTracker(self.new_tracker(model), device)

    def video_source(self, source: VideoSource) -> VideoSource:
        """The video with its frames resized as the test sequences are, if no size was asked for."""
        if source.image_scale is not None:
            return source
        return dataclasses.replace(source, image_scale=self.data.image_scale)

    def new_tracker(self, model: nn.Module) -> Tracktor:
        """The state machine around a model of this recipe, on the model's device."""
        assert isinstance(model, TracktorParts)
        motion = None
        if self.camera_motion is not None:
            motion = CountedMotion(self.camera_motion, normalised=self.tracker.compatible)
        return Tracktor(
            detector=model.detector,
            embedder=None if self.reid is None else model.reid.embed,
            camera_motion=motion,
            config=self.tracker,
        )

    def scorer(
        self, data_root: str | Path, device: torch.device, *, progress: Progress | None = None
    ) -> Callable[[nn.Module], TrackingEvaluation]:
        """Tracks every validation sequence; TrackEval scores where there is ground truth.

        Raises:
            DataError: if the data are not there or not readable, or if only some have ground truth.
            ValueError: if ground truth cannot be scored.
        """
        sequences = MotSequences.open(self.data, data_root, scored=True)
        scored = has_truth(sequences)

        def score(model: nn.Module) -> TrackingEvaluation:
            assert isinstance(model, TracktorParts)
            clock, precision, tracker = Stopwatch(), self.precision, self.new_tracker(model)
            results: dict[str, TrackRows] = {}
            came: dict[str, list[int]] = {}
            frames = 0
            with precision.inference(device):
                for sequence in sequences:
                    tracker.reset()
                    rows, came[sequence.name] = CollectedTracks(), []
                    ahead = passes(sequence.frames(), self.data.test_batch)
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
                metrics = score_tracks(truths, results, benchmark=self.data.benchmark)
            return TrackingEvaluation(
                metrics=metrics,
                results=results,
                frames=frames,
                seconds=clock.seconds,
                skipped=tuple(notes),
            )

        return score

    def score_results(self, folder: str | Path, *, data_root: str | Path) -> TrackingEvaluation:
        """Score a folder of MOTChallenge result files on the validation sequences.

        Raises:
            DataError: if the data are not there or not readable.
            ValueError: for sequences without ground truth, and files that are missing or malformed;
                a file without rows is a sequence of which nothing was found.
        """
        sequences, data = MotSequences.open(self.data, data_root, scored=True), self.data
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
    """Index and tracks of each frame; the detector sees the frames of a pass at once."""
    for frames in passes:
        with clock:
            moved = [frame.to(device) for frame in frames]
            found = detector.detect_all(moved)
        for frame, detections in zip(moved, found, strict=True):
            with clock:
                tracks = tracker.step(frame, detections)
            yield frame.frame_index, tracks


class _VideoTracker:
    """Tracktor over the frames of a video."""

    def __init__(self, tracker: Tracktor, device: torch.device) -> None:
        self._tracker, self._device = tracker, device

    def step(self, frame: SourceFrame) -> Tracks:
        return self._tracker.step(frame.frame.to(self._device))

    def notes(self) -> list[str]:
        return motion_notes(self._tracker)
