"""Clips are a function of (seed, epoch, index), and bad files are named or listed."""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from halftrack.data import DataError
from halftrack.data.check import check
from halftrack.data.images import network_size
from halftrack.data.vid import TestVideos, TrainingClips, VidDataConfig, read_test_index

GOLDEN = Path(__file__).parents[2] / "golden"
CONFIG = VidDataConfig(image_scale=(80, 60), scale_jitter=(0.7, 1.3))
SNIPPET = "VID/train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with tarfile.open(GOLDEN / "fake_data.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "fake_data"


def drawn(clips: TrainingClips, **how) -> list[tuple]:
    return [
        (frame.sample_id, frame.flipped, frame.size, int(frame.image.sum()))
        for clip in clips.batches(seed=3, epoch=1, **how)
        for frame in (clip.key, *clip.references)
    ]


def test_any_number_of_workers_gives_the_same_clips(fake: Path) -> None:
    clips = TrainingClips.open(CONFIG, fake)
    alone = drawn(clips)
    assert drawn(clips, workers=2) == alone
    assert drawn(clips, workers=1) == alone
    clips.close()


def test_an_epoch_continues_where_it_was_left(fake: Path) -> None:
    clips = TrainingClips.open(CONFIG, fake)
    whole = [clip.sample_ids for clip in clips.batches(seed=3, epoch=1)]
    rest = [clip.sample_ids for clip in clips.batches(seed=3, epoch=1, places=range(7, len(clips)))]
    assert rest == whole[7:]
    past_its_end = clips.batches(seed=3, epoch=1, places=range(len(clips), len(clips) + 2))
    assert [clip.sample_ids for clip in past_its_end] == whole[:2]


def test_shares_of_an_epoch_together_hold_every_sample(fake: Path) -> None:
    clips = TrainingClips.open(CONFIG, fake)
    shares = (range(first, len(clips), 3) for first in range(3))
    keys = [
        clip.key.sample_id
        for places in shares
        for clip in clips.batches(seed=0, epoch=0, places=places)
    ]
    assert len(set(keys)) == len(keys) == clips.num_samples == 34


@pytest.mark.parametrize("workers", [0, 2])
def test_a_truncated_image_is_named_or_skipped_and_listed(fake: Path, workers: int) -> None:
    image = fake / f"ILSVRC/Data/{SNIPPET}/000003.JPEG"
    image.write_bytes(image.read_bytes()[:-40])
    config = replace(CONFIG, training_sets=("vid",))
    with pytest.raises(DataError, match=r"000003.JPEG: image cannot be decoded: .*truncated"):
        drawn(TrainingClips.open(config, fake), workers=workers)
    clips = TrainingClips.open(replace(config, on_bad_sample="skip"), fake)
    assert len(list(clips.batches(seed=0, epoch=0, workers=workers))) == len(clips)
    assert [problem.file for problem in clips.skipped.times] == [str(image)]
    assert [p.file for p in check(fake, config, decode=True).problems] == [str(image)]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("</annotation>", "", "malformed XML"),
        ("<xmax>20<", "<xmax>2<", "inverted"),
        ("<xmin>11<", "<xmin>x<", "not a number"),
        ("<xmin>11</xmin>", "", "no <bndbox/xmin>"),
    ],
)
def test_a_bad_annotation_is_named_or_skipped(fake: Path, old: str, new: str, reason: str) -> None:
    config = replace(CONFIG, training_sets=("vid",))
    TrainingClips.open(config, fake)  # fills the cache, which must notice the edit
    xml = fake / f"ILSVRC/Annotations/{SNIPPET}/000000.xml"
    assert old in xml.read_text()
    xml.write_text(xml.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=reason) as raised:
        TrainingClips.open(config, fake)
    assert raised.value.file == str(xml)
    assert len(TrainingClips.open(replace(config, on_bad_sample="skip"), fake).skipped) == 1


