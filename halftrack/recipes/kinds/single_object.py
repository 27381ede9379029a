"""Recipes of single-object tracking: SiamRPN++ trained on pairs, scored by one-pass evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Self, get_args

import numpy as np
import torch
from torch import Tensor, nn

from halftrack.data import DataError, Progress, SourceFrame
from halftrack.data.check import DataReport, check, check_sot
from halftrack.data.sot import (
    PairBatches,
    PairDataConfig,
    SotBenchmark,
    SotSequence,
    SotSplit,
    TestTarget,
    TestTargets,
    read_sot,
)
from halftrack.data.sot.targets import partly_published
from halftrack.errors import UserError
from halftrack.evaluation import (
    OpeMetrics,
    OpeRule,
    TargetTruth,
    pack_got10k,
    pack_trackingnet,
    read_box_folder,
    score_ope,
)
from halftrack.frames import PairBatch, Tracks
from halftrack.models import SiamRPNConfig
from halftrack.recipes.kinds.backbone import BackboneRecipe
from halftrack.recipes.kinds.detection import Stopwatch
from halftrack.recipes.kinds.evaluation import Boxes, Evaluation, Seconds, SingleObjectEvaluation
from halftrack.recipes.kinds.recipe import Box, VideoTracker
from halftrack.recipes.kinds.trained import Scorer, TrainingSource, spread_boxes
from halftrack.synthetic import Layout
from halftrack.tracking import SiameseConfig, SiameseTracker
from halftrack.training import Batch

__all__ = ["SingleObjectRecipe"]

_SERVERS = {"GOT-10k": 180, "TrackingNet": 511}  # test sequences, all of which are to be uploaded


@dataclass(frozen=True, kw_only=True)
class SingleObjectRecipe(BackboneRecipe):
    """SiamRPN++."""

    method: ClassVar[str] = "SiamRPN++"
    batch_types: ClassVar[tuple[type, ...]] = (PairBatch,)
    batch_size_field: ClassVar[str] = "data.pairs_per_batch"
    metric_point: ClassVar[float] = 1.0
    measured: ClassVar[tuple[str, ...]] = ("success", "precision", "norm_precision")
    synthetic_layout: ClassVar[Layout | None] = "sot"
    model: SiamRPNConfig
    """Architecture and its loss."""
    data: PairDataConfig
    """The data sets' configuration: which pairs are learned from."""
    tracker: SiameseConfig
    """Penalties and smoothing by which the model's answers become a track."""
    benchmark: SotBenchmark = "LaSOT"
    """Benchmark that the recipe is scored on."""
    split: SotSplit = "test"
    """Split of the benchmark that is scored."""
    attributes: str | None = None
    """A folder of flags, to score by attribute: ``annos/att`` of LaSOT's evaluation kit, as they
    are not in its download. UAV123's are found without it; the other benchmarks have none."""
    rule: OpeRule = "mmtracking"
    """Rule of the one-pass evaluation; the published numbers follow MMTracking's."""

    def training_source(
        self, data_root: str | Path, *, progress: Progress | None = None
    ) -> TrainingSource:
        """Batches of pairs."""
        geometry = self.model.geometry
        return PairBatches.open(self.data, data_root, geometry=geometry, progress=progress)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.data.check_geometry(self.model.geometry)

    def new_tracker(self, model: nn.Module) -> SiameseTracker:
        """The state machine around a model of this recipe, on the model's device."""
        return SiameseTracker(
            model=model,  # type: ignore[arg-type]
            config=self.tracker,
            geometry=self.model.geometry,
        )

    def validator(
        self, data_root: str | Path, device: torch.device
    ) -> Callable[[nn.Module], SingleObjectEvaluation] | None:
        """The scorer; None of sequences without ground truth, TrackingNet's and GOT-10k's tests."""
        sequences = self._sequences(data_root)
        truths = _truths(sequences)
        return self._scorer(sequences, truths, device, None) if truths else None

    def scorer(
        self, data_root: str | Path, device: torch.device, *, progress: Progress | None = None
    ) -> Callable[[nn.Module], SingleObjectEvaluation]:
        """Tracks every sequence once, from its first box on; scores where there is ground truth.

        Raises:
            DataError: if the data are not there or not readable, or if only some have ground truth.
        """
        sequences = self._sequences(data_root)
        return self._scorer(sequences, _truths(sequences), device, progress)

    def _scorer(
        self,
        sequences: Sequence[SotSequence],
        truths: Sequence[TargetTruth],
        device: torch.device,
        progress: Progress | None,
    ) -> Callable[[nn.Module], SingleObjectEvaluation]:
        targets = TestTargets(sequences=sequences)

        def score(model: nn.Module) -> SingleObjectEvaluation:
            tracker = self.new_tracker(model)
            results: dict[str, Boxes] = {}
            seconds: dict[str, Seconds] = {}
            with self.precision.inference(device):
                for done, target in enumerate(targets, start=1):
                    results[target.name], seconds[target.name] = _follow(tracker, target)
                    if progress is not None:
                        progress(done, len(targets))
            return SingleObjectEvaluation(
                metrics=self._metrics(truths, results),
                results=results,
                frame_seconds=seconds,
                frames=sum(map(len, results.values())),
                seconds=float(sum(each.sum() for each in seconds.values())),
            )

        return Scorer(score, targets.facts())

    def score_results(self, folder: str | Path, *, data_root: str | Path) -> SingleObjectEvaluation:
        """Score a folder of ``<sequence>.txt``, ``x,y,w,h`` a line, on the test sequences.

        Raises:
            DataError: if the data are not there or not readable.
            ValueError: for sequences without ground truth, and files that are missing, empty,
                malformed or of another length than their sequence.
        """
        sequences = self._sequences(data_root)
        truths = _truths(sequences)
        if not truths:
            raise UserError(
                f"benchmark={self.benchmark!r}, split={self.split!r}: only the first box of each "
                "sequence is published, so nothing can be scored here; a server scores the "
                "package that eval writes of a checkpoint"
            )
        found = read_box_folder(Path(folder), [each.name for each in truths])
        for each in sequences:
            each.refuse_corners(Path(folder, f"{each.name}.txt"), found.results[each.name])
        return SingleObjectEvaluation(
            metrics=self._metrics(truths, found.results),
            results=found.results,
            frame_seconds={},
            frames=sum(map(len, found.results.values())),
            seconds=0.0,
            skipped=found.notes(),
        )

    def check_data(
        self, data_root: str | Path, *, decode: bool = False, progress: Progress | None = None
    ) -> DataReport:
        """Read every annotation of the training sets, and of the benchmark's split."""
        trained = check(data_root, self.data, decode=decode, progress=progress)
        test_set = partial(check_sot, data_root, self.benchmark, self.split)
        tested = test_set(attributes=self.attributes, decode=decode, progress=progress)
        return trained.with_set(tested)

    @property
    def test_set(self) -> str:
        """Benchmark and split that it is scored on."""
        return f"{self.benchmark} {self.split}"

    def pack_results(self, out: Path, evaluation: Evaluation) -> list[str]:
        """Write the zip file that the benchmark's server takes, if it has one for the split."""
        if self.split != "test" or self.benchmark not in _SERVERS:
            return []
        assert isinstance(evaluation, SingleObjectEvaluation)
        file = out / f"{self.benchmark}_{self.split}.zip"
        if self.benchmark == "GOT-10k":
            pack_got10k(file, evaluation.results, evaluation.frame_seconds)
        else:
            pack_trackingnet(file, evaluation.results)
        packed, expected = len(evaluation.results), _SERVERS[self.benchmark]
        if packed != expected:
            return [f"{file} has {packed} sequences, {self.benchmark}'s server scores {expected}"]
        return [f"{file} is ready for {self.benchmark}'s server"]

    def video_tracker(
        self, init_box_xyxy: Box | None
    ) -> Callable[[nn.Module, torch.device], VideoTracker]:
        """The tracker of one object, as the track with id 0.

        Raises:
            ValueError: without the box of the object in the first frame.
        """
        if init_box_xyxy is None:
            raise UserError(f"{self.name} needs the first box of its object (--init-box)")
        first = torch.tensor(init_box_xyxy, device="cpu")
        return lambda model, _: _VideoTracker(self.new_tracker(model), first)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the search regions, in pixels."""
        side = self.model.geometry.search_size
        return side, side

    def image_fields(self, size: tuple[int, int]) -> list[str]:
        """The assignments with which search regions have this size.

        Raises:
            ValueError: for one that is not square or is larger than what it is cut from.
        """
        height, width = size
        low, high = self.model.geometry.template_size, self.data.crop_size
        if height != width or not low <= height <= high:
            raise UserError(
                f"image {height}x{width}: the search regions of {self.name} are square, "
                f"{low} to {high} pixels a side"
            )
        return [f"model.geometry.search_size={height}"]

    def planned_batch(
        self, *, objects: int, forget: Callable[[Tensor], Tensor] = lambda x: x
    ) -> Batch:
        """A batch of black pairs, all of which show the same object."""
        count, template = self.data.pairs_per_batch, self.model.geometry.template_size
        return PairBatch(
            templates=forget(torch.zeros((count, 3, template, template))),
            searches=forget(torch.zeros((count, 3, *self.image_size))),
            boxes_xyxy=spread_boxes(1, self.image_size).repeat(count, 1),
            positive=torch.ones(count, dtype=torch.bool),
            sample_ids=("planned",) * count,
        )

    def reading_synthetic(self) -> Self:
        """The recipe with synthetic video in the place of its training sets."""
        pairs = replace(
            self.data,
            training_sets=("lasot",),
            set_weights=(1.0,),
            lasot_split="train",
            sequences_left_out=(),
        )
        return replace(self, data=pairs)

    def _sequences(self, data_root: str | Path) -> tuple[SotSequence, ...]:
        return read_sot(data_root, self.benchmark, self.split, attributes=self.attributes)

    def _metrics(
        self, truths: Sequence[TargetTruth], results: dict[str, Boxes]
    ) -> dict[OpeRule, OpeMetrics]:
        """By both rules, the recipe's first; nothing without ground truth."""
        rules = sorted(get_args(OpeRule), key=lambda rule: rule != self.rule) if truths else ()
        return {rule: score_ope(truths, results, rule=rule) for rule in rules}


