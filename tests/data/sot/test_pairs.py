"""Pairs: drawn from what they should be, the same with any number of workers."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_pairs import SMALL, film, opened

from halftrack.data import DataError
from halftrack.data.sot import PairBatches
from halftrack.data.sot.pairs import draw_pair
from halftrack.synthetic import SyntheticVideo, write_synthetic


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("pairs"))


def drawn(batches: PairBatches, **how) -> list[tuple]:
    return [
        (
            batch.sample_ids,
            batch.positive.tolist(),
            batch.boxes_xyxy.tolist(),
            float(batch.templates.double().sum()),
            float(batch.searches.double().sum()),
        )
        for batch in batches.batches(seed=3, epoch=1, **how)
    ]


def test_a_batch_holds_pairs_of_the_right_sizes(films: Path) -> None:
    batches = opened(SMALL, films)
    assert len(batches) == 3
    for batch in batches.batches(seed=0, epoch=0):
        assert batch.templates.shape == (4, 3, 31, 31)
        assert batch.searches.shape == (4, 3, 63, 63)
        assert batch.boxes_xyxy.shape == (4, 4)
        assert batch.templates.dtype == batch.searches.dtype == torch.float32
        assert batch.boxes_xyxy.dtype == torch.float32
        for positive, sample_id in zip(batch.positive.tolist(), batch.sample_ids, strict=True):
            template, search = (name.rpartition("/img/")[0] for name in sample_id.split(" + "))
            assert positive == (template == search)


@pytest.mark.parametrize("cache_mb", [0, 1, 64])
def test_workers_change_no_pair(cache_mb: int, films: Path) -> None:
    config = replace(SMALL, cache_mb=cache_mb)
    batches = opened(config, films)
    alone = drawn(batches)
    assert drawn(batches) == alone  # the second time from the cache
    assert drawn(batches, workers=2) == alone
    batches.close()
    assert drawn(batches, places=[1, 2]) == alone[1:]


def test_the_smallest_cache_drops_crops_and_changes_no_pair(films: Path) -> None:
    large = drawn(opened(replace(SMALL, cache_mb=64), films))
    small = opened(replace(SMALL, cache_mb=1), films)
    small._held._cache_bytes = 10_000
    assert drawn(small) == large
    assert 0 < small._held._held_bytes <= 10_000


def test_held_crops_differ_from_fresh_ones_by_jpeg_alone(films: Path) -> None:
    fresh = opened(SMALL, films)
    held = opened(replace(SMALL, cache_mb=64), films)
    for index in range(4):
        one, other = (each.sample(seed=0, epoch=0, index=index) for each in (fresh, held))
        assert one.sample_id == other.sample_id
        assert torch.equal(one.box_xyxy, other.box_xyxy)
        assert 0 < float((one.search - other.search).abs().mean()) < 4


def test_pairs_are_drawn_at_the_rates_asked_for(films: Path) -> None:
    config = replace(
        SMALL,
        training_sets=("lasot", "vid"),
        set_weights=(1.0, 3.0),
        frame_range=2,
        positive_share=0.75,
        grey_probability=0.5,
    )
    batches = opened(config, films)
    rng = random.Random(0)
    pairs = [draw_pair(batches.sets, batches.config, rng) for _ in range(4000)]
    assert np.mean([pair.source for pair in pairs]) == pytest.approx(0.75, abs=0.03)
    assert np.mean([pair.positive for pair in pairs]) == pytest.approx(0.75, abs=0.03)
    assert np.mean([pair.template_view.grey for pair in pairs]) == pytest.approx(0.5, abs=0.03)
    assert all(pair.template_view.grey == pair.search_view.grey for pair in pairs)
    for pair in pairs:
        starts = batches.sets[pair.source].starts
        first, second = np.searchsorted(starts, [pair.template, pair.search], side="right")
        assert (first == second) == pair.positive
    # As MMTracking's range, which ends before template + frame_range.
    steps = Counter(pair.search - pair.template for pair in pairs if pair.positive)
    assert set(steps) == {-2, -1, 0, 1}


def test_a_set_of_one_object_has_no_negative_pair(films: Path) -> None:
    config = replace(SMALL, lasot_split="test", positive_share=0.0)
    batches = opened(config, films)
    assert len(batches.sets[0]) == 1
    assert batches.sample(seed=0, epoch=0, index=0).positive


def test_a_missing_image_is_named_or_replaced(films: Path, tmp_path: Path) -> None:
    write_synthetic(
        tmp_path / "sot",
        SyntheticVideo(layout="sot", train_videos=2, val_videos=1, frames=8, size=(72, 120)),
    )
    batches = opened(replace(SMALL, pairs_per_epoch=40), tmp_path / "sot")
    gone = Path(batches.sets[0].path(0))
    gone.write_bytes(b"")
    with pytest.raises(DataError, match="image is an empty file"):
        drawn(batches)
    batches.on_bad_sample = "skip"
    assert len(drawn(batches)) == 10
    assert {problem.file for problem in batches.skipped.times} == {str(gone)}
