"""Crops of people: batches of P x K, the same with any cache and any number of workers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from halftrack.data import DataError
from halftrack.data.mot import CropBatches, ReIDDataConfig, crops_in_order, read_crops


def opened(config: ReIDDataConfig, data_root: Path) -> CropBatches:
    return CropBatches.open(config, data_root, crop_size=(32, 16))


def drawn(batches: CropBatches, **how) -> list[tuple]:
    return [
        (batch.sample_ids, batch.labels.tolist(), float(batch.images.sum()))
        for batch in batches.batches(seed=3, epoch=1, **how)
    ]


def test_a_batch_has_so_many_crops_of_so_many_individuals(
    films: Path, config: ReIDDataConfig
) -> None:
    batches = opened(config, films)
    assert len(batches) == len(batches.crops)
    owners = Counter()
    for batch in batches.batches(seed=0, epoch=0):
        assert batch.images.shape == (6, 3, 32, 16)
        assert batch.images.dtype == torch.float32
        labels = batch.labels.tolist()
        assert len(set(labels)) == 3
        assert labels[::2] == labels[1::2]
        owners[labels[0]] += 1
        for label, sample_id in zip(labels, batch.sample_ids, strict=True):
            sequence, _, _, number = sample_id.split("/")
            assert batches.crops.names[label] == f"{sequence}/{number}"
    counts = Counter(batches.crops.labels.tolist())
    assert owners == counts


def test_neither_workers_nor_the_cache_change_a_crop(films: Path, config: ReIDDataConfig) -> None:
    batches = opened(config, films)
    alone = drawn(batches)
    assert drawn(batches) == alone
    assert drawn(batches, workers=2) == alone
    batches.close()
    assert drawn(opened(replace(config, cache_mb=0), films)) == alone
    small = opened(config, films)
    small._cutter._cache_bytes = 4000
    assert drawn(small) == alone
    assert 0 < small._cutter._held_bytes <= 4000
    assert small._cutter._held_bytes == sum(
        len(file.content) for file in small._cutter._held.values()
    )
    assert drawn(batches, places=range(4, len(batches))) == alone[4:]


def test_validation_crops_come_once(films: Path, config: ReIDDataConfig) -> None:
    crops = read_crops(config, films, validation=True)
    batches = list(crops_in_order(crops, size=(32, 16), batch_size=5))
    assert [len(batch.labels) for batch in batches[:-1]] == [5] * (len(batches) - 1)
    names = [name for batch in batches for name in batch.sample_ids]
    assert sorted(names) == sorted(crops.sample_id(crop) for crop in range(len(crops)))
    alone = list(crops_in_order(crops, size=(32, 16), batch_size=5, threads=0))
    assert all(torch.equal(a.images, b.images) for a, b in zip(batches, alone, strict=True))


def test_too_few_individuals_are_an_error_that_says_how_many(
    films: Path, config: ReIDDataConfig
) -> None:
    with pytest.raises(DataError, match=r"individuals have crops enough, identities_per_batch=99"):
        opened(replace(config, identities_per_batch=99), films)


def test_a_bad_frame_is_named_or_skipped_and_listed(films: Path, config: ReIDDataConfig) -> None:
    image = sorted((films / "MOT17/train").iterdir())[0] / "img1/000003.jpg"
    image.write_bytes(b"")
    with pytest.raises(DataError, match=r"000003.jpg: image is an empty file"):
        drawn(opened(config, films))
    batches = opened(replace(config, on_bad_sample="skip"), films)
    assert len(drawn(batches)) == len(batches)
    assert [problem.file for problem in batches.skipped.times] == [str(image)]
