"""SiamRPN++ run over sequences from their first boxes on, and scored by one-pass evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from torch import Tensor, nn

from halftrack.data import DataError, Progress, SourceFrame
from halftrack.data.index_cache import fingerprint
from halftrack.data.sot import SotSequence, TestTarget, TestTargets, read_sot
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
from halftrack.frames import Tracks
from halftrack.recipes.scoring.evaluation import Boxes, Seconds, SingleObjectEvaluation
from halftrack.recipes.scoring.scorer import Scorer, Stopwatch, trial_inputs
from halftrack.tracking import SiameseTracker

if TYPE_CHECKING:
    from halftrack.recipes.kinds.single_object import SingleObjectRecipe

__all__ = [
    "SiameseOnVideo",
    "SiameseTrials",
    "packed_results",
    "result_scores",
    "target_scorer",
    "validation_scorer",
]

_Found = tuple[Boxes, Seconds]
_SERVERS = {"GOT-10k": 180, "TrackingNet": 511}  # test sequences, all of which are to be uploaded


def target_scorer(
    recipe: SingleObjectRecipe,
    data_root: str | Path,
    device: torch.device,
    progress: Progress | None,
) -> Scorer[_Found, SingleObjectEvaluation]:
    """Scorer that tracks every sequence once, from its first box on.

    Raises:
        DataError: if the data are not there or not readable, or if only some have ground truth.
    """
    sequences = _sequences(recipe, data_root)
    targets = TestTargets(sequences=sequences)
    return _scorer(recipe, targets, _truths(sequences), device, progress)


class SiameseTrials:
    """Scores of one model under many settings of the tracker, each trial from the first boxes on.

    Nothing of the network's answers is kept: it looks where the settings put the box in the frame
    before, so two trials differ from the second frame of a video on.
    """

    def __init__(
        self,
        recipe: SingleObjectRecipe,
        model: nn.Module,
        data_root: str | Path,
        device: torch.device,
        **_: object,
    ) -> None:
        sequences = _sequences(recipe, data_root)
        self._truths = _truths(sequences)
        if not self._truths:
            raise UserError(f"{recipe.test_set} has no ground truth here, so nothing can be tuned")
        self._model, self._device = model, device
        self._targets = TestTargets(sequences=sequences)
        self.frames = sum(map(len, sequences))
        images = (Path(each.path(place)) for each in sequences for place in range(len(each)))
        data = fingerprint(text=repr(self._targets.facts()), files=images)
        self.inputs = trial_inputs(model, device, data=data)

    def prepare(self, progress: Progress | None = None) -> None:
        """Nothing to compute."""

    def score(self, recipe: SingleObjectRecipe) -> SingleObjectEvaluation:
        """The evaluation with these settings."""
        return _scorer(recipe, self._targets, self._truths, self._device, None)(self._model)


def validation_scorer(
    recipe: SingleObjectRecipe, data_root: str | Path, device: torch.device
) -> Scorer[_Found, SingleObjectEvaluation] | None:
    """The same scorer; None of sequences without ground truth, as TrackingNet's tests."""
    sequences = _sequences(recipe, data_root)
    truths = _truths(sequences)
    if not truths:
        return None
    return _scorer(recipe, TestTargets(sequences=sequences), truths, device, None)


def _scorer(
    recipe: SingleObjectRecipe,
    targets: TestTargets,
    truths: Sequence[TargetTruth],
    device: torch.device,
    progress: Progress | None,
) -> Scorer[_Found, SingleObjectEvaluation]:
    def find(model: nn.Module, numbers: Sequence[int]) -> list[_Found]:
        tracker, found = recipe.new_tracker(model), []
        with recipe.precision.inference(device):
            for number in numbers:
                found.append(_follow(tracker, targets[number]))
                if progress is not None:
                    progress(len(found), len(numbers))
        return found

    def conclude(found: Sequence[_Found]) -> SingleObjectEvaluation:
        named = dict(zip(targets.names, found, strict=True))
        results = {name: boxes for name, (boxes, _) in named.items()}
        seconds = {name: each for name, (_, each) in named.items()}
        return SingleObjectEvaluation(
            metrics=_metrics(recipe.rule, truths, results),
            results=results,
            frame_seconds=seconds,
            frames=sum(map(len, results.values())),
            seconds=float(sum(each.sum() for each in seconds.values())),
        )

    lengths = [len(target) for target in targets]
    return Scorer(lengths=lengths, find=find, conclude=conclude, facts=targets.facts())


