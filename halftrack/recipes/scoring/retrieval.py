"""Scoring of re-identification: every validation crop is looked for among the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from halftrack.data import Progress, SkipLedger
from halftrack.data.mot import crops_in_order, read_crops
from halftrack.evaluation import retrieval_scores
from halftrack.recipes.scoring.evaluation import RetrievalEvaluation
from halftrack.recipes.scoring.scorer import Scorer, Stopwatch, left_out

if TYPE_CHECKING:
    from halftrack.recipes.kinds.reid import ReIDRecipe

__all__ = ["crop_scorer"]


def crop_scorer(
    recipe: ReIDRecipe, data_root: str | Path, device: torch.device, progress: Progress | None
) -> Scorer[RetrievalEvaluation]:
    """Scorer that embeds the validation crops and looks for each among the others."""
    data = recipe.data
    crops = read_crops(data, data_root, validation=True)

    def score(model: nn.Module) -> RetrievalEvaluation:
        clock, skipped = Stopwatch(), SkipLedger()
        embeddings: list[NDArray[np.float32]] = []
        labels: list[int] = []
        batches = crops_in_order(
            crops,
            size=recipe.model.crop_size,
            on_bad_sample=data.on_bad_sample,
            skipped=skipped,
        )
        with recipe.precision.inference(device):
            for batch in batches:
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

    return Scorer(score, {data.benchmark: crops.facts()})
