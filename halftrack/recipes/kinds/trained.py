"""Recipes whose model is trained: where batches come from, and how large a training step is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from halftrack.data.problems import SkipLedger
from halftrack.errors import UserError
from halftrack.frames import ClipBatch
from halftrack.recipes.kinds.recipe import Recipe
from halftrack.recipes.kinds.weights import seeded
from halftrack.synthetic import Layout, SyntheticVideo, write_synthetic
from halftrack.training.batches import Batch, BatchSource
from halftrack.training.config import TrainingConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from halftrack.data import Progress
    from halftrack.recipes.scoring.evaluation import Evaluation

__all__ = [
    "SYNTHETIC_VIDEOS",
    "ModelConfig",
    "Sharing",
    "TrainedRecipe",
    "TrainingSource",
    "spread_boxes",
]

# Enough individuals for a batch of the published ReID.
SYNTHETIC_VIDEOS = 8


class ModelConfig(Protocol):
    """Configuration of a model, which builds it."""

    def build(self) -> nn.Module:
        """The model with random weights."""


class TrainingSource(BatchSource, Protocol):
    """Source of training batches that tells what it leaves out.

    ``halftrack.data.OrderedBatches`` is one.
    """

    notes: tuple[str, ...]
    """Lines about what of the data is trained on and what is not."""
    skipped: SkipLedger
    """Ledger of what could not be read so far."""


@dataclass(frozen=True)
class Sharing:
    """A recipe's number of samples that share a pass."""

    field: str
    """Name of the recipe field that says it."""
    value: int
    """The recipe's own."""
    unit: int = 1
    """It is a multiple of this."""
    most: int | None = None
    """Largest number that the recipe allows; None for any."""
    step: int = 0
    """Clips in a step, which is a multiple of it; 0 if the step does not depend on it."""

    def __str__(self) -> str:
        return f"{self.field}={self.value}"

    def fields(self, value: int) -> list[str]:
        """The assignments, as ``override`` takes them, that set it: a step may have to grow."""
        step = -(-self.step // value) * value
        return [f"{self.field}={value}", *[f"training.accumulate={step}"] * (step != self.step)]


@dataclass(frozen=True, kw_only=True)
class TrainedRecipe(Recipe):
    """A recipe whose model is trained."""

    batch_types: ClassVar[tuple[type, ...]] = ()
    """The frozen dataclasses that its batches are made of, as a replay bundle reads them."""
    batch_size_field: ClassVar[str] = "training.accumulate"
    """The field that says how many samples a step learns from."""
    any_image_size: ClassVar[bool] = False
    """True if the memory plan may look for the largest images that fit."""
    metric_point: ClassVar[float] = 0.01
    """A point of ``training.best_metric``: 0.01 of a metric in 0 to 1, 1.0 of one in percent."""
    measured: ClassVar[tuple[str, ...]] = ()
    """The scores that its evaluation gives, of which ``training.best_metric`` is one; empty if
    nothing is known of them before they are there."""
    synthetic_layout: ClassVar[Layout | None] = None
    """The layout in which synthetic video is written for it; None if none fits."""

    model: ModelConfig
    """Architecture and its loss, sampling and test settings."""
    training: TrainingConfig
    """Length, learning rate and care of the training."""

    def __post_init__(self) -> None:
        if self.training.clips_per_pass > 1 and ClipBatch not in self.batch_types:
            raise UserError(
                f"training.clips_per_pass={self.training.clips_per_pass}: {self.method} has no "
                f"clips; expected 1, and more samples a pass by {self.batch_size_field}"
            )

    def build_model(self, *, seed: int = 0) -> nn.Module:
        """The model with random weights, a function of ``seed`` alone, on the CPU.

        Raises:
            ValueError: if something only the data can tell is not settled.
        """
        return seeded(self.model.build, seed)

    def check_before_data(self) -> None:
        """Make sure that what can be known of a training without its data is right.

        Raises:
            ValueError: if it is not; names the field.
        """
        name = self.training.best_metric
        if self.measured and name not in self.measured:
            raise UserError(
                f"training.best_metric {name!r} is not measured; measured are "
                f"{', '.join(self.measured)}"
            )

    def for_training(self) -> Self:
        """The recipe itself, which is trained."""
        return self

    @property
    def start_weights(self) -> str:
        """The word, for the log, for the weights that training starts from without ``--init``."""
        return "none"

    def load_start_weights(self, model: nn.Module, *, say: Callable[[str], None]) -> None:
        """Fill in the weights that training starts from where the user names none; none here.

        Args:
            model: with random weights.
            say: told which weights were loaded.

        Raises:
            ValueError: if there are no such weights for this model.
            RuntimeError: if they cannot be had.
        """

    def find_training_data(self, data_root: str | Path) -> None:
        """Make sure that what it learns from is there, as ``find_test_data`` does of the rest.

        Raises:
            DataError: if it is not; says where it was looked for.
        """

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

    def without_data(self) -> Self:
        """The recipe with an ample value for what only the data can tell."""
        return self

    def assumptions(self) -> tuple[str, ...]:
        """Lines on what ``without_data`` takes for granted."""
        return ()

    @property
    @abstractmethod
    def image_size(self) -> tuple[int, int]:
        """Height and width, in pixels, of the largest image that it trains on."""

    def image_fields(self, size: tuple[int, int]) -> list[str]:
        """The assignments, as ``override`` takes them, with which images have this size.

        Args:
            size: height and width in pixels.

        Raises:
            ValueError: for a size that the recipe cannot have.
        """
        height, width = self.image_size
        raise UserError(f"images of {self.name} are {height}x{width}: no other size can be set")

    @property
    def test_references(self) -> int:
        """Number of reference frames that inference in a video begins with; none here."""
        return 0

    def sharing(self) -> tuple[Sharing, ...]:
        """Numbers of what shares a pass, which decide how much memory a step takes."""
        field = self.batch_size_field
        return (Sharing(field=field, value=attrgetter(field)(self)),)

    @abstractmethod
    def planned_batch(
        self, *, objects: int, forget: Callable[[Tensor], Tensor] = lambda x: x
    ) -> Batch:
        """A batch of the recipe's largest size, black.

        Args:
            objects: boxes to learn in each frame of a detector.
            forget: applied to each tensor whose values decide no shape.
        """

    @property
    def recompute(self) -> tuple[int, ...]:
        """Stages of the model whose activations are computed again in the backward pass."""
        return ()

    def recompute_choices(self) -> list[tuple[int, ...]]:
        """The values of ``recompute`` that a memory plan compares, the recipe's own first."""
        return [self.recompute]

    def with_recompute(self, stages: tuple[int, ...]) -> Self:
        """The same recipe with other stages computed again.

        Raises:
            ValueError: if its model has no such stages.
        """
        if stages == self.recompute:
            return self
        raise UserError(f"{self.name} has no stages to compute again, got {stages}")

    def reading_synthetic(self) -> Self:
        """The recipe with synthetic video in the place of its data; sizes and sampling stay.

        Raises:
            ValueError: if there is no synthetic video for it, or its model cannot learn it.
        """
        return self

    def write_synthetic(
        self,
        data_root: Path,
        *,
        seed: int,
        frames: int = SyntheticVideo.frames,
        size: tuple[int, int] = SyntheticVideo.size,
        progress: Progress | None = None,
    ) -> Path:
        """Write synthetic video in the layout of the recipe's data; returns the data root.

        Args:
            data_root: a new or empty folder, or one that holds synthetic video.
            seed: of the video.
            frames: length of each video.
            size: height and width of its frames.
            progress: told (videos written, videos in all).

        Raises:
            FileExistsError: if ``data_root`` holds anything else.
            ValueError: if there is no synthetic video for this recipe.
        """
        if self.synthetic_layout is None:
            raise UserError(f"there is no synthetic video for {self.name}: give --data-root")
        settings = SyntheticVideo(
            layout=self.synthetic_layout,
            seed=seed,
            train_videos=SYNTHETIC_VIDEOS,
            val_videos=1,
            frames=frames,
            size=size,
        )
        return write_synthetic(data_root, settings, overwrite=True, progress=progress)

    def published_columns(self, *, memory_mb: float | None) -> dict[str, object]:
        """The columns of the published row that say what was run.

        Args:
            memory_mb: peak training memory; None if unknown.
        """
        memory = "-" if memory_mb is None else f"{memory_mb / 1024:.2f}"
        columns = super().published_columns(memory_mb=memory_mb)
        return columns | {"Lr schd": f"{self.training.epochs}e", "Mem (GB)": memory}


def spread_boxes(count: int, size: tuple[int, int]) -> Tensor:
    """Boxes ``(count, 4)`` of all sizes, from half of an image to a thirtieth, inside it."""
    import torch

    sides = torch.tensor(size[::-1]) * torch.logspace(-1, -5, count, base=2)[:, None]
    corners = (torch.tensor(size[::-1]) - sides) * torch.linspace(0, 1, count)[:, None]
    return torch.cat([corners, corners + sides], dim=1)
