"""Recipes of single-object tracking: SiamRPN++ trained on pairs, scored by one-pass evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from halftrack.data import (
    PairDataConfig,
    SotBenchmark,
    SotSequence,
    SotSplit,
    TestTarget,
    TestTargets,
    read_sot,
)
from halftrack.evaluation import OpeMetrics, OpeRule, TargetTruth, score_ope
from halftrack.models import SiamRPNConfig
from halftrack.recipes.detection import Stopwatch
from halftrack.recipes.recipe import Evaluation, Progress, TrainedRecipe, TrainingSource
from halftrack.tracking import SiameseConfig, SiameseTracker

__all__ = ["SingleObjectEvaluation", "SingleObjectRecipe"]

Boxes = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SingleObjectEvaluation(Evaluation):
    """How a tracker did on the test sequences, each tracked once from its first box."""

    metrics: OpeMetrics
    """The scores."""
    results: dict[str, Boxes]
    """The boxes ``(n, 4)`` of each sequence, xyxy, the first one given."""

    def flat(self) -> dict[str, float]:
        """``success``, ``precision`` and ``norm_precision`` in percent."""
        return self.metrics.flat()

    def numbers(self) -> dict[str, Any]:
        """The scores of all sequences together and of each."""
        by_sequence = {name: each.flat() for name, each in self.metrics.by_sequence.items()}
        return {"mean": self.metrics.flat(), "by_sequence": by_sequence, "rule": self.metrics.rule}

    def tables(self) -> dict[str, list[dict[str, object]]]:
        """The scores by sequence, and by attribute where there are any."""
        tables = {"By sequence": self.metrics.rows()}
        if self.metrics.by_attribute:
            tables["By attribute"] = self.metrics.attribute_rows()
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
    rule: OpeRule = "mmtracking"
    """Whose one-pass evaluation; the published numbers are MMTracking's."""

    def training_source(
        self, data_root: str | Path, *, progress: Progress | None = None
    ) -> TrainingSource:
        """Batches of pairs."""
        return self.data.training_batches(data_root, progress=progress)

    def scorer(
        self, data_root: str | Path, device: torch.device, *, progress: Progress | None = None
    ) -> Callable[[nn.Module], SingleObjectEvaluation]:
        """Tracks every sequence once, from its first box on."""
        sequences = read_sot(data_root, self.benchmark, self.split)
        truths = [_truth(sequence) for sequence in sequences]
        targets = TestTargets(sequences=sequences)

        def score(model: nn.Module) -> SingleObjectEvaluation:
            clock, precision = Stopwatch(), self.precision
            tracker = SiameseTracker(model, self.tracker)  # type: ignore[arg-type]
            results: dict[str, Boxes] = {}
            with torch.no_grad(), precision.arithmetic(device), precision.autocast(device):
                for done, target in enumerate(targets, start=1):
                    results[target.name] = _follow(tracker, target, clock)
                    if progress is not None:
                        progress(done, len(targets))
            return SingleObjectEvaluation(
                metrics=score_ope(truths, results, rule=self.rule),
                results=results,
                frames=sum(len(boxes) for boxes in results.values()),
                seconds=clock.seconds,
            )

        return score


def _follow(tracker: SiameseTracker, target: TestTarget, clock: Stopwatch) -> Boxes:
    """The box of every frame, the first as given."""
    first = torch.from_numpy(np.asarray(target.first_box_xyxy, dtype=np.float32))
    boxes = [first]
    for number, image in enumerate(target.frames()):
        with clock:
            if number:
                boxes.append(tracker.step(image)[0])
            else:
                tracker.start(image, first)
    return torch.stack(boxes).double().numpy()


def _truth(sequence: SotSequence) -> TargetTruth:
    return TargetTruth(
        name=sequence.name,
        boxes_xyxy=sequence.truth(),
        absent=sequence.absent,
        attributes=sequence.attributes,
    )
