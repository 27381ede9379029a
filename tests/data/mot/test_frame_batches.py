"""Training frames are a function of (seed, epoch, index), and bad files are named or listed."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from halftrack.data import DataError
from halftrack.data.mot import FrameBatches, MotDetectionConfig
from halftrack.data.mot.frame_batches import draw_decisions, load_frame
from halftrack.synthetic import SyntheticVideo, write_synthetic

CONFIG = MotDetectionConfig(image_scale=(96, 64), crop_size=(56, 80), training_split="train")


@pytest.fixture
def films(tmp_path: Path) -> Path:
    settings = SyntheticVideo(layout="mot", train_videos=2, val_videos=1, frames=10, size=(72, 120))
    write_synthetic(tmp_path / "films", settings)
    return tmp_path / "films"


def drawn(batches: FrameBatches, **how) -> list[tuple]:
    return [
        (frame.sample_id, frame.flipped, frame.size, float(frame.image.sum()))
        for batch in batches.batches(seed=3, epoch=1, **how)
        for frame in batch.frames
    ]


def test_any_number_of_workers_gives_the_same_frames(films: Path) -> None:
    batches = FrameBatches.open(CONFIG, films)
    alone = drawn(batches)
    assert drawn(batches, workers=2) == alone
    batches.close()


def test_an_epoch_continues_where_it_was_left_and_wraps_around(films: Path) -> None:
    batches = FrameBatches.open(replace(CONFIG, images_per_batch=3), films)
    whole = drawn(batches)
    assert len(whole) == 3 * len(batches) == 21 > batches.num_samples == 20
    assert whole[20] == whole[0]
    assert drawn(batches, places=[5, 6]) == whole[15:]


def test_epochs_and_seeds_differ(films: Path) -> None:
    batches = FrameBatches.open(CONFIG, films)
    frames = [batches.sample(seed=s, epoch=e, index=0) for s, e in ((0, 0), (0, 1), (1, 0))]
    assert len({float(frame.image.sum()) for frame in frames}) == 3


def test_boxes_follow_the_pixels_through_scale_crop_and_flip(films: Path) -> None:
    batches = FrameBatches.open(replace(CONFIG, photometric=False), films)
    sequence, rows = batches.sequences[0], batches._rows[0]
    settings = replace(batches.config, ratio_range=(1.2, 1.2))
    plain = replace(settings, crop_size=(999, 999), flip_probability=0.0)
    whole = load_frame(
        sequence,
        1,
        rows=rows,
        decisions=draw_decisions(plain, sequence.size, random.Random(0)),
        crop_size=plain.crop_size,
    )
    assert whole.size == (69, 115)
    corners = set()
    for seed in range(8):
        decisions = draw_decisions(settings, sequence.size, random.Random(seed))
        frame = load_frame(sequence, 1, rows=rows, decisions=decisions, crop_size=(56, 80))
        top, left = decisions.crop_yx
        corners.add((top, left))
        part = whole.image[:, top : top + 56, left : left + 80]
        assert torch.equal(frame.image, part.flip(-1) if frame.flipped else part)
        boxes = whole.boxes_xyxy - torch.tensor([left, top] * 2, device="cpu")
        if frame.flipped:
            boxes[:, [0, 2]] = 80 - boxes[:, [2, 0]]
        torch.testing.assert_close(frame.boxes_xyxy, boxes)
    assert len(corners) > 4


def test_frames_without_people_are_not_trained_on(films: Path) -> None:
    file = sorted((films / "MOT17/train").iterdir())[0] / "gt/gt.txt"
    rows = [line for line in file.read_text().splitlines() if int(line.split(",")[0]) > 4]
    file.write_text("\n".join(rows))
    assert FrameBatches.open(CONFIG, films).num_samples == 16
    with pytest.raises(DataError, match=r"no frame with a pedestrian .* at least 73 px"):
        FrameBatches.open(replace(CONFIG, min_size=73), films)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_image_is_named_or_skipped_and_listed(films: Path, workers: int) -> None:
    image = sorted((films / "MOT17/train").iterdir())[0] / "img1/000003.jpg"
    image.write_bytes(image.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"000003.jpg: image cannot be decoded"):
        drawn(FrameBatches.open(CONFIG, films), workers=workers)
    batches = FrameBatches.open(replace(CONFIG, on_bad_sample="skip"), films)
    assert len(drawn(batches, workers=workers)) == 20
    assert [problem.file for problem in batches.skipped.times] == [str(image)]
    batches.close()


def test_an_image_of_another_size_than_announced_is_named(films: Path) -> None:
    file = sorted((films / "MOT17/train").iterdir())[0] / "seqinfo.ini"
    file.write_text(file.read_text().replace("imWidth=120", "imWidth=121"))
    with pytest.raises(DataError, match=r"image is 120x72, but 121x72 in seqinfo.ini"):
        drawn(FrameBatches.open(CONFIG, films))


def test_colours_may_be_left_alone() -> None:
    decisions = draw_decisions(replace(CONFIG, photometric=False), (72, 120), random.Random(0))
    assert decisions.distortion is None
