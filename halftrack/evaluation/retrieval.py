"""Retrieval scores of embeddings: mean AP and rank-1, as MMTracking's ReIDDataset computes them.

Every embedding is a query that ranks all others by squared Euclidean distance; it is not in its
own gallery, and cameras are not told apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from halftrack.errors import NonFiniteOutputError, UserError

__all__ = ["RetrievalScores", "retrieval_scores"]

_CHUNK = 1 << 22  # distances at a time: 32 MB and as much again to sort them


@dataclass(frozen=True, kw_only=True)
class RetrievalScores:
    """Scores of finding the same individual again, over the queries that count."""

    mean_ap: float
    """Mean over the queries of the average precision of the ranked gallery."""
    rank1: float
    """Share of queries whose nearest neighbour is the same individual."""
    queries: int
    """Number of queries that count: their individual occurs more than once."""
    alone: int
    """Number of queries left out, because their individual occurs once."""

    def flat(self) -> dict[str, float]:
        """The scores by name, as in MMTracking's logs."""
        return {"mAP": self.mean_ap, "rank1": self.rank1}


def retrieval_scores(
    embeddings: NDArray[np.floating], labels: NDArray[np.integer]
) -> RetrievalScores:
    """Score every embedding as a query among all others.

    If distances are equal, other individuals come first: a network that maps everything to one
    point must not score well. In MMTracking an unstable sort decides.

    Args:
        embeddings: ``(n, d)``, compared in float64, with a slice of the ``n x n`` distances in
            memory at a time.
        labels: ``(n,)`` individual of each embedding.

    Raises:
        ValueError: if shapes are wrong, a value is NaN or infinite, or no individual occurs twice.
    """
    _check(embeddings, labels)
    _, individuals, counts = np.unique(labels, return_inverse=True, return_counts=True)
    queries = np.flatnonzero(counts[individuals] > 1)
    if not len(queries):
        raise UserError(
            f"each of the {len(labels)} embeddings shows another individual, "
            "expected at least one individual twice"
        )
    precisions, first = [], []
    for query, distances in _distances(embeddings.astype(np.float64), queries):
        same = individuals == individuals[query]
        same[query] = False
        hits = np.sort(distances[same])
        others = np.sort(distances[individuals != individuals[query]])
        before = np.searchsorted(others, hits, side="right")
        found = np.arange(1, len(hits) + 1)
        precisions.append(float(np.mean(found / (found + before))))
        first.append(bool(before[0] == 0))
    return RetrievalScores(
        mean_ap=float(np.mean(precisions)),
        rank1=float(np.mean(first)),
        queries=len(queries),
        alone=len(labels) - len(queries),
    )


def _distances(
    embeddings: NDArray[np.float64], queries: NDArray[np.intp]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Each query and its squared distance ``(n,)`` to every embedding."""
    norms = np.einsum("nd,nd->n", embeddings, embeddings)
    rows = max(_CHUNK // len(embeddings), 1)
    for start in range(0, len(queries), rows):
        part = queries[start : start + rows]
        table = norms[part, None] + norms - 2.0 * (embeddings[part] @ embeddings.T)
        yield from zip(part.tolist(), table, strict=True)


def _check(embeddings: NDArray[np.floating], labels: NDArray[np.integer]) -> None:
    if embeddings.ndim != 2:
        raise ValueError(f"embeddings have shape {embeddings.shape}, expected (n, d)")
    if labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"labels have shape {labels.shape}, expected {embeddings.shape[:1]}, one an embedding"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels are {labels.dtype}, expected integers")
    broken = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(broken):
        raise NonFiniteOutputError(
            f"embedding {broken[0]} (label {labels[broken[0]]}) is not finite, "
            f"nor are {len(broken) - 1} others; allowed are finite numbers"
        )
