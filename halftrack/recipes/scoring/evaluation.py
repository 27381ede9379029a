"""Evaluations: scores, and whatever a task shows and leaves on disk beside them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halftrack.evaluation import (
    DetectionMetrics,
    MotMetrics,
    OpeMetrics,
    OpeRule,
    RetrievalScores,
    TrackRows,
    write_boxes,
    write_results,
)
from halftrack.frames import Detections

__all__ = [
    "DetectionEvaluation",
    "Evaluation",
    "RetrievalEvaluation",
    "SingleObjectEvaluation",
    "TrackingEvaluation",
]

Boxes = NDArray[np.float64]
Seconds = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Evaluation(ABC):
    """Result of scoring a model; each task adds its scores and what they were computed from."""

    frames: int
    """Frames scored."""
    seconds: float
    """Time spent in the model, reading and scoring not."""
    skipped: tuple[str, ...] = ()
    """Lines about what could not be read and was left out; empty if nothing was."""

    @property
    def frames_per_second(self) -> float:
        """Speed of the model alone."""
        return self.frames / self.seconds if self.seconds else 0.0

    @property
    def curves(self) -> OpeMetrics | None:
        """The scores whose success and precision curves are drawn; None where there are none."""
        return None

    @abstractmethod
    def flat(self) -> dict[str, float]:
        """The scores under their names, as logged; ``training.best_metric`` is one of them."""

    def numbers(self) -> dict[str, Any]:
        """The scores in full, as JSON takes them."""
        return dict(self.flat())

    def tables(self) -> dict[str, list[dict[str, object]]]:
        """Title and rows of what is shown beneath the published row."""
        return {}

    def published_scores(self) -> dict[str, object]:
        """The columns of the published row that hold scores."""
        return {name: f"{score:.3f}" for name, score in self.flat().items()}

    def result_writers(self) -> dict[str, Callable[[Path], None]]:
        """For each sequence a function that writes its result file; empty for other tasks."""
        return {}


@dataclass(frozen=True, kw_only=True)
class DetectionEvaluation(Evaluation):
    """Scores of a detector on the validation videos."""

    metrics: DetectionMetrics
    """The scores."""
    detections: tuple[Detections, ...]
    """Detections of each frame, in the order of the videos, on the CPU."""

    def flat(self) -> dict[str, float]:
        """``coco_ap50``, ``voc_ap50`` and so on."""
        return self.metrics.flat()

    def numbers(self) -> dict[str, Any]:
        """The scores in full, those by class too."""
        return self.metrics.metrics()

    def published_scores(self) -> dict[str, object]:
        """COCO's AP50 in percent."""
        return {"box AP@50": f"{100 * self.flat()['coco_ap50']:.1f}"}

    def tables(self) -> dict[str, list[dict[str, object]]]:
        """AP by class."""
        coco, voc = self.metrics.coco_ap50_per_class, self.metrics.voc_ap50_per_class
        rows: list[dict[str, object]] = [
            {"class": name, "COCO AP50": f"{100 * ap:.1f}", "VOC AP50": f"{100 * voc[name]:.1f}"}
            for name, ap in coco.items()
        ]
        return {"AP50 by class": rows}


@dataclass(frozen=True, kw_only=True)
class RetrievalEvaluation(Evaluation):
    """Retrieval scores: how well validation crops find the same individual again."""

    metrics: RetrievalScores
    """The scores."""

    def flat(self) -> dict[str, float]:
        """``mAP`` and ``rank1``."""
        return self.metrics.flat()

    def numbers(self) -> dict[str, Any]:
        """The scores and how many queries they are of."""
        return asdict(self.metrics)

    def tables(self) -> dict[str, list[dict[str, object]]]:
        """Number of queries, and of crops without a partner."""
        scores = self.metrics
        return {"Retrieval": [{"queries": scores.queries, "alone, left out": scores.alone}]}

    def published_scores(self) -> dict[str, object]:
        """Mean average precision and rank 1, in percent."""
        scores = self.flat()
        return {"mAP": f"{100 * scores['mAP']:.1f}", "Rank-1": f"{100 * scores['rank1']:.1f}"}


