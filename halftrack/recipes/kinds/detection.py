"""Recipes of detectors: SELSA in video and Faster R-CNN in single frames, and their evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from halftrack.data import DataError, Progress, SkipLedger
from halftrack.data.check import DataReport, check
from halftrack.data.mot import FrameBatches, MotDetectionConfig, MotRows, MotSequences, learned_rows
from halftrack.data.mot.scoring import nothing_to_detect
from halftrack.data.prefetch import passes
from halftrack.data.vid import TestVideos, TrainingClips, VidDataConfig
from halftrack.errors import UserError
from halftrack.evaluation import FrameDetections, score_detections
from halftrack.evaluation.detection import DETECTION_SCORES
from halftrack.frames import Clip, ClipBatch, Detections, Frame, FrameBatch, FrameTruth
from halftrack.models import FasterRCNNConfig, SelsaConfig
from halftrack.recipes.kinds.backbone import BackboneRecipe
from halftrack.recipes.kinds.evaluation import DetectionEvaluation
from halftrack.recipes.kinds.trained import Scorer, Sharing, TrainingSource, spread_boxes
from halftrack.synthetic import SYNTHETIC_CLASSES, Layout
from halftrack.training import Batch

__all__ = [
    "FrameDetectionRecipe",
    "Stopwatch",
    "VideoDetectionRecipe",
    "left_out",
]


_Pass = tuple[list[Frame], list[FrameTruth]]


@dataclass(frozen=True, kw_only=True)
class VideoDetectionRecipe(BackboneRecipe):
    """SELSA on ImageNet VID."""

    method: ClassVar[str] = "SELSA"
    backbone_path: ClassVar[str] = "detector.backbone"
    batch_types: ClassVar[tuple[type, ...]] = (Clip, ClipBatch, Frame)
    any_image_size: ClassVar[bool] = True
    measured: ClassVar[tuple[str, ...]] = DETECTION_SCORES
    synthetic_layout: ClassVar[Layout | None] = "vid"
    model: SelsaConfig
    """Architecture and its loss, sampling and test settings."""
    data: VidDataConfig
    """The data sets' configuration: what is read and how it is sampled."""

    def check_before_data(self) -> None:
        """As of any recipe; and the model must tell apart as many classes as the data name."""
        super().check_before_data()
        check_classes(self.model.roi_head.num_classes, self.data.class_names)

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

        def frames(model: nn.Module, clock: Stopwatch) -> Iterator[_Pass]:
            for done, video in enumerate(videos, start=1):
                references = [frame.to(device) for frame in video.references]
                with clock:
                    model.start(references)  # type: ignore[operator]
                for each in passes(video.frames(), self.data.test_batch):
                    yield each, [video.truth(frame.frame_index) for frame in each]
                if progress is not None:
                    progress(done, len(videos))

        def score(model: nn.Module) -> DetectionEvaluation:
            clock = Stopwatch()
            return _score(model, frames(model, clock), clock, self, device, videos.skipped)

        return Scorer(score, videos.facts())

    def check_data(
        self, data_root: str | Path, *, decode: bool = False, progress: Progress | None = None
    ) -> DataReport:
        """Read every annotation of the training sets and of VID's validation set."""
        return check(data_root, self.data, decode=decode, progress=progress)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width, in pixels, of the largest image that it trains on."""
        short, long = sorted(self.data.image_scale)
        jitter = self.data.scale_jitter[1]
        return round(short * jitter), round(long * jitter)

    def image_fields(self, size: tuple[int, int]) -> list[str]:
        """The assignments with which images have this height and width, without jitter."""
        jitters = self.data.scale_jitter != (1.0, 1.0)
        scale = max(size), min(size)
        return [f"data.image_scale={scale}", *["data.scale_jitter=(1.0, 1.0)"] * jitters]

    def sharing(self) -> tuple[Sharing, ...]:
        """Numbers of reference frames, on both sides of the key frame, and of clips in a pass."""
        data, training = self.data, self.training
        return (
            Sharing("data.num_references", data.num_references, 2, 2 * data.frame_range),
            Sharing("training.clips_per_pass", training.clips_per_pass, step=training.accumulate),
        )

    def planned_batch(
        self, *, objects: int, forget: Callable[[Tensor], Tensor] = lambda x: x
    ) -> Batch:
        """Clips of the recipe's largest size, black, with so many boxes in each frame."""
        frame = _planned_frame(self.image_size, torch.uint8, objects, forget)
        clip = Clip(key=frame, references=(frame,) * self.data.num_references)
        together = self.training.clips_per_pass
        if together == 1:
            return clip
        return ClipBatch(clips=(clip,) * together, seeds=(0,) * together)

    def reading_synthetic(self) -> Self:
        """The recipe with synthetic video in the place of its data sets.

        Raises:
            ValueError: if its model tells fewer classes apart than the synthetic video has.
        """
        classes, known = self.model.roi_head.num_classes, len(SYNTHETIC_CLASSES)
        if classes < known:
            raise UserError(
                f"model.roi_head.num_classes={classes}: synthetic video has {known} classes"
            )
        sets = {"training_sets": ("vid",), "training_json": (), "test_json": ""}
        return replace(self, data=replace(self.data, classes=SYNTHETIC_CLASSES, **sets))  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class FrameDetectionRecipe(BackboneRecipe):
    """Faster R-CNN on the frames of MOTChallenge sequences: Tracktor's detector."""

    method: ClassVar[str] = "Faster R-CNN FPN"
    batch_types: ClassVar[tuple[type, ...]] = (FrameBatch, Frame)
    batch_size_field: ClassVar[str] = "data.images_per_batch"
    any_image_size: ClassVar[bool] = True
    measured: ClassVar[tuple[str, ...]] = DETECTION_SCORES
    synthetic_layout: ClassVar[Layout | None] = "mot"
    model: FasterRCNNConfig
    """Architecture and its loss, sampling and test settings."""
    data: MotDetectionConfig
    """The data set's configuration: what is read and how it is augmented."""

    def check_before_data(self) -> None:
        """As of any recipe; and the model must tell pedestrians apart, nothing else."""
        super().check_before_data()
        check_classes(self.model.roi_head.num_classes, self.data.class_names)

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
        nothing = nothing_to_detect([each.record for each in sequences], flag_zero=flag_zero)
        if nothing is not None:
            raise DataError(nothing.file, nothing.reason)

        def score(model: nn.Module) -> DetectionEvaluation:
            frames = _truths(sequences, rows, self.data.test_batch, progress)
            return _score(model, frames, Stopwatch(), self, device, sequences.skipped)

        return Scorer(score, sequences.facts())

    def check_data(
        self, data_root: str | Path, *, decode: bool = False, progress: Progress | None = None
    ) -> DataReport:
        """Read every annotation of the training and test sequences."""
        return check(data_root, self.data, decode=decode, progress=progress)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width, in pixels, of the largest image that it trains on."""
        data = self.data
        limits = [round(side * data.ratio_range[1]) for side in sorted(data.image_scale)]
        height, width = (min(pair) for pair in zip(data.crop_size, limits, strict=True))
        return height, width

    def image_fields(self, size: tuple[int, int]) -> list[str]:
        """The assignments with which images and crops have this height and width."""
        return [f"data.image_scale={(max(size), min(size))}", f"data.crop_size={size}"]

    def planned_batch(
        self, *, objects: int, forget: Callable[[Tensor], Tensor] = lambda x: x
    ) -> Batch:
        """A batch of the recipe's largest size, black, with so many boxes in each frame."""
        frame = _planned_frame(self.image_size, torch.float32, objects, forget)
        return FrameBatch(frames=(frame,) * self.data.images_per_batch)

    def reading_synthetic(self) -> Self:
        """The recipe with synthetic video in the place of its benchmark."""
        return replace(self, data=replace(self.data, benchmark="MOT17", detectors="all"))


def check_classes(num_classes: int, class_names: Sequence[str]) -> None:
    """Make sure that a detector learns as many classes as its data name.

    Raises:
        ValueError: if there are more or fewer; names the fields.
    """
    if num_classes != len(class_names):
        raise UserError(
            f"model.roi_head.num_classes={num_classes}, but the data have {len(class_names)} "
            f"classes ({', '.join(class_names[:5])}{', ...' * (len(class_names) > 5)}): set it to "
            f"{len(class_names)}"
        )


def _planned_frame(
    size: tuple[int, int], dtype: torch.dtype, objects: int, forget: Callable[[Tensor], Tensor]
) -> Frame:
    """A black frame with boxes of all sizes."""
    return Frame(
        image=forget(torch.zeros((3, *size), dtype=dtype)),
        sample_id="planned",
        boxes_xyxy=forget(spread_boxes(objects, size)),
        labels=forget(torch.zeros((objects,), dtype=torch.int64)),
    )


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


def left_out(ledger: SkipLedger) -> tuple[str, ...]:
    """Lines of a ledger; none if it is empty."""
    return tuple(ledger.lines()) if len(ledger) else ()


class Stopwatch:
    """Adds up the time spent inside it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._start
