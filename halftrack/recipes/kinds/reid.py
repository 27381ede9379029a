"""Recipes of re-identification: embeddings of crops, scored by finding individuals again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from halftrack.data import Progress, SkipLedger
from halftrack.data.check import DataReport, check
from halftrack.data.mot import CropBatches, Crops, ReIDDataConfig, crops_in_order, read_crops
from halftrack.errors import UserError
from halftrack.evaluation import retrieval_scores
from halftrack.frames import CropBatch
from halftrack.models import ReIDConfig
from halftrack.recipes.kinds.backbone import BackboneRecipe
from halftrack.recipes.kinds.detection import Stopwatch, left_out
from halftrack.recipes.kinds.evaluation import RetrievalEvaluation
from halftrack.recipes.kinds.trained import Scorer, TrainingSource
from halftrack.synthetic import Layout
from halftrack.training import Batch, read_checkpoint

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

    def training_source(
        self, data_root: str | Path, *, progress: Progress | None = None
    ) -> TrainingSource:
        """Batches of crops."""
        return CropBatches.open(self.data, data_root, crop_size=self.model.crop_size)

    def scorer(
        self, data_root: str | Path, device: torch.device, *, progress: Progress | None = None
    ) -> Callable[[nn.Module], RetrievalEvaluation]:
        """Embeds the validation crops and looks for each among the others."""
        crops = read_crops(self.data, data_root, validation=True)

        def score(model: nn.Module) -> RetrievalEvaluation:
            clock, precision, skipped = Stopwatch(), self.precision, SkipLedger()
            embeddings: list[NDArray[np.float32]] = []
            labels: list[int] = []
            with precision.inference(device):
                for batch in self._validation_batches(crops, skipped):
                    with clock:
                        embeddings.append(model(batch.to(device)).float().cpu().numpy())
                    labels += batch.labels.tolist()
                    if progress is not None:
                        progress(len(labels), len(crops))
            return RetrievalEvaluation(
                metrics=retrieval_scores(np.concatenate(embeddings), np.array(labels)),
                frames=len(labels),
                seconds=clock.seconds,
                skipped=left_out(skipped),
            )

        return Scorer(score, {self.data.benchmark: crops.facts()})

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

    def _validation_batches(self, crops: Crops, skipped: SkipLedger) -> Iterator[CropBatch]:
        return crops_in_order(
            crops,
            size=self.model.crop_size,
            on_bad_sample=self.data.on_bad_sample,
            skipped=skipped,
        )

    def _with_identities(self, count: int) -> Self:
        model = replace(self.model, num_identities=count)
        return replace(self, model=model)


def identities_in(file: Path, *, trust: bool) -> int:
    """The number of individuals that the classifier of a ReID checkpoint tells apart.

    Raises:
        ValueError: if the file holds no ReID model.
    """
    state = read_checkpoint(file, trust=trust)
    weights = state.get("state_dict", state)
    for key, value in weights.items():
        if key.endswith(_CLASSIFIER):
            return int(value.shape[0])
    raise UserError(f"{file} holds no ReID model: none of its keys ends in {_CLASSIFIER}")