def result_scores(
    recipe: SingleObjectRecipe, folder: str | Path, data_root: str | Path
) -> SingleObjectEvaluation:
    """Scores of a folder of ``<sequence>.txt``, ``x,y,w,h`` a line, on the test sequences.

    Raises:
        DataError: if the data are not there or not readable.
        ValueError: for sequences without ground truth, and files that are missing, empty, malformed
            or of another length than their sequence.
    """
    sequences = _sequences(recipe, data_root)
    truths = _truths(sequences)
    if not truths:
        raise UserError(
            f"benchmark={recipe.benchmark!r}, split={recipe.split!r}: only the first box of each "
            "sequence is published, so nothing can be scored here; a server scores the "
            "package that eval writes of a checkpoint"
        )
    found = read_box_folder(Path(folder), [each.name for each in truths])
    for each in sequences:
        each.refuse_corners(Path(folder, f"{each.name}.txt"), found.results[each.name])
    return SingleObjectEvaluation(
        metrics=_metrics(recipe.rule, truths, found.results),
        results=found.results,
        frame_seconds={},
        frames=sum(map(len, found.results.values())),
        seconds=0.0,
        skipped=found.notes(),
    )


def packed_results(
    recipe: SingleObjectRecipe, out: Path, evaluation: SingleObjectEvaluation
) -> list[str]:
    """Write the zip file that the benchmark's server takes, if it has one; returns lines on it."""
    if recipe.split != "test" or recipe.benchmark not in _SERVERS:
        return []
    file = out / f"{recipe.benchmark}_{recipe.split}.zip"
    if recipe.benchmark == "GOT-10k":
        pack_got10k(file, evaluation.results, evaluation.frame_seconds)
    else:
        pack_trackingnet(file, evaluation.results)
    packed, expected = len(evaluation.results), _SERVERS[recipe.benchmark]
    if packed != expected:
        return [f"{file} has {packed} sequences, {recipe.benchmark}'s server scores {expected}"]
    return [f"{file} is ready for {recipe.benchmark}'s server"]


def _sequences(recipe: SingleObjectRecipe, data_root: str | Path) -> tuple[SotSequence, ...]:
    return read_sot(
        data_root,
        recipe.benchmark,
        recipe.split,
        attributes=recipe.attributes,
        infos=recipe.infos,
    )


def _metrics(
    rule: OpeRule, truths: Sequence[TargetTruth], results: dict[str, Boxes]
) -> dict[OpeRule, OpeMetrics]:
    """By both rules, the recipe's first; nothing without ground truth."""
    rules = sorted(get_args(OpeRule), key=lambda each: each != rule) if truths else ()
    return {each: score_ope(truths, results, rule=each) for each in rules}


def _follow(tracker: SiameseTracker, target: TestTarget) -> _Found:
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


class SiameseOnVideo:
    """SiamRPN++ over a video's frames, each searched around the box found in the one before."""

    batch = 1

    def __init__(self, tracker: SiameseTracker, first_box_xyxy: Sequence[float]) -> None:
        self._tracker = tracker
        first = torch.tensor(first_box_xyxy, device="cpu")
        self._next: Callable[[Tensor], Tracks] = partial(tracker.start, box_xyxy=first)

    def steps(self, frames: Sequence[SourceFrame]) -> Iterator[Tracks]:
        """The track in each of the next frames; the first frame starts it."""
        for frame in frames:
            tracks = self._next(frame.image)
            self._next = self._tracker.step
            yield tracks

    def notes(self) -> list[str]:
        """Nothing: whatever was amiss was an error."""
        return []