@dataclass(frozen=True, kw_only=True)
class TrackingEvaluation(Evaluation):
    """Scores of a tracker on the validation sequences."""

    metrics: MotMetrics | None
    """The scores; None where a sequence has no published truth."""
    results: dict[str, TrackRows]
    """The tracks of each sequence, ready to be written for the server."""

    def flat(self) -> dict[str, float]:
        """``mota``, ``idf1``, ``hota`` and so on, of all sequences together."""
        return {} if self.metrics is None else self.metrics.flat()

    def numbers(self) -> dict[str, Any]:
        """The scores of all sequences together and of each."""
        return {} if self.metrics is None else asdict(self.metrics)

    def tables(self) -> dict[str, list[dict[str, object]]]:
        """The scores by sequence."""
        return {} if self.metrics is None else {"By sequence": self.metrics.rows()}

    def published_scores(self) -> dict[str, object]:
        """HOTA, MOTA, IDF1 and the errors of all sequences together; dashes without scores."""
        names = ("HOTA", "MOTA", "IDF1", "FP", "FN")
        if self.metrics is None:
            return dict.fromkeys((*names, "IDSw."), "-")
        combined = self.metrics.combined.row()
        return {name: combined[name] for name in names} | {"IDSw.": combined["IDSW"]}

    def result_writers(self) -> dict[str, Callable[[Path], None]]:
        """For each sequence a function that writes its tracks as MOTChallenge's text."""
        return {name: partial(write_results, rows=rows) for name, rows in self.results.items()}


@dataclass(frozen=True, kw_only=True)
class SingleObjectEvaluation(Evaluation):
    """Scores of a tracker on the test sequences, each tracked once from its first box."""

    metrics: dict[OpeRule, OpeMetrics]
    """The scores by both rules, the recipe's first; empty where no ground truth is published."""
    results: dict[str, Boxes]
    """The boxes ``(n, 4)`` of each sequence, xyxy, the first one given."""
    frame_seconds: dict[str, Seconds]
    """``(n,)`` what each frame of a sequence took, the first the start; empty of result files."""

    def flat(self) -> dict[str, float]:
        """``success``, ``precision`` and ``norm_precision`` in percent, by the recipe's rule."""
        return next((each.flat() for each in self.metrics.values()), {})

    def numbers(self) -> dict[str, Any]:
        """The scores of all sequences together and of each, the curves, and the other rule's."""
        if not self.metrics:
            return {}
        first, *others = self.metrics.values()
        return {
            "rule": first.rule,
            "mean": first.flat(),
            "by_sequence": {name: each.flat() for name, each in first.by_sequence.items()},
            "by_attribute": {name: each.flat() for name, each in first.by_attribute.items()},
            **first.mean.curves(),
            **{other.rule: other.flat() for other in others},
        }

    @property
    def curves(self) -> OpeMetrics | None:
        """The scores by the recipe's rule, whose curves are drawn."""
        return next(iter(self.metrics.values()), None)

    def published_scores(self) -> dict[str, object]:
        """Success, normalised precision and precision, in percent."""
        names = {"success": "Success", "norm_precision": "Norm precision", "precision": "Precision"}
        scores = self.flat()
        return {shown: f"{scores[key]:.1f}" for key, shown in names.items() if key in scores}

    def result_writers(self) -> dict[str, Callable[[Path], None]]:
        """For each sequence a function that writes ``x,y,w,h`` a line."""
        return {name: partial(write_boxes, boxes_xyxy=b) for name, b in self.results.items()}

    def tables(self) -> dict[str, list[dict[str, object]]]:
        """The scores by sequence, by attribute where there are any, and by rule."""
        if not self.metrics:
            return {}
        first = next(iter(self.metrics.values()))
        tables = {"By sequence": first.rows()}
        if first.by_attribute:
            tables["By attribute"] = first.attribute_rows()
        rules = self.metrics.items()
        tables["By rule"] = [{"Rule": rule, **each.mean.row()} for rule, each in rules]
        return tables
