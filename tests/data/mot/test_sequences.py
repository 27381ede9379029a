"""Test sequences give every frame of the split in order, with truth and public detections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halftrack.data import DataError
from halftrack.data.mot import MotDetectionConfig, MotSequences
from halftrack.synthetic import SyntheticVideo, write_synthetic

CONFIG = MotDetectionConfig(image_scale=(60, 60))


@pytest.fixture
def films(tmp_path: Path) -> Path:
    settings = SyntheticVideo(layout="mot", train_videos=3, val_videos=1, frames=10, size=(72, 120))
    write_synthetic(tmp_path / "films", settings)
    return tmp_path / "films"


@pytest.mark.parametrize("threads", [0, 3])
def test_frames_come_in_order_with_public_boxes(films: Path, threads: int) -> None:
    config = replace(CONFIG, public=True)
    sequence = MotSequences.open(config, films, threads=threads)[0]
    assert (len(sequence), sequence.frame_numbers) == (4, range(7, 11))
    assert (sequence.size, sequence.frame_rate) == ((72, 120), 30)
    frames = list(sequence.frames())
    assert [frame.frame_index for frame in frames] == [0, 1, 2, 3]
    assert frames[1].sample_id == f"{sequence.name}/img1/000008"
    assert {frame.size for frame in frames} == {(36, 60)}
    lines = (films / f"MOT17/train/{sequence.name}/det/det.txt").read_text().splitlines()
    rows = np.array([line.split(",")[:6] for line in lines], dtype=np.float64)
    for number, frame in zip(sequence.frame_numbers, frames, strict=True):
        left, top, width, height = rows[rows[:, 0] == number, 2:].T
        corners = np.stack([left, top, left + width, top + height], axis=1) / 2
        np.testing.assert_allclose(frame.public_xyxy, corners.clip(0, [60, 36] * 2), atol=1e-4)
        assert len(frame.boxes_xyxy) == len(frame.labels) == 0


def test_an_image_of_another_size_than_announced_is_named(films: Path) -> None:
    sequence = MotSequences.open(CONFIG, films)[0]
    path = sequence.path(sequence.frame_numbers[1])
    Image.new("RGB", (60, 36)).save(path)
    with pytest.raises(DataError, match=r"image is 60x36, but 120x72 in seqinfo\.ini"):
        list(MotSequences.open(CONFIG, films)[0].frames())


def test_public_boxes_are_asked_for(films: Path) -> None:
    sequence = MotSequences.open(CONFIG, films)[0]
    assert all(frame.public_xyxy is None for frame in sequence.frames())
    (films / f"MOT17/train/{sequence.name}/det/det.txt").unlink()
    assert len(MotSequences.open(CONFIG, films)) == 3
    with pytest.raises(DataError, match=r"det/det.txt: public=True asks for public detections"):
        MotSequences.open(replace(CONFIG, public=True), films)


def test_truth_is_that_of_the_split_where_there_is_any(films: Path) -> None:
    for split, frames in (("half-val", set(range(7, 11))), ("test", set(range(1, 11)))):
        sequence = MotSequences.open(replace(CONFIG, test_split=split), films)[0]
        assert set(sequence.truth.frame_numbers.tolist()) == frames == set(sequence.frame_numbers)
    (films / f"MOT17/test/{sequence.name}/gt/gt.txt").unlink()
    assert MotSequences.open(replace(CONFIG, test_split="test"), films)[0].truth is None


def test_the_sequences_have_their_names_and_frames(films: Path) -> None:
    sequences = MotSequences.open(CONFIG, films)
    assert tuple(each.name for each in sequences) == sequences.names
    assert [len(each) for each in sequences] == [4, 4, 4]
    assert sequences.num_frames == 12


def test_a_bad_frame_is_named_or_missing_and_listed(films: Path) -> None:
    sequence = MotSequences.open(CONFIG, films)[0]
    Path(sequence.path(8)).write_bytes(b"")
    with pytest.raises(DataError, match=r"000008.jpg: image is an empty file"):
        list(sequence.frames())
    opened = MotSequences.open(replace(CONFIG, on_bad_sample="skip"), films)
    assert [frame.frame_index for frame in opened[0].frames()] == [0, 2, 3]
    assert [problem.file for problem in opened.skipped.times] == [sequence.path(8)]
