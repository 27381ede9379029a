"""Trials of Tracktor's settings: the state machine runs anew, detector and embedder once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from halftrack.data import Progress
from halftrack.data.index_cache import contents_hash, fingerprint
from halftrack.data.mot import MotSequences, TestSequence
from halftrack.data.prefetch import passes
from halftrack.errors import UserError
from halftrack.frames import Detections, Frame
from halftrack.models import FasterRCNN
from halftrack.recipes.scoring.evaluation import TrackingEvaluation
from halftrack.recipes.scoring.kept_answers import KeptAnswers
from halftrack.recipes.scoring.mot_tracks import has_truth
from halftrack.recipes.scoring.multi_object import (
    TracktorParts,
    assembled,
    follow,
    track_evaluation,
)
from halftrack.recipes.scoring.scorer import Skips, left_out, trial_inputs

if TYPE_CHECKING:
    from halftrack.recipes.kinds.multi_object import TrackingRecipe
    from halftrack.tracking import Tracktor
    from halftrack.tracking.protocols import CameraMotion

__all__ = ["TracktorTrials"]

# Parts of a recipe on which no kept answer depends; weights count by their values.
_OTHERS = ("name", "summary", "text", "tracker", "search", "detector_recipe", "reid_recipe",
           "detector_checkpoint", "reid_checkpoint")  # fmt: skip


class TracktorTrials:
    """Scores of one pair of models under many settings of the tracker.

    A trial gives exactly the scores that ``evaluate`` gives: every answer is one that the models
    gave to the same question, bit by bit, or is asked for anew.

    Args:
        recipe: what all trials have in common, all but ``tracker``.
        model: its parts, loaded, on the device.
        data_root: the folder that holds the data sets as downloaded.
        device: where to compute.
        cache: folder of the kept answers.
        most_bytes: bound of its size.
        say: told how large it gets, and whether an old one is used.
    """

    def __init__(
        self,
        recipe: TrackingRecipe,
        model: nn.Module,
        data_root: str | Path,
        device: torch.device,
        *,
        cache: Path,
        most_bytes: int,
        say: Callable[[str], None],
    ) -> None:
        assert isinstance(model, TracktorParts)
        self._recipe, self._model, self._device, self._say = recipe, model, device, say
        self._sequences = MotSequences.open(recipe.data, data_root, scored=True)
        if not has_truth(self._sequences):
            raise UserError(f"{recipe.test_set} has no ground truth here, so nothing can be tuned")
        self._cache, self._most_bytes = cache, most_bytes
        self.frames = self._sequences.num_frames
        same = {name: each for name, each in recipe.to_dict().items() if name not in _OTHERS}
        self.inputs = trial_inputs(
            model, device, recipe=contents_hash([], text=same), data=_data_hash(self._sequences)
        )
        self._answers: KeptAnswers | None = None

    def prepare(self, progress: Progress | None = None) -> None:
        """Detect in every frame that is not kept yet, and keep what was found.

        Raises:
            ValueError: if the disk has no room for what is to be kept.
        """
        kept = KeptAnswers(self._cache, self.inputs, most_bytes=self._most_bytes, say=self._say)
        done, told = 0, False
        with self._recipe.precision.inference(self._device):
            for sequence in self._sequences:
                numbers = sequence.frame_numbers
                if all(kept.has(sequence.name, number) for number in numbers):
                    done += len(numbers)
                    continue
                for together in passes(sequence.frames(), self._recipe.data.test_batch):
                    size = self._keep(kept, sequence, together)
                    if not told:
                        self._estimate(size, kept.bytes)
                        told = True
                    done += len(together)
                    if progress is not None:
                        progress(done, self.frames)
        for line in left_out(self._sequences.skipped):
            self._say(line)
        self._answers = kept

    def _keep(self, kept: KeptAnswers, sequence: TestSequence, together: Sequence[Frame]) -> int:
        """Detect in the frames of a pass, all of which the detector must see, and keep them.

        Returns:
            Bytes of the last one with its maps.
        """
        detector = self._model.detector
        moved = [frame.to(self._device) for frame in together]
        for frame, found in zip(moved, detector.detect_all(moved), strict=True):
            number = sequence.frame_numbers[frame.frame_index]
            size = kept.keep(sequence.name, number, frame, found, detector.pyramid(frame))
        return size

    def score(self, recipe: TrackingRecipe) -> TrackingEvaluation:
        """The evaluation with these settings."""
        answers, device = self._answers, self._device
        assert answers is not None, "prepare comes first"
        together, found = recipe.data.test_batch, []
        detector = _KeptDetector(answers, self._model.detector, together=together)
        with recipe.precision.inference(device):
            for sequence in self._sequences:
                frames = passes(answers.frames(sequence.name), together)
                tracker = self._tracker(recipe, answers, detector)
                found.append(follow(sequence, frames, tracker, detector, device))
        answers.commit()
        skips = Skips(self._sequences.skipped)
        return track_evaluation(found, self._sequences, recipe.data.benchmark, skips)

    def _tracker(
        self, recipe: TrackingRecipe, answers: KeptAnswers, detector: _KeptDetector
    ) -> Tracktor:
        """The state machine around kept answers."""
        embedder = None if recipe.reid is None else _KeptEmbedder(answers, self._model.reid.embed)
        tracker = assembled(recipe, detector, embedder)
        if tracker.camera_motion is not None:
            kind = "normalised" if recipe.tracker.compatible else "as read"
            tracker.camera_motion = _KeptMotion(answers, tracker.camera_motion, kind)
        return tracker

    def _estimate(self, size: int, there: int) -> None:
        """Say how large the kept frames get, of which some bytes are there.

        Raises:
            ValueError: if the disk has no room for them.
        """
        whole = size * self.frames
        words = f"{self._cache}: {_in_words(size)} a frame, {_in_words(whole)} for {self.frames}"
        if whole > self._most_bytes:
            if self._recipe.data.test_batch > 1:
                raise _no_room(f"{words}, more", self._recipe.data.test_batch)
            words += (
                f"; --cache-size allows {_in_words(self._most_bytes)}, so that the features of "
                f"about {self._most_bytes // size} frames are kept, and those of the others are "
                "computed again in each trial"
            )
        free = shutil.disk_usage(self._cache).free
        if min(whole, self._most_bytes) - there > free:
            raise UserError(
                f"{words}; there are {_in_words(free)} left on the disk: make room, take another "
                "folder (--out), or allow less (--cache-size)"
            )
        self._say(words)


class _KeptDetector:
    """Detections as kept, and regression from kept features."""

    def __init__(self, answers: KeptAnswers, model: FasterRCNN, *, together: int) -> None:
        self._answers, self._model, self._together = answers, model, together

    def detect(self, frame: Frame) -> Detections:
        return self._answers.detections(frame)

    def detect_all(self, frames: Sequence[Frame]) -> list[Detections]:
        return [self.detect(frame) for frame in frames]

    def regress(self, frame: Frame, boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
        def compute() -> tuple[Tensor, Tensor]:
            maps = self._answers.maps(frame)
            if not maps and self._together > 1:
                raise _no_room(f"{frame.sample_id}: its features are more", self._together)
            if not maps:
                return self._model.regress(frame, boxes_xyxy)
            moved = [level.to(frame.image.device) for level in maps]
            return self._model.regress_on(moved, frame, boxes_xyxy)

        boxes, scores = self._answers.answer(f"regress {frame.sample_id}", boxes_xyxy, compute)
        return boxes, scores


class _KeptEmbedder:
    """Embeddings as given before."""

    def __init__(self, answers: KeptAnswers, embed: Callable[[Frame, Tensor], Tensor]) -> None:
        self._answers, self._embed = answers, embed

    def __call__(self, frame: Frame, boxes_xyxy: Tensor) -> Tensor:
        question = f"embed {frame.sample_id}"
        (embeddings,) = self._answers.answer(
            question, boxes_xyxy, lambda: [self._embed(frame, boxes_xyxy)]
        )
        return embeddings


class _KeptMotion:
    """The camera's motion as estimated before, of images of one kind."""

    def __init__(self, answers: KeptAnswers, motion: CameraMotion, kind: str) -> None:
        self._answers, self._motion, self._kind = answers, motion, kind

    def __call__(self, previous: Frame, frame: Frame) -> Tensor:
        question = f"motion {self._kind} {previous.sample_id} {frame.sample_id}"
        (warp,) = self._answers.answer(
            question, torch.zeros((0, 4), device="cpu"), lambda: [self._motion(previous, frame)]
        )
        return warp


def _data_hash(sequences: MotSequences) -> str:
    """A hash of images, by name, size and time, of ground truth and of public detections."""
    records = [each.record for each in sequences]
    public = [each.detections for each in records if each.detections is not None]
    arrays = [getattr(rows, each.name) for rows in public for each in fields(rows)]
    files = [Path(each.path(number)) for each in sequences for number in each.frame_numbers]
    return contents_hash(arrays, text=(sequences.facts(), fingerprint(files=files)))


def _no_room(what_is_more: str, together: int) -> UserError:
    return UserError(
        f"{what_is_more} than --cache-size, and frames that share a pass "
        f"(data.test_batch={together}) cannot be computed again one by one without other rounding: "
        "allow more, or --set data.test_batch=1"
    )


def _in_words(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
