from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halftrack.evaluation import retrieval, retrieval_scores


def mmtracking(embeddings, labels) -> tuple[float, float]:
    """ReIDDataset.evaluate of MMTracking 0.14 in plain steps: the first of a ranking is itself."""
    squares = ((embeddings[:, None] - embeddings[None]) ** 2).sum(axis=2)
    precisions, hits = [], []
    for query, order in enumerate(np.argsort(squares, axis=1)):
        matches = (labels[order] == labels[query])[1:].astype(np.float64)
        if not matches.any():
            continue
        ranked = np.cumsum(matches) / np.arange(1, len(matches) + 1)
        precisions.append((ranked * matches).sum() / matches.sum())
        hits.append(matches[0])
    return float(np.mean(precisions)), float(np.mean(hits))


# Embeddings on a line: who is nearest is plain to see.
STORIES = {
    "two individuals, far apart": ([0, 1, 10, 11], [0, 0, 1, 1], 1.0, 1.0),
    "another one stands between": ([0, 1, 2.5], [0, 1, 0], 0.5, 0.0),
    "one of two nearest neighbours is wrong": ([0, 1, 2.5, 2.6], [0, 0, 0, 1], 31 / 36, 2 / 3),
    "who occurs once is no query but still in the way": ([0, 1, 2.5], [0, 5, 0], 0.5, 0.0),
    "all in one point: others come first": ([3, 3, 3, 3], [0, 0, 1, 1], 1 / 3, 0.0),
    "one individual only": ([0, 4, 9], [7, 7, 7], 1.0, 1.0),
}


@pytest.mark.parametrize(
    ("places", "labels", "mean_ap", "rank1"), STORIES.values(), ids=STORIES.keys()
)
def test_small_stories(places, labels, mean_ap, rank1):
    scores = retrieval_scores(np.asarray(places, dtype=np.float32)[:, None], np.asarray(labels))
    assert (scores.mean_ap, scores.rank1) == pytest.approx((mean_ap, rank1))
    assert scores.flat() == {"mAP": scores.mean_ap, "rank1": scores.rank1}


def test_queries_and_those_who_occur_once_are_counted():
    scores = retrieval_scores(np.arange(5.0)[:, None], np.asarray([0, 0, 1, 2, 0]))
    assert (scores.queries, scores.alone) == (3, 2)


def random_set(seed: int):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 8, 40)
    embeddings = rng.normal(size=(8, 5))[labels] + rng.normal(size=(40, 5))
    return embeddings.astype(np.float32), labels


@pytest.mark.parametrize("chunk", [1, 130, 1 << 22])
@pytest.mark.parametrize("seed", range(5))
def test_equals_mmtracking_in_chunks_of_any_size(seed, chunk, monkeypatch):
    monkeypatch.setattr(retrieval, "_CHUNK", chunk)
    embeddings, labels = random_set(seed)
    scores = retrieval_scores(embeddings, labels)
    expected = mmtracking(embeddings.astype(np.float64), labels)
    assert (scores.mean_ap, scores.rank1) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_neither_order_nor_names_nor_rotation_nor_size_matter(seed):
    embeddings, labels = random_set(seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    moved = 3.0 * embeddings[order].astype(np.float64) @ rotation
    before, after = retrieval_scores(embeddings, labels), retrieval_scores(moved, -labels[order])
    assert after.flat() == pytest.approx(before.flat())


ERRORS = {
    "a NaN": (np.asarray([[0.0], [np.nan]]), [1, 1], r"embedding 1 \(label 1\) is not finite"),
    "another length": (np.zeros((3, 2)), [0, 0], r"labels have shape \(2,\), expected \(3,\)"),
    "one axis": (np.zeros(3), [0, 0, 0], r"embeddings have shape \(3,\), expected \(n, d\)"),
    "nobody twice": (np.zeros((2, 2)), [0, 1], "each of the 2 embeddings shows another"),
    "nobody": (np.zeros((0, 2)), np.zeros(0, np.int64), "each of the 0 embeddings"),
    "labels as fractions": (np.zeros((2, 2)), [0.0, 0.0], "labels are float64, expected integers"),
}


@pytest.mark.parametrize(("embeddings", "labels", "told"), ERRORS.values(), ids=ERRORS.keys())
def test_what_cannot_be_scored_is_told(embeddings, labels, told):
    with pytest.raises(ValueError, match=told):
        retrieval_scores(embeddings, np.asarray(labels))
