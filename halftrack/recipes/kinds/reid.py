"""Recipes of re-identification: embeddings of crops, scored by finding individuals again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from halftrack.data.mot.config import ReIDDataConfig
from halftrack.errors import UserError
from halftrack.frames import CropBatch
from halftrack.models.tracker_config import ReIDConfig
from halftrack.recipes.kinds.backbone import BackboneRecipe
from halftrack.recipes.kinds.settings import named_classes
from halftrack.recipes.kinds.trained import TrainingSource
from halftrack.synthetic import Layout

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from halftrack.data import Progress
    from halftrack.data.check import DataReport
    from halftrack.data.own.layouts import OwnData
    from halftrack.data.own.settings import Use
    from halftrack.recipes.scoring.evaluation import RetrievalEvaluation
    from halftrack.training import Batch

__all__ = ["ReIDRecipe", "identities_in"]

_CLASSIFIER = "head.classifier.weight"
_IDENTITIES = 1000  # taken where only the data can tell: more than any MOTChallenge trains on


@dataclass(frozen=True, kw_only=True)
class ReIDRecipe(BackboneRecipe):
    """Re-identification on crops of MOTChallenge sequences."""

    method: ClassVar[str] = "ReID"
    batch_types: ClassVar[tuple[type, ...]] = (CropBatch,)
    batch_size_field: ClassVar[str] = "data.identities_per_batch"
    any_image_size: ClassVar[bool] = True
    measured: ClassVar[tuple[str, ...]] = ("mAP", "rank1")
    synthetic_layout: ClassVar[Layout | None] = "mot"
    model: ReIDConfig
    """Architecture and its loss."""
    data: ReIDDataConfig
    """The data set's configuration: which crops are cut and how they are sampled."""

    def settled(self, data_root: str | Path) -> Self:
        """With the number of identities the data hold."""
        if self.model.num_identities is not None:
            return self
        from halftrack.data.mot import read_crops

        return self._with_identities(read_crops(self.data, data_root).num_identities)

    def load_model(
        self, checkpoint: str | Path | None, *, seed: int = 0, trust: bool = False
    ) -> nn.Module:
        """As of any recipe; the number of identities is the checkpoint's."""
        recipe = self
        if self.model.num_identities is None:
            # Without a checkpoint nobody asks whom a crop shows, only how far it is from others.
            count = 1 if checkpoint is None else identities_in(Path(checkpoint), trust=trust)
            recipe = self._with_identities(count)
        return super(ReIDRecipe, recipe).load_model(checkpoint, seed=seed, trust=trust)

    def use_of(self, data: OwnData, report: DataReport) -> Use | None:
        """Trains on crops of the training sequences, where there are individuals enough."""
        from halftrack.data.own.settings import INDIVIDUALS, Use, mot_asked, reid_split

        found = max((each.counts.get(INDIVIDUALS, 0) for each in report.sets), default=0)
        if found < self.data.identities_per_batch:
            return None
        fields = {"data.benchmark": data.benchmark, "data.split": reid_split(data)}
        return Use("train", fields, mot_asked(data, report))

    def with_classes(self, names: Sequence[str], data_root: str | Path | None = None) -> Self:
        """Individuals of these classes."""
        names = named_classes(names, self.data, data_root)
        return replace(self, data=replace(self.data, classes=names))

    def find_training_data(self, data_root: str | Path) -> None:
        """Looks for the folder of the crops, or of the training sequences."""
        from halftrack.data.mot.crops.read import find_crops

        find_crops(self.data, data_root)

    def find_test_data(self, data_root: str | Path) -> None:
        """Looks for the same folder: crops for validation are of the training sequences."""
        self.find_training_data(data_root)

    def training_source(
        self, data_root: str | Path, *, progress: Progress | None = None
    ) -> TrainingSource:
        """Batches of crops."""
        from halftrack.data.mot import CropBatches

        return CropBatches.open(self.data, data_root, crop_size=self.model.crop_size)

    def scorer(
        self, data_root: str | Path, device: torch.device, *, progress: Progress | None = None
    ) -> Callable[[nn.Module], RetrievalEvaluation]:
        """Embeds the validation crops and looks for each among the others."""
        from halftrack.recipes.scoring.retrieval import crop_scorer

        return crop_scorer(self, data_root, device, progress)

    def without_data(self) -> Self:
        """The recipe with more individuals than any MOTChallenge's training set has."""
        return self if self.model.num_identities is not None else self._with_identities(_IDENTITIES)

    def assumptions(self) -> tuple[str, ...]:
        """A line on the number of individuals, where only the data can tell it."""
        if self.model.num_identities is not None:
            return ()
        return (f"{_IDENTITIES} individuals, for only the data can tell how many there are",)

    def check_data(
        self, data_root: str | Path, *, decode: bool = False, progress: Progress | None = None
    ) -> DataReport:
        """Read every annotation of the training sequences and count the crops in them."""
        self.find_training_data(data_root)  # before what looks at images is imported
        from halftrack.data.check import check

        return check(data_root, self.data, decode=decode, progress=progress)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the crops, in pixels."""
        return self.model.crop_size

    def image_fields(self, size: tuple[int, int]) -> list[str]:
        """The assignments with which crops have this height and width."""
        return [f"model.crop_size={size}"]

    def planned_batch(
        self, *, objects: int, forget: Callable[[Tensor], Tensor] = lambda x: x
    ) -> Batch:
        """A batch of black crops; with so many individuals as ``without_data`` says."""
        import torch

        count = self.without_data().model.num_identities
        assert count is not None
        each = self.data.crops_per_identity
        labels = torch.arange(self.data.identities_per_batch).repeat_interleave(each)
        return CropBatch(
            images=forget(torch.zeros((len(labels), 3, *self.image_size))),
            labels=labels % count,
            sample_ids=("planned",) * len(labels),
        )

    def reading_synthetic(self) -> Self:
        """The recipe with synthetic video in the place of its benchmark."""
        return replace(self, data=replace(self.data, benchmark="MOT17", detectors="FRCNN"))

    def _with_identities(self, count: int) -> Self:
        model = replace(self.model, num_identities=count)
        return replace(self, model=model)


def identities_in(file: Path, *, trust: bool) -> int:
    """The number of individuals that the classifier of a ReID checkpoint tells apart.

    Raises:
        ValueError: if the file holds no ReID model.
    """
    from halftrack.training import read_checkpoint

    state = read_checkpoint(file, trust=trust)
    weights = state.get("state_dict", state)
    for key, value in weights.items():
        if key.endswith(_CLASSIFIER):
            return int(value.shape[0])
    raise UserError(f"{file} holds no ReID model: none of its keys ends in {_CLASSIFIER}")
