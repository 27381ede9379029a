"""What a recipe is: one complete, frozen, typed value, and how single fields of it are set."""

from __future__ import annotations

import ast
import dataclasses
import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from halftrack.data import Progress, SkipLedger
from halftrack.data.mot import MotDetectionConfig, ReIDDataConfig
from halftrack.data.sot import PairDataConfig
from halftrack.data.vid import VidDataConfig
from halftrack.layers import ResNetConfig
from halftrack.precision import Precision
from halftrack.recipes.kinds.renamed import field_paths, new_name
from halftrack.training import BatchSource, TrainingConfig, load_weights

__all__ = [
    "Evaluation",
    "Recipe",
    "TrainedRecipe",
    "TrainingSource",
    "fill",
    "override",
    "seeded",
]


DataConfig = VidDataConfig | MotDetectionConfig | ReIDDataConfig | PairDataConfig
ModelT = TypeVar("ModelT", bound=nn.Module)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation(ABC):
    """How a model did; each task adds its scores and what they were computed from."""

    frames: int
    """Frames scored."""
    seconds: float
    """Time spent in the model, reading and scoring not."""
    skipped: tuple[str, ...] = ()
    """What could not be read and was left out, as lines of text; empty if nothing."""

    @property
    def frames_per_second(self) -> float:
        """Speed of the model alone."""
        return self.frames / self.seconds if self.seconds else 0.0

    @abstractmethod
    def flat(self) -> dict[str, float]:
        """The scores under their names, as logged; ``training.best_metric`` is one of them."""

    @abstractmethod
    def numbers(self) -> dict[str, Any]:
        """The scores in full, as JSON takes them."""

    @abstractmethod
    def tables(self) -> dict[str, list[dict[str, object]]]:
        """Title and rows of what is shown beneath the published row."""


class ModelConfig(Protocol):
    """What a model is built from."""

    @property
    def backbone(self) -> ResNetConfig:
        """The feature extractor."""

    def build(self) -> nn.Module:
        """The model with random weights."""


class TrainingSource(BatchSource, Protocol):
    """What training reads, and what it left out."""

    notes: tuple[str, ...]
    """What of the data is trained on and what is not, as lines of text."""
    skipped: SkipLedger
    """What could not be read so far."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """Everything that decides a run, but for where the data lies and which seed is used."""

    name: str
    """The published name."""
    summary: str
    """One line on what it is."""
    precision: Precision
    """What it computes in."""
    data: DataConfig
    """What is read."""

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
            fill(model, checkpoint, self.name, trust=trust)
        return model

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

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as checkpoints and logs keep them."""
        plain: dict[str, Any] = _plain(self)
        return plain


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedRecipe(Recipe):
    """A recipe whose model is trained, and has a backbone that ImageNet weights fit."""

    backbone_path: ClassVar[str] = "backbone"
    """Where in the model the backbone is."""
    model: ModelConfig
    """Architecture and its loss, sampling and test settings."""
    training: TrainingConfig
    """How long, how fast."""
    backbone_weights: Literal["imagenet", "none"] = "imagenet"
    """Where the backbone starts: torchvision's ImageNet weights, or random."""

    def build_model(self, *, seed: int = 0) -> nn.Module:
        """The model with random weights, a function of ``seed`` alone, on the CPU.

        Raises:
            ValueError: if something only the data can tell is not settled.
        """
        return seeded(self.model.build, seed)

    @abstractmethod
    def training_source(
        self, data_root: str | Path, *, progress: Progress | None = None
    ) -> TrainingSource:
        """Open the training data.

        Raises:
            DataError: if the data are not there or not readable.
        """

    def validator(
        self, data_root: str | Path, device: torch.device
    ) -> Callable[[nn.Module], Evaluation] | None:
        """The scorer that training chooses the best weights by; None where nothing is measured.

        Raises:
            DataError: if the data are not there or not readable.
        """
        return self.scorer(data_root, device)

    def settled(self, data_root: str | Path) -> Self:
        """The recipe with what only the data can tell filled in; most have nothing of it."""
        return self


def seeded(build: Callable[[], ModelT], seed: int) -> ModelT:
    """What ``build`` makes, its random numbers a function of ``seed`` alone, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def fill(model: nn.Module, checkpoint: str | Path, what: str, *, trust: bool) -> None:
    """Fill all of a model with all of a checkpoint, or of the part of it that is the model's.

    Raises:
        ValueError: if a key is missing, left over or of another shape; says of ``what``.
    """
    report = load_weights(model, checkpoint, trust=trust)
    # A larger model's file fills a smaller one and leaves keys over.
    if report.missing or report.mismatched or report.unexpected:
        raise ValueError(f"{checkpoint} does not fit {what}: {report}")


RecipeT = TypeVar("RecipeT", bound=Recipe)


def override(recipe: RecipeT, assignments: Sequence[str]) -> RecipeT:
    """Set fields from ``path=value`` texts, e.g. ``training.lr=0.02``.

    Values are Python literals (numbers, True, None, tuples); anything else is taken as text. A
    tuple needs no brackets: ``data.training_sets=vid,det``, ``precision.keep_fp32=neck``.

    Raises:
        ValueError: for a field that does not exist (its new name or else the nearest field is
            named) or a value of the wrong type.
    """
    values = dataclasses.asdict(recipe)
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator:
            raise ValueError(f"--set takes field=value, got {assignment!r}")
        _assign(values, path.strip(), text.strip())
    try:
        return TypeAdapter(type(recipe)).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "value_error":  # our own, which quotes what it was given
            raise ValueError(f"recipe field {field}: {first['ctx']['error']}") from error
        raise ValueError(f"recipe field {field}: {first['msg']}, got {first['input']!r}") from error


def _assign(values: dict[str, Any], path: str, text: str) -> None:
    *parents, last = path.split(".")
    place: Any = values
    for part in parents:
        place = place.get(part) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place:
        known = list(field_paths(values))
        new = new_name(path)
        if new in known:
            raise ValueError(f"recipe field {path!r} is now called {new!r}")
        near = difflib.get_close_matches(path, known, n=1, cutoff=0.0)
        raise ValueError(f"no recipe field {path!r}; the nearest is {near[0]!r}")
    place[last] = _items(text) if isinstance(place[last], tuple) else _literal(text)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _items(text: str) -> Any:
    value = _literal(text)
    if value == text:  # words
        return tuple(_literal(word.strip()) for word in text.split(","))
    return value if value is None or isinstance(value, tuple | list) else (value,)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
