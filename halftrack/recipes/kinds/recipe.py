"""Recipe: one complete, frozen, typed value, and the questions that every kind of it answers.

A recipe is asked, never identified: whatever another room wants to know of it is a method here or
in ``TrainedRecipe``, with a default that says what to do where a kind of recipe has no answer.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from halftrack.errors import MissingFileError, UserError
from halftrack.precision import Precision
from halftrack.recipes import kinds as own
from halftrack.recipes.kinds.settings import first_difference, first_error, plain, with_a_scale
from halftrack.recipes.kinds.weights import fill

if TYPE_CHECKING:
    import torch
    from torch import nn

    from halftrack.data import Progress, VideoSource
    from halftrack.data.check import DataReport, SetReport
    from halftrack.data.own.layouts import OwnData
    from halftrack.data.own.settings import Use
    from halftrack.recipes.kinds.trained import TrainedRecipe
    from halftrack.recipes.kinds.tuning import Tuning
    from halftrack.recipes.scoring.evaluation import Evaluation
    from halftrack.recipes.scoring.on_video import VideoTracker

__all__ = ["Recipe"]

Box = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """Everything that decides a run, but for where the data lies and which seed is used."""

    name: str
    """The published name."""
    summary: str = dataclasses.field(default="", metadata={"free": True})
    """One line on what it is; that of a listed recipe stands in ``halftrack.recipes.names``."""
    text: str = dataclasses.field(default="", compare=False, repr=False, metadata={"free": True})
    """Text of the file that it was read from; empty for a listed one. Checkpoints keep it."""
    precision: Annotated[Precision, BeforeValidator(with_a_scale)]
    """Precision of training and inference."""
    data: Any
    """The data set's configuration, a frozen dataclass of the recipe's kind."""

    method: ClassVar[str] = "-"
    """The method's name in the published row."""
    needs_checkpoint: ClassVar[bool] = True
    """True if a checkpoint must be given to score or track; else the recipe names its files."""
    text_format: ClassVar[str] = "mot"
    """Kind of text that ``track`` writes: ``mot``, ``sot`` (LaSOT), ``vid``, or a MOTChallenge
    ``det`` of boxes that have no ids."""

    @abstractmethod
    def build_model(self, *, seed: int = 0) -> nn.Module:
        """The model with random weights, a function of ``seed`` alone, on the CPU."""

    @abstractmethod
    def scorer(
        self, data_root: str | Path, device: torch.device, *, progress: Progress | None = None
    ) -> Callable[[nn.Module], Evaluation]:
        """Opens the validation data at once; what is returned scores a model on them.

        Raises:
            DataError: if the data are not there or not readable.
        """

    def load_model(
        self, checkpoint: str | Path | None, *, seed: int = 0, trust: bool = False
    ) -> nn.Module:
        """The model with a checkpoint's weights, or with ``None`` the untrained one, on the CPU.

        Raises:
            ValueError: if the checkpoint does not fit.
        """
        model = self.build_model(seed=seed)
        if checkpoint is not None:
            fill(model, checkpoint, self.name, trust=trust, data=self.data)
        return model

    def check_checkpoint(self, checkpoint: str | Path | None) -> None:
        """Make sure that weights are there, those of a file or with ``None`` the recipe's own.

        Raises:
            FileNotFoundError: if a file is missing.
        """
        if checkpoint is not None and not Path(checkpoint).is_file():
            raise MissingFileError(f"{checkpoint}: there is no such file")

    def with_precision(self, name: str) -> Self:
        """The same recipe in another precision, its fp32 islands kept.

        ``fp16`` keeps the recipe's own loss scale where it has one, and else means a dynamic scale.

        Raises:
            ValueError: if there is no such precision.
        """
        if name == self.precision.name:
            return self
        precision = dataclasses.replace(Precision.named(name), keep_fp32=self.precision.keep_fp32)
        return dataclasses.replace(self, precision=precision)

    def for_training(self) -> TrainedRecipe:
        """The recipe, if it has a training step.

        Raises:
            ValueError: if it has none; says which recipes to take instead.
        """
        raise UserError(f"{self.name} has no training step: {self.summary}")

    def with_test_batch(self, frames: int) -> Self:
        """The same recipe with so many test frames of a video in a pass (``data.test_batch``).

        Raises:
            ValueError: for a recipe whose frames cannot share a pass.
        """
        if not hasattr(self.data, "test_batch"):
            raise UserError(
                f"--batch {frames}: {self.name} does not detect in whole frames, so they cannot "
                "share a pass: leave it out"
            )
        return dataclasses.replace(self, data=dataclasses.replace(self.data, test_batch=frames))

    def with_parts(self, *, detector: str | None, reid: str | None) -> Self:
        """The same recipe with other weights for its parts.

        Args:
            detector: the detector's checkpoint; None for the one that the recipe names.
            reid: the ReID model's checkpoint; None for the one that the recipe names.

        Raises:
            ValueError: for a recipe that has no such parts.
        """
        raise UserError(
            f"--detector and --reid are a tracker's parts; {self.name} has none: {self.summary}; "
            "name its weights with --checkpoint"
        )

    def find_test_data(self, data_root: str | Path) -> None:  # noqa: B027
        """Make sure that what it is tested on is there, by a look at folders that takes no torch.

        Raises:
            DataError: if it is not; says where it was looked for.
        """

    def check_data(
        self, data_root: str | Path, *, decode: bool = False, progress: Progress | None = None
    ) -> DataReport:
        """Read all annotations that the recipe needs and look for all images.

        Args:
            data_root: the folder that holds the data sets as downloaded.
            decode: decode every image too.
            progress: told (done, in all) for the videos of a set, then for its images.

        Raises:
            DataError: if there is no data set to look at.
            ValueError: for a recipe whose data cannot be checked.
        """
        raise UserError(f"the data of {self.name} cannot be checked: {self.summary}")

    def use_of(self, data: OwnData, report: DataReport) -> Use | None:
        """The command and settings to use a user's data, looked at, with; None if it cannot."""
        return None

    def with_classes(self, names: Sequence[str], data_root: str | Path | None = None) -> Self:
        """The same recipe for other classes, in the order of their labels.

        Args:
            names: of the classes; empty for those that the training data name.
            data_root: the folder of these data.

        Raises:
            ValueError: for a recipe that tells no classes apart, and names that cannot be.
        """
        raise UserError(f"--classes: {self.name} tells no classes apart: {self.summary}")

    def check_results(self, folder: str | Path, *, data_root: str | Path) -> SetReport:
        """Score a folder of ``<sequence>.txt``; what `eval --results` stops at is a problem."""
        from halftrack.data import Problem
        from halftrack.data.check import SetReport

        problems: tuple[Problem, ...] = ()
        counts = {}
        try:
            counts["frames"] = self.score_results(folder, data_root=data_root).frames
        except UserError as error:
            problems = (Problem(str(folder), str(error)),)
        return SetReport(name=f"results in {folder}", counts=counts, problems=problems)

    def video_tracker(
        self, init_box_xyxy: Box | None
    ) -> Callable[[nn.Module, torch.device, VideoSource], VideoTracker]:
        """Checks the request at once; what is returned makes a tracker of a video.

        It takes a loaded model, its device and the video as ``video_source`` gave it.

        Args:
            init_box_xyxy: the one object to track in the first frame, in original pixels; None for
                recipes that find their objects themselves.

        Raises:
            ValueError: for a recipe that does not track, a first box missing or not wanted.
        """
        raise UserError(
            f"{self.name} does not track: {self.summary}; take a tracktor_ recipe for all objects, "
            "a siamese_rpn_ recipe for one, a selsa_ recipe to detect in each frame"
        )

    def beside_detections(self) -> Self:
        """The same recipe for a video that brings the boxes of another detector.

        Raises:
            ValueError: for a recipe that follows no boxes of others.
        """
        raise UserError(f"--detections are followed by tracktor_ recipes alone, not {self.name}")

    def video_source(self, source: VideoSource) -> VideoSource:
        """The video with its frames in the size that the recipe's tracker takes.

        Raises:
            ValueError: for a live video, if the recipe needs the whole of it at once.
        """
        return source

    def score_results(self, folder: str | Path, *, data_root: str | Path) -> Evaluation:
        """Score a folder of ``<sequence>.txt`` on the validation videos.

        Raises:
            DataError: if the data are not there or not readable.
            ValueError: for a recipe that does not track, videos without ground truth, and files
                that are missing, empty or malformed.
        """
        raise UserError(
            f"result files are of a tracker; {self.name} does not track: {self.summary}; take a "
            "tracktor_ or siamese_rpn_ recipe"
        )

    def tuning(self) -> Tuning:
        """The settings of its tracker that a search may change, and how trials are scored.

        Raises:
            ValueError: for a recipe that does not track.
        """
        raise UserError(
            f"{self.name} has no tracker whose settings could be tuned: {self.summary}; take a "
            "tracktor_ or siamese_rpn_ recipe"
        )

    def pack_results(self, out: Path, evaluation: Evaluation) -> list[str]:
        """Write what a benchmark's server takes into ``out``; returns lines on it, most none."""
        return []

    @property
    def test_set(self) -> str:
        """The name of what it is scored on."""
        return "validation"

    def published_columns(self, *, memory_mb: float | None) -> dict[str, object]:
        """The columns of the published row that say what was run.

        Args:
            memory_mb: peak training memory; None if unknown.
        """
        return {"Method": self.method}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as checkpoints and logs keep them; ``kind`` is the class's name."""
        return {"kind": type(self).__name__, **plain(self)}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Recipe:
        """The recipe whose ``to_dict`` gave these values.

        Its kind is looked up among ours and the loaded subclasses of ``Recipe``, so that one
        defined outside halftrack is found where its module was imported; of two with one name the
        later defined.

        Raises:
            ValueError: for a kind that is not loaded, and values that are of another version.
        """
        for file in pkgutil.iter_modules(own.__path__):  # ours are loaded when they are first used
            importlib.import_module(f"{own.__name__}.{file.name}")
        kinds = {each.__name__: each for each in _kinds()}
        kind = kinds.get(values.get("kind", ""))
        if kind is None:
            raise UserError(
                f"{values.get('name')!r} is a recipe of kind {values.get('kind')!r}, which is not "
                f"loaded: import the module that defines it; there are {', '.join(sorted(kinds))}"
            )
        fields = {name: value for name, value in values.items() if name != "kind"}
        message = f"{values.get('name')!r} is no {kind.__name__} of this version"
        try:
            recipe: Recipe = TypeAdapter(kind).validate_python(fields)
        except ValidationError as error:
            raise UserError(f"{message}: {first_error(error, kind)}") from error
        if different := first_difference(values, recipe.to_dict()):
            raise UserError(f"{message}: {different}")
        return recipe


def _kinds(of: type[Recipe] = Recipe) -> Iterator[type[Recipe]]:
    """All loaded kinds of recipe, in the order of their definition."""
    for each in of.__subclasses__():
        if not inspect.isabstract(each):
            yield each
        yield from _kinds(each)
