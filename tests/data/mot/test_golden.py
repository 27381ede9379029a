"""MOTChallenge data against MMTracking's converters and pipelines, fed the choices mmdet drew."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from halftrack.data import load_image
from halftrack.data.images import network_size
from halftrack.data.mot import (
    FrameBatches,
    MotDetectionConfig,
    MotSequence,
    MotSequences,
    ReIDDataConfig,
    learned_rows,
    read_crops,
    read_mot,
)
from halftrack.data.mot.crops.batches import crops_in_order, prepare_crop
from halftrack.data.mot.crops.cut import (
    crops_of,
    find_identities,
)
from halftrack.data.mot.frame_batches import FrameDecisions, load_frame
from halftrack.data.mot.photometric import Distortion

GOLDEN = Path(__file__).parents[2] / "golden"
PIPELINES = json.loads((GOLDEN / "pipelines_mot.json").read_text())
MEAN = torch.tensor((123.675, 116.28, 103.53), device="cpu").view(3, 1, 1)
STD = torch.tensor((58.395, 57.12, 57.375), device="cpu").view(3, 1, 1)
ONE_ROUNDING = 1 / 57.12  # one step of uint8, normalised
FLOAT_ORDER = 1e-4
DET_ITEMS = [(0, 0), (1, 1), (5, 2), (8, 3)]
REID_ITEMS = [(0, 0), (5, 5)]


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fake")
    with tarfile.open(GOLDEN / "fake_data.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "fake_data"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "pipelines_mot.npz") as stored:
        return dict(stored)


def normalised(image: Tensor) -> Tensor:
    return (image.float() - MEAN) / STD


def as_stored(image: Tensor) -> np.ndarray:
    pad = (0, -image.shape[-1] % 32, 0, -image.shape[-2] % 32)
    return torch.nn.functional.pad(normalised(image), pad)[:, ::16, ::16].numpy()


def mmdet_decisions(seed: int, size: tuple[int, int]) -> FrameDecisions:
    """What mmdet draws, in its order: Resize, PhotoMetricDistortion, RandomCrop, RandomFlip."""
    rng = np.random.RandomState(seed)

    def perhaps(low: float, high: float) -> float | None:
        return rng.uniform(low, high) if rng.randint(2) else None

    ratio = rng.random_sample() * (1.2 - 0.8) + 0.8
    scale = int(1088 * ratio)
    brightness = perhaps(-32, 32)
    contrast_first = bool(rng.randint(2))
    contrast = perhaps(0.5, 1.5) if contrast_first else None
    saturation = perhaps(0.5, 1.5)
    hue = perhaps(-18, 18)
    contrast = contrast if contrast_first else perhaps(0.5, 1.5)
    bgr = rng.permutation(3) if rng.randint(2) else None
    # mmdet's channels count from blue.
    channels = None if bgr is None else tuple(int(2 - bgr[2 - place]) for place in range(3))
    resized = network_size(*size, (scale, scale))
    top, left = (rng.randint(0, max(0, side - 1088) + 1) for side in resized)
    return FrameDecisions(
        image_scale=(scale, scale),
        distortion=Distortion(
            brightness=brightness,
            contrast=contrast,
            contrast_first=contrast_first,
            saturation=saturation,
            hue=hue,
            channels=channels,
        ),
        crop_yx=(int(top), int(left)),
        flipped=rng.choice(["horizontal", None], p=[0.5, 0.5]) is not None,
    )


@pytest.mark.parametrize(("index", "seed"), DET_ITEMS)
def test_training_frame_equals_the_reference(index: int, seed: int, fake: Path, golden) -> None:
    batches = FrameBatches.open(MotDetectionConfig(), fake)
    name = f"det_train_{index}_seed{seed}"
    meta = PIPELINES[f"{name}_img_metas"]
    sequence = batches.sequences[batches._sequence[index]]
    frame_number = int(batches._frame_number[index])
    decisions = mmdet_decisions(seed, sequence.size)
    frame = load_frame(
        sequence,
        frame_number,
        rows=learned_rows(sequence)[0],
        decisions=decisions,
        crop_size=(1088, 1088),
    )
    assert f"{frame.sample_id}.jpg" == meta["ori_filename"]
    assert [*frame.size, 3] == meta["img_shape"]
    assert frame.flipped == meta["flip"]
    np.testing.assert_allclose(frame.scale_xy * 2, meta["scale_factor"], rtol=1e-6)
    np.testing.assert_allclose(frame.boxes_xyxy, golden[f"{name}_gt_bboxes"], atol=1e-4)
    np.testing.assert_array_equal(frame.labels, golden[f"{name}_gt_labels"])
    np.testing.assert_allclose(as_stored(frame.image), golden[f"{name}_img"], atol=FLOAT_ORDER)


def test_the_epoch_has_the_frames_of_the_reference(fake: Path) -> None:
    batches = FrameBatches.open(MotDetectionConfig(), fake)
    assert batches.num_samples == PIPELINES["det_train_len"]
    assert batches.left_out.ignored_classes == 42
    assert batches.left_out.flagged == batches.left_out.outside == 0


@pytest.mark.parametrize("number", [0, 3])
def test_test_frame_equals_the_reference(number: int, fake: Path, golden) -> None:
    frame = list(MotSequences.open(MotDetectionConfig(), fake)[0].frames())[number]
    meta = PIPELINES[f"mot_test_{number}_img_metas"]
    assert f"{frame.sample_id}.jpg" == meta["ori_filename"]
    assert frame.frame_index == meta["frame_id"]
    difference = np.abs(as_stored(frame.image) - golden[f"mot_test_{number}_img"])
    # The reference resizes in uint8 as we do; OpenCV's fixed point may round the other way.
    assert difference.max() <= 1.01 * ONE_ROUNDING


@pytest.mark.parametrize("split", ["half-train", "half-val", "train", "test"])
def test_the_raw_tree_holds_what_the_converter_writes(split: str, fake: Path) -> None:
    converted = fake / f"converted/MOT17/annotations/{split}_cocoformat.json"
    stored = json.loads(converted.read_text())
    sequences = read_mot(fake, split)
    assert [each.name for each in sequences] == [video["name"] for video in stored["videos"]]
    images = {image["id"]: image for image in stored["images"]}
    names = [f"{s.sample_id(number)}.jpg" for s in sequences for number in s.frame_numbers]
    assert names == [image["file_name"] for image in images.values()]
    ours = [row for sequence in sequences if sequence.truth for row in told(sequence)]
    theirs = [
        (
            images[each["image_id"]]["file_name"],
            each["mot_instance_id"],
            *each["bbox"],
            each["visibility"],
        )
        for each in stored.get("annotations", [])
    ]
    assert ours == theirs


def told(sequence: MotSequence) -> list[tuple]:
    rows, _ = learned_rows(sequence)
    found = []
    for number in sequence.frame_numbers:
        own = rows.in_frame(number)
        for row in range(len(own)):
            file = f"{sequence.sample_id(number)}.jpg"
            box = own.boxes_ltwh[row].tolist()
            found.append((file, int(own.ids[row]), *box, float(own.visibility[row])))
    return found


def test_crops_are_those_of_mot2reid_to_the_last_bit(fake: Path) -> None:
    sequences = read_mot(fake, "train", detectors="FRCNN")
    identities = find_identities(sequences, min_visibility=0.3)
    crops = crops_of(sequences, identities, min_crops=4, max_crops=1000)
    listed = (fake / "converted/MOT17/reid/meta/train.txt").read_text().split()
    assert crops.labels.tolist() == [int(label) for label in listed[1::2]]
    for batch in crops_in_order(crops, size=(50, 40)):
        for image, label, sample_id in zip(*vars(batch).values(), strict=True):
            (crop,) = [each for each in range(len(crops)) if crops.sample_id(each) == sample_id]
            assert crops.labels[crop] == label
            stored = load_image(fake / "converted/MOT17/reid/imgs" / listed[2 * crop])
            assert torch.equal(image, prepare_crop(stored, size=(50, 40), flipped=False))
            x1, y1, x2, y2 = crops.edges_xyxy[crop]
            assert stored.shape[1:] == (y2 - y1 + 1, x2 - x1 + 1)


def test_the_published_split_is_that_of_mot2reid(fake: Path) -> None:
    config = ReIDDataConfig(split="whole-train", validation_share=0.4, min_crops=4)
    meta = fake / "converted/MOT17/reid/meta"
    for ours, file in (
        (read_crops(config, fake), "train_60.txt"),
        (read_crops(config, fake, validation=True), "val_40.txt"),
    ):
        listed = (meta / file).read_text().split()
        assert ours.labels.tolist() == [int(label) for label in listed[1::2]]
        folders = list(dict.fromkeys(name.partition("/")[0] for name in listed[::2]))
        assert [f"{n.split('/')[0]}_{int(n.split('/')[1]):06d}" for n in ours.names] == folders


@pytest.mark.parametrize(("index", "seed"), REID_ITEMS)
def test_reid_batch_equals_the_reference(index: int, seed: int, fake: Path, golden) -> None:
    listed = (fake / "converted/MOT17/reid/meta/train.txt").read_text().split()
    files, labels = listed[::2], np.array(listed[1::2], dtype=np.int64)
    rng = np.random.RandomState(seed)
    own = labels[index]
    drawn = rng.choice(np.flatnonzero(labels == own), 4).tolist()
    for label in rng.choice([i for i in range(6) if i != own], 1, replace=False):
        drawn += rng.choice(np.flatnonzero(labels == label), 4).tolist()
    name = f"reid_train_{index}_seed{seed}"
    np.testing.assert_array_equal(labels[drawn], golden[f"{name}_gt_label"])
    for place, crop in enumerate(drawn):
        flipped = rng.choice(["horizontal", None], p=[0.5, 0.5]) is not None
        image = load_image(fake / "converted/MOT17/reid/imgs" / files[crop])
        ours = normalised(prepare_crop(image, size=(256, 128), flipped=flipped))[:, ::16, ::16]
        np.testing.assert_allclose(ours, golden[f"{name}_img"][place], atol=FLOAT_ORDER)
