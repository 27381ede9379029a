"""Scoring of re-identification: every validation crop is looked for among the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from halftrack.data import Problem, Progress, SkipLedger
from halftrack.data.mot import crops_in_order, read_crops
from halftrack.evaluation import retrieval_scores
from halftrack.recipes.scoring.evaluation import RetrievalEvaluation
from halftrack.recipes.scoring.scorer import Scorer, Skips, Stopwatch
from halftrack.training.same_run import DataFacts

if TYPE_CHECKING:
    from halftrack.recipes.kinds.reid import ReIDRecipe

__all__ = ["crop_scorer"]


@dataclass(frozen=True)
class _Found:
    """Embeddings of a sequence's crops."""

    embeddings: list[NDArray[np.float32]]
    labels: list[int]
    seconds: float
    skipped: Counter[Problem]


def crop_scorer(
    recipe: ReIDRecipe, data_root: str | Path, device: torch.device, progress: Progress | None
) -> Scorer[_Found, RetrievalEvaluation]:
    """Scorer that embeds the validation crops and looks for each among the others."""
    data = recipe.data
    crops = read_crops(data, data_root, validation=True)
    lengths = np.bincount(crops.sequence, minlength=len(crops.sequences)).tolist()
    ledger = SkipLedger()
    skips = Skips(ledger)

    def find(model: nn.Module, numbers: Sequence[int]) -> list[_Found]:
        found = []
        done, total = 0, sum(lengths[number] for number in numbers)
        with recipe.precision.inference(device):
            for number in numbers:
                clock = Stopwatch()
                with skips.of_video() as skipped:
                    embeddings, labels = _embedded(model, number, clock)
                found.append(_Found(embeddings, labels, clock.seconds, skipped))
                done += lengths[number]
                if progress is not None:
                    progress(done, total)
        return found

    def _embedded(
        model: nn.Module, sequence: int, clock: Stopwatch
    ) -> tuple[list[NDArray[np.float32]], list[int]]:
        embeddings, labels = [], list[int]()
        for batch in crops_in_order(
            crops,
            sequence=sequence,
            size=recipe.model.crop_size,
            on_bad_sample=data.on_bad_sample,
            skipped=ledger,
        ):
            with clock:
                embeddings.append(model(batch.to(device)).float().cpu().numpy())
            labels += batch.labels.tolist()
        return embeddings, labels

    def conclude(found: Sequence[_Found]) -> RetrievalEvaluation:
        embeddings = np.concatenate([rows for each in found for rows in each.embeddings])
        labels = [label for each in found for label in each.labels]
        return RetrievalEvaluation(
            metrics=retrieval_scores(embeddings, np.array(labels)),
            frames=len(labels),
            seconds=sum(each.seconds for each in found),
            skipped=skips.lines(each.skipped for each in found),
        )

    facts: DataFacts = {data.benchmark: crops.facts()}
    return Scorer(lengths=lengths, find=find, conclude=conclude, facts=facts)