class _VideoTracker:
    """SiamRPN++ over the frames of a video, the object's box given in the first."""

    def __init__(self, tracker: SiameseTracker, first_box_xyxy: Tensor) -> None:
        self._tracker, self._first_xyxy = tracker, first_box_xyxy
        self._started = False

    def step(self, frame: SourceFrame) -> Tracks:
        if self._started:
            return self._tracker.step(frame.image)
        tracks = self._tracker.start(frame.image, self._first_xyxy)
        self._started = True
        return tracks

    def notes(self) -> list[str]:
        return []


def _follow(tracker: SiameseTracker, target: TestTarget) -> tuple[Boxes, Seconds]:
    """The box of every frame, the first as given, and what each took."""
    first = torch.from_numpy(np.asarray(target.first_box_xyxy, dtype=np.float32))
    boxes, seconds = [], []
    for number, image in enumerate(target.frames()):
        clock = Stopwatch()
        with clock:
            tracks = tracker.step(image) if number else tracker.start(image, first)
        boxes.append(tracks.boxes_xyxy)
        seconds.append(clock.seconds)
    return torch.cat(boxes).double().numpy(), np.asarray(seconds)


def _truths(sequences: Sequence[SotSequence]) -> list[TargetTruth]:
    """The ground truth of every sequence, or of none where only first boxes are published.

    Raises:
        DataError: if only some have it.
    """
    for problem in partly_published(sequences):
        raise DataError(problem.file, problem.reason)
    return [
        TargetTruth(
            name=sequence.name,
            boxes_xyxy=sequence.truth(),
            absent=sequence.absent,
            attributes=sequence.attributes,
        )
        for sequence in sequences
        if sequence.boxes_xyxy is not None
    ]
