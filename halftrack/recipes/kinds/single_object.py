"""Recipes of single-object tracking: SiamRPN++ trained on pairs, scored by one-pass evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from halftrack.data import Progress
from halftrack.data.sot import (
    PairDataConfig,
    SotBenchmark,
    SotSequence,
    SotSplit,
    TestTarget,
    TestTargets,
    read_sot,
)
from halftrack.evaluation import OpeMetrics, OpeRule, TargetTruth, read_box_folder, score_ope
from halftrack.models import SiamRPNConfig
from halftrack.recipes.kinds.detection import Stopwatch
from halftrack.recipes.kinds.recipe import Evaluation, TrainedRecipe, TrainingSource
from halftrack.tracking import SiameseConfig, SiameseTracker

__all__ = ["SingleObjectEvaluation", "SingleObjectRecipe"]

Boxes = NDArray[np.float64]
Seconds = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SingleObjectEvaluation(Evaluation):
    """How a tracker did on the test sequences, each tracked once from its first box."""

    metrics: dict[OpeRule, OpeMetrics]
    """The scores by both rules, the recipe's first; empty where no ground truth is published."""
    results: dict[str, Boxes]
    """The boxes ``(n, 4)`` of each sequence, xyxy, the first one given."""
    frame_seconds: dict[str, Seconds]
    """``(n,)`` what each frame of a sequence took, the first the start; empty of result files."""

    def flat(self) -> dict[str, float]:
        """``success``, ``precision`` and ``norm_precision`` in percent, by the recipe's rule."""
        return next((each.flat() for each in self.metrics.values()), {})

    def numbers(self) -> dict[str, Any]:
        """The scores of all sequences together and of each, the curves, and the other rule's."""
        if not self.metrics:
            return {}
        first, *others = self.metrics.values()
        return {
            "rule": first.rule,
            "mean": first.flat(),
            "by_sequence": {name: each.flat() for name, each in first.by_sequence.items()},
            "by_attribute": {name: each.flat() for name, each in first.by_attribute.items()},
            **first.mean.curves(),
            **{other.rule: other.flat() for other in others},
        }

    def tables(self) -> dict[str, list[dict[str, object]]]:
        """The scores by sequence, by attribute where there are any, and by rule."""
        if not self.metrics:
            return {}
        first = next(iter(self.metrics.values()))
        tables = {"By sequence": first.rows()}
        if first.by_attribute:
            tables["By attribute"] = first.attribute_rows()
        rules = self.metrics.items()
        tables["By rule"] = [{"Rule": rule, **each.mean.row()} for rule, each in rules]
        return tables


@dataclass(frozen=True, kw_only=True)
class SingleObjectRecipe(TrainedRecipe):
    """SiamRPN++."""

    model: SiamRPNConfig
    """Architecture and its loss."""
    data: PairDataConfig
    """Which pairs it learns from."""
    tracker: SiameseConfig
    """How answers become a track."""
    benchmark: SotBenchmark = "LaSOT"
    """What it is scored on."""
    split: SotSplit = "test"
    """Which of its sequences."""
    attributes: str | None = None
    """A folder of flags, to score by attribute: ``annos/att`` of LaSOT's evaluation kit, as they
    are not in its download. UAV123's are found without it; the other benchmarks have none."""
    rule: OpeRule = "mmtracking"
    """Whose one-pass evaluation; the published numbers are MMTracking's."""

    def training_source(
        self, data_root: str | Path, *, progress: Progress | None = None
    ) -> TrainingSource:
        """Batches of pairs."""
        return self.data.training_batches(data_root, progress=progress)

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
            precision = self.precision
            tracker = SiameseTracker(model, self.tracker)  # type: ignore[arg-type]
            results: dict[str, Boxes] = {}
            seconds: dict[str, Seconds] = {}
            with precision.inference(device):
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

        return score

    def score_results(self, folder: str | Path, *, data_root: str | Path) -> SingleObjectEvaluation:
        """Score a folder of ``<sequence>.txt``, ``x,y,w,h`` a line, on the test sequences.

        Raises:
            DataError: if the data are not there or not readable.
            ValueError: for sequences without ground truth, and files that are missing, empty,
                malformed or of another length than their sequence.
        """
        truths = _truths(self._sequences(data_root))
        if not truths:
            raise ValueError(
                f"benchmark={self.benchmark!r}, split={self.split!r}: only the first box of each "
                "sequence is published, so nothing can be scored here; a server scores the "
                "package that eval writes of a checkpoint"
            )
        found = read_box_folder(Path(folder), [each.name for each in truths])
        return SingleObjectEvaluation(
            metrics=self._metrics(truths, found.results),
            results=found.results,
            frame_seconds={},
            frames=sum(map(len, found.results.values())),
            seconds=0.0,
            skipped=found.notes(),
        )

    def _sequences(self, data_root: str | Path) -> tuple[SotSequence, ...]:
        return read_sot(data_root, self.benchmark, self.split, attributes=self.attributes)

    def _metrics(
        self, truths: Sequence[TargetTruth], results: dict[str, Boxes]
    ) -> dict[OpeRule, OpeMetrics]:
        """By both rules, the recipe's first; nothing without ground truth."""
        rules = sorted(get_args(OpeRule), key=lambda rule: rule != self.rule) if truths else ()
        return {rule: score_ope(truths, results, rule=rule) for rule in rules}


def _follow(tracker: SiameseTracker, target: TestTarget) -> tuple[Boxes, Seconds]:
    """The box of every frame, the first as given, and what each took."""
    first = torch.from_numpy(np.asarray(target.first_box_xyxy, dtype=np.float32))
    boxes, seconds = [first], []
    for number, image in enumerate(target.frames()):
        clock = Stopwatch()
        with clock:
            if number:
                boxes.append(tracker.step(image)[0])
            else:
                tracker.start(image, first)
        seconds.append(clock.seconds)
    return torch.stack(boxes).double().numpy(), np.asarray(seconds)


def _truths(sequences: Sequence[SotSequence]) -> list[TargetTruth]:
    """The ground truth of every sequence, or of none where only first boxes are published.

    Raises:
        DataError: if only some have it.
    """
    if all(sequence.boxes_xyxy is None for sequence in sequences):
        return []
    return [
        TargetTruth(
            name=sequence.name,
            boxes_xyxy=sequence.truth(),
            absent=sequence.absent,
            attributes=sequence.attributes,
        )
        for sequence in sequences
    ]
