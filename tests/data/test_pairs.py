"""Pairs: drawn from what they should be, the same with any number of workers."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from halftrack.data import (
    SAMPLE_CLASSES,
    DataError,
    PairBatches,
    PairDataConfig,
    SampleSettings,
    write_sample,
)
from halftrack.data.pairs import draw_pair, read_lasot_objects

SMALL = PairDataConfig(
    training_sets=("lasot",),
    set_weights=(1.0,),
    vid_classes=SAMPLE_CLASSES,
    template_size=31,
    search_size=63,
    crop_size=127,
    shift=(1, 16),
    pairs_per_batch=4,
    pairs_per_epoch=12,
)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pairs")
    for layout in ("sot", "vid"):
        write_sample(
            root,
            SampleSettings(layout=layout, train_videos=3, val_videos=1, frames=12, size=(72, 120)),
        )
    return root


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


def test_a_batch_holds_pairs_of_the_right_sizes(sample: Path) -> None:
    batches = SMALL.training_batches(sample)
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
def test_workers_change_no_pair(cache_mb: int, sample: Path) -> None:
    config = replace(SMALL, cache_mb=cache_mb)
    batches = config.training_batches(sample)
    alone = drawn(batches)
    assert drawn(batches) == alone  # the second time from the cache
    assert drawn(batches, workers=2) == alone
    batches.close()
    assert drawn(batches, start=1) == alone[1:]
    # Two ranks share the batches of one.
    ranks = [drawn(config.training_batches(sample, rank=r, world_size=2)) for r in (0, 1)]
    assert [ranks[0][0], ranks[1][0], ranks[0][1]] == alone


def test_the_smallest_cache_drops_crops_and_changes_no_pair(sample: Path) -> None:
    large = drawn(replace(SMALL, cache_mb=64).training_batches(sample))
    small = replace(SMALL, cache_mb=1).training_batches(sample)
    small._held._cache_bytes = 10_000
    assert drawn(small) == large
    assert 0 < small._held._held_bytes <= 10_000


def test_held_crops_differ_from_fresh_ones_by_jpeg_alone(sample: Path) -> None:
    fresh = SMALL.training_batches(sample)
    held = replace(SMALL, cache_mb=64).training_batches(sample)
    for index in range(4):
        one, other = (each.sample(seed=0, epoch=0, index=index) for each in (fresh, held))
        assert one.sample_id == other.sample_id
        assert torch.equal(one.box_xyxy, other.box_xyxy)
        assert 0 < float((one.search - other.search).abs().mean()) < 4


def test_pairs_are_drawn_at_the_rates_asked_for(sample: Path) -> None:
    config = replace(
        SMALL,
        training_sets=("lasot", "vid"),
        set_weights=(1.0, 3.0),
        frame_range=2,
        positive_share=0.75,
        grey_probability=0.5,
    )
    batches = config.training_batches(sample)
    rng = random.Random(0)
    pairs = [draw_pair(batches.sets, batches.settings, rng) for _ in range(4000)]
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


def test_a_set_of_one_object_has_no_negative_pair(sample: Path) -> None:
    config = replace(SMALL, lasot_split="test", positive_share=0.0)
    batches = config.training_batches(sample)
    assert len(batches.sets[0]) == 1
    assert batches.sample(seed=0, epoch=0, index=0).positive


def test_no_pair_shows_a_frame_without_the_object(sample: Path) -> None:
    objects = read_lasot_objects(sample, "all")
    assert len(objects) == 4
    shown = {objects.path(box) for box in range(len(objects.frames))}
    absent = 0
    for truth in (sample / "LaSOTBenchmark").glob("*/*/groundtruth.txt"):
        for number, line in enumerate(truth.read_text().split(), start=1):
            visible = line != "0,0,0,0"
            absent += not visible
            assert (f"{truth.parent}/img/{number:08d}.jpg" in shown) == visible
    assert absent > 0


def test_a_frame_flagged_absent_is_left_out_though_it_has_a_box(tmp_path: Path) -> None:
    write_sample(
        tmp_path / "sot",
        SampleSettings(layout="sot", train_videos=1, val_videos=1, frames=8, size=(72, 120)),
    )
    before = read_lasot_objects(tmp_path / "sot")
    folder = Path(before.path(0)).parents[1]
    hidden = folder / "full_occlusion.txt"
    flags = hidden.read_text().strip().split(",")
    first = int(Path(before.path(0)).stem) - 1
    hidden.write_text(",".join([*flags[:first], "1", *flags[first + 1 :]]))
    after = read_lasot_objects(tmp_path / "sot")
    assert [after.path(box) for box in range(len(after.frames))] == [
        before.path(box) for box in range(1, len(before.frames))
    ]


def test_sequences_left_out_are_in_no_pair(sample: Path) -> None:
    config = replace(SMALL, training_sets=("lasot", "vid"), set_weights=(1, 1))
    lasot, vid = config.training_objects(sample)
    assert len(lasot) == 3
    names = (lasot.video_names[0], "sample_train_0001")
    fewer, vid_fewer = replace(config, sequences_left_out=names).training_objects(sample)
    assert len(fewer) == 2
    assert not any(f"/{names[0]}/" in fewer.path(box) for box in range(len(fewer.frames)))
    boxes = range(len(vid_fewer.frames))
    assert len(vid_fewer) < len(vid)
    assert not any(f"/{names[1]}/" in vid_fewer.path(box) for box in boxes)
    # What is kept keeps its boxes.
    kept = [box for box in range(len(vid.frames)) if f"/{names[1]}/" not in vid.path(box)]
    assert [vid_fewer.path(box) for box in boxes] == [vid.path(box) for box in kept]
    np.testing.assert_array_equal(vid_fewer.boxes_xyxy, vid.boxes_xyxy[kept])
    with pytest.raises(DataError, match="sequences_left_out has 'car-99'"):
        replace(config, sequences_left_out=("car-99",)).training_objects(sample)
    with pytest.raises(DataError, match=r"no object to learn from \(lasot\)"):
        replace(SMALL, sequences_left_out=lasot.video_names).training_batches(sample)


def test_tracks_of_a_video_are_objects(sample: Path) -> None:
    (vid,) = replace(SMALL, training_sets=("vid",)).training_objects(sample)
    for number in range(len(vid)):
        frames = vid.frames[vid.starts[number] : vid.starts[number + 1]]
        assert (np.diff(frames) > 0).all()
        name = vid.video_names[vid.video[number]]
        assert all(vid.files[frame].decode().startswith(f"{name}/") for frame in frames)


def test_coco_as_downloaded(tmp_path: Path) -> None:
    images = tmp_path / "coco/train2017"
    images.mkdir(parents=True)
    Image.new("L", (40, 30), 90).save(images / "1.jpg")
    boxes = [[2, 3, 10, 8], [20, 4, 12, 20], [0, 0, 40, 30], [5, 5, 0.2, 9]]
    rows = [
        {"id": i, "image_id": 7, "category_id": 1 + i % 2, "bbox": box, "iscrowd": int(i == 2)}
        for i, box in enumerate(boxes)
    ]
    content = {
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "kite"}],
        "images": [{"id": 7, "file_name": "1.jpg", "height": 30, "width": 40}],
        "annotations": rows,
    }
    file = tmp_path / "coco/annotations/instances_train2017.json"
    config = replace(SMALL, training_sets=("coco",))
    with pytest.raises(DataError, match=r"no COCO here: looked for .*instances_train2017"):
        config.training_batches(tmp_path)
    file.parent.mkdir()
    file.write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        config.training_batches(tmp_path)
    file.write_text(json.dumps(content))
    for root in (tmp_path, tmp_path / "coco"):
        (coco,) = config.training_objects(root)
        # The crowd and the box thinner than a pixel are left out.
        assert coco.boxes_xyxy.tolist() == [[2, 3, 12, 11], [20, 4, 32, 24]]
        assert len(coco) == 2
    (batch, *_) = config.training_batches(tmp_path).batches(seed=0, epoch=0)
    assert batch.sample_ids[0] == "coco/1 + coco/1"


def test_a_missing_image_is_named_or_replaced(sample: Path, tmp_path: Path) -> None:
    write_sample(
        tmp_path / "sot",
        SampleSettings(layout="sot", train_videos=2, val_videos=1, frames=8, size=(72, 120)),
    )
    batches = replace(SMALL, pairs_per_epoch=40).training_batches(tmp_path / "sot")
    gone = Path(batches.sets[0].path(0))
    gone.write_bytes(b"")
    with pytest.raises(DataError, match="image is an empty file"):
        drawn(batches)
    batches.on_bad_sample = "skip"
    assert len(drawn(batches)) == 10
    assert {problem.file for problem in batches.skipped.times} == {str(gone)}
