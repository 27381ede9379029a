"""The promise of ``data check``: of data that it says are well, training and testing do not stop.

Training and testing mean their data side, without models: each sample of an epoch is read and
batched, the recipe's own scorer runs around a stub, and ground truth is scored as if it were the
result.
"""

from __future__ import annotations

import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from broken_trees import break_tree
from small_layouts import Layout
from small_trees import Tree, change_tree
from torch import Tensor, nn

from halftrack.data import Problem
from halftrack.data.mot import MotSequences, learned_rows
from halftrack.data.sot import read_sot
from halftrack.data.vid import TestVideos
from halftrack.errors import UserError
from halftrack.evaluation import TrackRows, write_boxes, write_results
from halftrack.frames import CropBatch, Detections, Frame
from halftrack.recipes import Recipe, TrainedRecipe
from halftrack.recipes.kinds.detection import FrameDetectionRecipe, VideoDetectionRecipe
from halftrack.recipes.kinds.multi_object import TrackingRecipe
from halftrack.recipes.kinds.reid import ReIDRecipe
from halftrack.recipes.kinds.single_object import SingleObjectRecipe
from halftrack.recipes.scoring.multi_object import TracktorParts

CPU = torch.device("cpu")
_ONLY_DECODED = "image cannot be decoded"
"""The start of what a check that decodes nothing cannot tell."""


@dataclass(frozen=True)
class Verdict:
    """What check said of a tree, and what training and testing did with it."""

    damage: str
    recipe: str
    plain: tuple[str, ...]
    """Problems that check lists."""
    decoded: tuple[str, ...]
    """Problems that check lists where it decodes every image."""
    stopped: str | None
    """The error at which training or testing stopped."""
    crashed: str = ""
    """The traceback in which one of the three ended, an error that is none of ours."""

    @property
    def broken(self) -> str | None:
        """How the promise is broken; None if it is kept."""
        if self.crashed:
            return f"{self.recipe}, {self.damage}: {self.crashed}"
        if self.stopped is None:
            return None
        foreseeable = _ONLY_DECODED not in self.stopped
        if not self.decoded or (not self.plain and foreseeable):
            return f"{self.recipe}, {self.damage}: check says well, but {self.stopped}"
        return None


@dataclass
class Tally:
    """What became of many trees of a layout."""

    trees: int = 0
    well: int = 0
    """Trees of which check, images decoded, lists no problem."""
    stopped: int = 0
    """Those of them at which training or testing stopped all the same."""
    alarms: Counter[str] = field(default_factory=Counter)
    """Problems of trees at which nothing stopped, by kind."""

    @property
    def problems(self) -> int:
        """Trees of which check lists a problem."""
        return self.trees - self.well

    def add(self, verdict: Verdict) -> None:
        """Count a tree."""
        self.trees += 1
        self.well += not verdict.decoded
        self.stopped += verdict.broken is not None
        if verdict.decoded and verdict.stopped is None:
            self.alarms[_kind(verdict.decoded[0])] += 1


def verdicts(layout: Layout, trees: int, folder: Path, *, seed: int = 0) -> Iterator[Verdict]:
    """Damage so many trees of a layout and look what check, training and testing say.

    They lie in one data root, one after another, as a user's data change.
    """
    good, root = layout.tree(), folder / "data"
    recipes, there = layout.recipes(root), Tree()
    for number in range(trees):
        rng = random.Random(f"{layout.name} {seed} {number}")
        tree, damage = break_tree(rng, good, layout.damaged)
        change_tree(root, there, tree)
        there = tree
        yield verdict(recipes[number % len(recipes)], root, f"tree {number}, {damage}")


def verdict(recipe: Recipe, root: Path, damage: str) -> Verdict:
    """What check, training and testing say of a data root."""
    results = root / "results"
    folder = results if results.is_dir() else None
    stopped = None
    try:
        plain = _problems(recipe, root, folder, decode=False)
        decoded = _problems(recipe, root, folder, decode=True)
        try:
            use(recipe, root)
            if folder is not None:
                recipe.score_results(folder, data_root=root)
        except UserError as error:
            stopped = str(error)
    except Exception:
        return Verdict(damage, recipe.name, (), (), None, crashed=traceback.format_exc(limit=-4))
    return Verdict(damage, recipe.name, plain, decoded, stopped)


def _problems(recipe: Recipe, root: Path, results: Path | None, *, decode: bool) -> tuple[str, ...]:
    """Everything that `halftrack data check` lists, a stop of its own included."""
    try:
        problems = recipe.check_data(root, decode=decode).problems
    except UserError as error:
        problems = (Problem(str(root), str(error)),)
    if results is not None:
        problems += recipe.check_results(results, data_root=root).problems
    return tuple(map(str, problems))


def use(recipe: Recipe, root: Path) -> None:
    """Do with the data what training and testing do.

    Raises:
        UserError: where they stop.
    """
    if isinstance(recipe, TrainedRecipe):
        source = recipe.settled(root).training_source(root)
        for _ in source.batches(seed=0, epoch=0):
            pass
        source.close()
    score = recipe.scorer(root, CPU)
    model, results = _STUBS[type(recipe)](recipe, root)
    score(model)
    if results is not None:
        recipe.score_results(results, data_root=root)


