"""Crops of people: batches of P x K, the same with any cache and any number of workers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from halftrack.data import CropBatches, DataError, ReIDDataConfig
from halftrack.data.mot.crops import CropRules, crops_of, find_identities
from halftrack.data.mot.mot_challenge import read_mot
from halftrack.synthetic import SyntheticVideo, write_synthetic

CONFIG = ReIDDataConfig(
    size=(32, 16), identities_per_batch=3, crops_per_identity=2, min_crops=2, cache_mb=1
)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    settings = SyntheticVideo(layout="mot", train_videos=2, val_videos=0, frames=10, size=(72, 120))
    write_synthetic(tmp_path / "films", settings)
    return tmp_path / "films"


def drawn(batches: CropBatches, **how) -> list[tuple]:
    return [
        (batch.sample_ids, batch.labels.tolist(), float(batch.images.sum()))
        for batch in batches.batches(seed=3, epoch=1, **how)
    ]


def test_a_batch_has_so_many_crops_of_so_many_individuals(films: Path) -> None:
    batches = CONFIG.training_batches(films)
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


def test_neither_workers_nor_the_cache_change_a_crop(films: Path) -> None:
    batches = CONFIG.training_batches(films)
    alone = drawn(batches)
    assert drawn(batches) == alone
    assert drawn(batches, workers=2) == alone
    batches.close()
    assert drawn(replace(CONFIG, cache_mb=0).training_batches(films)) == alone
    small = CONFIG.training_batches(films)
    small._cutter._cache_bytes = 4000
    assert drawn(small) == alone
    assert 0 < small._cutter._held_bytes <= 4000
    assert small._cutter._held_bytes == sum(f.numel() for f in small._cutter._held.values())
    assert drawn(batches, start=4) == alone[4:]


def test_half_train_holds_no_frame_of_half_val(films: Path) -> None:
    training, validation = CONFIG.training_crops(films), CONFIG.validation_crops(films)
    assert training.frame_numbers.max() == 6 < validation.frame_numbers.min() == 7
    assert CONFIG.num_identities(films) == training.num_identities > 3
    assert validation.labels.max() == validation.num_identities - 1
    leaky = replace(CONFIG, split="whole-train")
    parts = leaky.training_crops(films), leaky.validation_crops(films)
    assert not set(parts[0].names) & set(parts[1].names)
    assert parts[0].frame_numbers.max() == 10


def test_validation_crops_come_once(films: Path) -> None:
    crops = CONFIG.validation_crops(films)
    batches = list(CONFIG.test_crops(films, batch_size=5))
    assert [len(batch.labels) for batch in batches[:-1]] == [5] * (len(batches) - 1)
    names = [name for batch in batches for name in batch.sample_ids]
    assert sorted(names) == sorted(crops.sample_id(crop) for crop in range(len(crops)))
    alone = list(CONFIG.test_crops(films, batch_size=5, threads=0))
    assert all(torch.equal(a.images, b.images) for a, b in zip(batches, alone, strict=True))


def test_crops_are_cut_at_whole_pixels_inside_the_image(films: Path) -> None:
    file = sorted((films / "MOT17/train").iterdir())[0] / "gt/gt.txt"
    rows = ["1,4,-3.5,10.9,20.2,30.3,1,1,1", "2,4,100,60,30,30,1,1,0.3", "3,4,1,1,9,9,1,1,0.29"]
    file.write_text("\n".join(rows))
    (identity, *_) = find_identities(read_mot(films, "train"), min_visibility=0.3)
    assert identity.edges_xyxy.tolist() == [[0, 10, 16, 41], [100, 60, 119, 71]]


def test_individuals_with_too_many_crops_keep_some_drawn_once(films: Path) -> None:
    sequences = read_mot(films, "train")
    identities = find_identities(sequences, min_visibility=0.3)
    rules = CropRules(min_crops=2, max_crops=3)
    first, second = (crops_of(sequences, identities, rules) for _ in range(2))
    assert max(Counter(first.labels.tolist()).values()) == 3
    assert first.frame_numbers.tolist() == second.frame_numbers.tolist()


def test_too_few_individuals_are_an_error_that_says_how_many(films: Path) -> None:
    with pytest.raises(DataError, match=r"individuals have crops enough, identities_per_batch=99"):
        replace(CONFIG, identities_per_batch=99).training_batches(films)
    with pytest.raises(DataError, match=r"no individual with min_crops=11 .* for training"):
        replace(CONFIG, min_crops=11).training_crops(films)


def test_a_bad_frame_is_named_or_skipped_and_listed(films: Path) -> None:
    image = sorted((films / "MOT17/train").iterdir())[0] / "img1/000003.jpg"
    image.write_bytes(b"")
    with pytest.raises(DataError, match=r"000003.jpg: image is an empty file"):
        drawn(CONFIG.training_batches(films))
    batches = replace(CONFIG, on_bad_sample="skip").training_batches(films)
    assert len(drawn(batches)) == len(batches)
    assert [problem.file for problem in batches.skipped.times] == [str(image)]