def test_a_corrupt_cache_is_built_again(fake: Path, tmp_path: Path) -> None:
    before = drawn(TrainingClips.open(CONFIG, fake))
    for file in (tmp_path / "cache/halftrack").iterdir():
        file.write_bytes(b"PK nonsense")
    assert drawn(TrainingClips.open(CONFIG, fake)) == before


def test_a_wrong_root_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="looked for"):
        TrainingClips.open(CONFIG, tmp_path)


def test_boxes_follow_the_image(fake: Path) -> None:
    for clip in TrainingClips.open(CONFIG, fake).batches(seed=0, epoch=0):
        height, width = clip.key.size
        limit = torch.tensor([width, height, width, height], device="cpu")
        assert bool((clip.key.boxes_xyxy >= 0).all())
        assert bool((clip.key.boxes_xyxy <= limit).all())


def test_frames_resized_on_the_device_are_those_of_the_workers(fake: Path) -> None:
    there = TrainingClips.open(replace(CONFIG, resize_on="device"), fake)
    for ours, theirs in zip(
        there.batches(seed=0, epoch=0),
        TrainingClips.open(CONFIG, fake).batches(seed=0, epoch=0),
        strict=True,
    ):
        assert ours.size == theirs.size == ours.to("cpu").size
        for frame, expected in zip(
            (ours.key, *ours.references), (theirs.key, *theirs.references), strict=True
        ):
            assert frame.image.shape[1:] != frame.size
            with pytest.raises(ValueError, match=r"='device' needs frame\.to\(device\)"):
                frame.pixels  # noqa: B018
            moved = frame.to("cpu")
            assert torch.equal(moved.image, expected.image)
            assert torch.equal(moved.to("cpu").image, expected.image)
            assert torch.equal(moved.boxes_xyxy, expected.boxes_xyxy)
            assert (moved.resize_to, moved.flipped) == (None, expected.flipped)


def test_test_frames_resized_on_the_device_are_those_read(fake: Path) -> None:
    there = TestVideos.open(replace(CONFIG, resize_on="device"), fake)[0]
    here = TestVideos.open(CONFIG, fake)[0]
    read, expected = [*there.references, *there.frames()], [*here.references, *here.frames()]
    for frame, prepared in zip(read, expected, strict=True):
        assert torch.equal(frame.to("cpu").image, prepared.image)


@pytest.mark.parametrize(
    ("original", "expected"), [((48, 64), (600, 800)), ((360, 640), (563, 1000))]
)
def test_network_size_follows_the_rule_of_mmcv(original, expected) -> None:
    assert network_size(*original, (1000, 600)) == expected


def test_another_list_of_as_many_frames_is_no_longer_the_cached_index(fake: Path) -> None:
    listed = fake / "ILSVRC/ImageSets/VID/val.txt"
    lines = sorted((fake / "ILSVRC/Annotations/VID/val").rglob("*.xml"))
    names = [f"{path.parent.name}/{path.stem} {n}" for n, path in enumerate(lines, start=1)]
    listed.parent.mkdir(parents=True, exist_ok=True)
    read = []
    for chosen in (names[0:2], names[1:3]):
        listed.write_text("\n".join(chosen) + "\n")
        index = read_test_index(CONFIG, fake)
        read.append([index.sample_id(i) for i in range(index.num_frames)])
    assert read[0][1] == read[1][0]


def test_converted_json_needs_no_xml(fake: Path) -> None:
    shutil.rmtree(fake / "ILSVRC/Annotations")
    shutil.copytree(fake / "converted/ILSVRC/annotations", fake / "ILSVRC/annotations")
    config = replace(CONFIG, test_json="annotations/imagenet_vid_val.json")
    assert read_test_index(config, fake).num_frames > 0


@pytest.mark.parametrize(
    "change",
    [
        {"num_references": 3},
        {"frame_range": 0},
        {"test_references": 1},
        {"resize_on": "gpu"},
    ],
)
def test_sampling_that_cannot_be_is_refused_at_once(change: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(CONFIG, **change)