class _Oracle(nn.Module):
    """A detector that answers with the ground truth of each frame, in their order."""

    def __init__(self, truths: Iterator[Detections]) -> None:
        super().__init__()
        self._truths = truths

    def start(self, references: list[Frame]) -> None:
        assert references

    def forward(self, frames: list[Frame]) -> list[Detections]:
        return [next(self._truths) for _ in frames]


class _OracleOfCrops(nn.Module):
    """An embedder that tells everybody apart."""

    def forward(self, batch: CropBatch) -> Tensor:
        return batch.labels[:, None].float()


class _Blind(nn.Module):
    """A detector that finds nothing but public boxes, and a Siamese network that finds nothing."""

    def __init__(self, anchors: int = 0) -> None:
        super().__init__()
        self._anchors = anchors

    def detect_all(self, frames: list[Frame]) -> list[Detections]:
        found = (frame.public_xyxy for frame in frames)
        return [_detected(np.empty((0, 4)) if boxes is None else boxes) for boxes in found]

    def regress(self, frame: Frame, boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
        return boxes_xyxy[:, None], torch.ones(len(boxes_xyxy), 1)

    def embed(self, template: Tensor) -> Tensor:
        return template

    def compare(self, embedding: Tensor, search: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones(self._anchors), torch.zeros(self._anchors, 4)


def _detected(boxes_xyxy: Any, labels: Any = None) -> Detections:
    boxes = torch.as_tensor(boxes_xyxy, dtype=torch.float32)
    labels = torch.zeros(len(boxes), dtype=torch.int64) if labels is None else labels
    return Detections(boxes_xyxy=boxes, scores=torch.ones(len(boxes)), labels=labels)


def _of_video(recipe: VideoDetectionRecipe, root: Path) -> tuple[nn.Module, None]:
    videos = TestVideos.open(recipe.data, root)
    truths = (video.truth(frame) for video in videos for frame in range(len(video)))
    return _Oracle(_detected(t.boxes_xyxy, torch.as_tensor(t.labels)) for t in truths), None


def _of_frames(recipe: FrameDetectionRecipe, root: Path) -> tuple[nn.Module, None]:
    sequences = MotSequences.open(recipe.data, root)
    rows = ((learned_rows(each.record)[0], each.frame_numbers) for each in sequences)
    return _Oracle(
        _detected(r.in_frame(n).boxes_xyxy) for r, numbers in rows for n in numbers
    ), None


def _of_crops(recipe: ReIDRecipe, root: Path) -> tuple[nn.Module, None]:
    return _OracleOfCrops(), None


def _of_tracks(recipe: TrackingRecipe, root: Path) -> tuple[nn.Module, Path | None]:
    """Result files of what result files can hold: boxes with area."""
    out = _emptied(root)
    sequences = MotSequences.open(recipe.data, root, scored=True)
    for each in sequences:
        if each.truth is None:
            return TracktorParts(_Blind(), None), None  # type: ignore[arg-type]
        rows = each.truth.select((each.truth.boxes_ltwh[:, 2:] >= 0.001).all(axis=1))
        found = TrackRows(
            frame_numbers=rows.frame_numbers,
            ids=rows.ids,
            boxes_xyxy=rows.boxes_xyxy,
            scores=np.ones(len(rows)),
        )
        write_results(out / f"{each.name}.txt", found)
    return TracktorParts(_Blind(), None), out  # type: ignore[arg-type]


def _of_target(recipe: SingleObjectRecipe, root: Path) -> tuple[nn.Module, Path | None]:
    out, geometry = _emptied(root), recipe.model.geometry
    model = _Blind(geometry.response_size**2 * len(geometry.anchor_ratios))
    for each in read_sot(root, recipe.benchmark, recipe.split):
        if each.boxes_xyxy is None:
            return model, None
        write_boxes(out / f"{each.name}.txt", np.nan_to_num(each.boxes_xyxy))
    return model, out


def _emptied(root: Path) -> Path:
    """A folder for result files beside the data."""
    out = root.with_name("truth")
    out.mkdir(exist_ok=True)
    for file in out.iterdir():
        file.unlink()
    return out


_STUBS: dict[type[Recipe], Callable[[Any, Path], tuple[nn.Module, Path | None]]] = {
    VideoDetectionRecipe: _of_video,
    FrameDetectionRecipe: _of_frames,
    ReIDRecipe: _of_crops,
    TrackingRecipe: _of_tracks,
    SingleObjectRecipe: _of_target,
}
"""A model that needs no weights, and the ground truth as result files, of each kind of recipe."""


def _kind(problem: str) -> str:
    """A problem without its file and numbers, which differ from tree to tree."""
    reason = problem.partition(": ")[2] or problem
    return "".join("#" if letter.isdigit() else letter for letter in reason)[:60]
