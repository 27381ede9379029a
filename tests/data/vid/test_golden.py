"""The pipeline's output against MMTracking's own, fed the decisions that it recorded."""

from __future__ import annotations

import json
import random
import tarfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from halftrack.data import VideoIndex
from halftrack.data.vid import (
    IMAGENET_VID_CLASSES,
    TestVideos,
    VidDataConfig,
    read_coco_vid,
    read_test_index,
    read_training_indexes,
)
from halftrack.data.vid.clips import load_clip
from halftrack.data.vid.config import ResizeOn
from halftrack.data.vid.frames import adaptive_stride, bilateral_uniform
from halftrack.evaluation import FrameDetections, score_detections

GOLDEN = Path(__file__).parents[2] / "golden"
PIPELINES = json.loads((GOLDEN / "pipelines_vid.json").read_text())
SAMPLING = json.loads((GOLDEN / "vid_sampling.json").read_text())
MEAN = torch.tensor((123.675, 116.28, 103.53), device="cpu").view(3, 1, 1)
STD = torch.tensor((58.395, 57.12, 57.375), device="cpu").view(3, 1, 1)
ONE_ROUNDING = 1 / 57.12  # one step of uint8, normalised
TRAINING = sorted(key[: -len("_img_shape")] for key in PIPELINES if key.endswith("_img_shape"))
TRAINING = [key for key in TRAINING if key.startswith("vid_train") and not key.endswith("_ref")]


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fake")
    with tarfile.open(GOLDEN / "fake_data.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "fake_data"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "pipelines_vid.npz") as stored:
        return dict(stored)


def as_stored(image: Tensor) -> np.ndarray:
    normalised = (image.float() - MEAN) / STD
    pad = (0, -image.shape[-1] % 16, 0, -image.shape[-2] % 16)
    return torch.nn.functional.pad(normalised, pad)[:, ::16, ::16].numpy()


def number_of(index: VideoIndex, file: str) -> int:
    return [name.decode() for name in index.frame_files].index(file)


def same_pixels(ours: np.ndarray, theirs: np.ndarray) -> None:
    difference = np.abs(ours - theirs)
    assert ours.shape == theirs.shape
    assert difference.max() <= 1.01 * ONE_ROUNDING
    assert (difference > 1e-5).mean() < 0.35


@pytest.mark.parametrize("resize_on", get_args(ResizeOn))
@pytest.mark.parametrize("name", TRAINING)
def test_training_clip_equals_the_reference(
    name: str, resize_on: ResizeOn, fake: Path, golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    if resize_on == "device":  # torchvision resizes as on a GPU: in float32, then rounded
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    det = "_det_" in name
    index = read_training_indexes(VidDataConfig(), fake)[int(det)]
    meta = PIPELINES[f"{name}_img_metas"]
    references = [number_of(index, m["ori_filename"]) for m in PIPELINES[f"{name}_ref_img_metas"]]
    clip = load_clip(
        index,
        key=number_of(index, meta["ori_filename"]),
        references=references,
        flipped=meta["flip"],
        image_scale=(1000, 600),
        resize_on=resize_on,
    ).to("cpu")
    same_pixels(as_stored(clip.key.image), golden[f"{name}_img"])
    np.testing.assert_allclose(clip.key.boxes_xyxy, golden[f"{name}_gt_bboxes"], atol=1e-4)
    np.testing.assert_array_equal(clip.key.labels, golden[f"{name}_gt_labels"])
    for number, frame in enumerate(clip.references):
        same_pixels(as_stored(frame.image), golden[f"{name}_ref_img"][number])
        rows = golden[f"{name}_ref_gt_bboxes"]
        expected = rows[rows[:, 0] == number, 1:]
        np.testing.assert_allclose(frame.boxes_xyxy, expected, atol=1e-4)
        labels = golden[f"{name}_ref_gt_labels"]
        np.testing.assert_array_equal(frame.labels, labels[labels[:, 0] == number, 1])


@pytest.mark.parametrize(("name", "video", "frame"), [("0", 0, 0), ("1", 0, 1), ("6", 1, 0)])
def test_test_frames_and_their_references_equal_the_reference(
    name: str, video: int, frame: int, fake: Path, golden
) -> None:
    opened = TestVideos.open(VidDataConfig(), fake)[video]
    same_pixels(as_stored(list(opened.frames())[frame].image), golden[f"vid_test_{name}_img"])
    if frame == 0:
        ours = np.stack([as_stored(reference.image) for reference in opened.references])
        same_pixels(ours, golden[f"vid_test_{name}_ref_img"])


def test_the_raw_tree_and_the_converted_json_give_the_same_index(fake: Path) -> None:
    converted = fake / "converted/ILSVRC/annotations"
    pairs = [
        (read_training_indexes(VidDataConfig(), fake)[0], "imagenet_vid_train.json"),
        (read_test_index(VidDataConfig(), fake), "imagenet_vid_val.json"),
    ]
    for raw, file in pairs:
        images = Path(raw.image_root)
        read = read_coco_vid(converted / file, image_root=images, classes=IMAGENET_VID_CLASSES)
        assert raw.video_names == read.video_names
        for field in ("video_starts", "frame_files", "frame_sizes", "is_key", "box_starts"):
            np.testing.assert_array_equal(getattr(raw, field), getattr(read, field), err_msg=field)
        for field in ("boxes_xyxy", "labels", "track_ids", "occluded", "generated", "ignored"):
            np.testing.assert_array_equal(getattr(raw, field), getattr(read, field), err_msg=field)


def test_the_key_frames_are_those_of_the_reference(fake: Path) -> None:
    videos, stills = read_training_indexes(VidDataConfig(), fake)
    keys = videos.training_keys(min_size=32)
    assert [key + 1 for key in keys] == SAMPLING["vid_train_key_ids"]
    positions = [key - videos.span(videos.video_of(int(key)))[0] for key in keys]
    assert positions == SAMPLING["vid_train_frame_ids"]
    assert [key + 1 for key in stills.training_keys(min_size=32)] == SAMPLING["det_train_ids"]


def test_bilateral_references_are_those_of_the_reference(fake: Path) -> None:
    index = read_training_indexes(VidDataConfig(), fake)[0]
    drawn, rng = [], random.Random(0)
    for key in index.training_keys(min_size=32):
        start, stop = index.span(index.video_of(int(key)))
        references = bilateral_uniform(
            int(key) - start,
            stop - start,
            num_references=2,
            frame_range=9,
            rng=rng,
        )
        drawn.append([int(key) - start, *references])
    assert drawn == SAMPLING["bilateral_refs_pyrandom_seed0"]


def test_adaptive_references_are_those_of_the_reference() -> None:
    for frames, expected in SAMPLING["adaptive_formula"].items():
        assert list(adaptive_stride(int(frames), num_references=14)) == expected


def test_the_truth_of_a_frame_is_what_is_scored(fake: Path) -> None:
    videos = TestVideos.open(VidDataConfig(), fake)
    frames = [(video, number) for video in videos for number in range(len(video))]
    truths = [video.truth(number) for video, number in frames]
    assert [truth.video for truth in truths] == [video.name for video, _ in frames]
    joined = {
        name: np.concatenate([getattr(truth, name) for truth in truths])
        for name in ("boxes_xyxy", "labels", "track_ids", "ignored")
    }
    assert len(joined["labels"]) == len(videos.index.labels) > 0
    for name, values in joined.items():
        np.testing.assert_array_equal(values, getattr(videos.index, name), err_msg=name)
    as_found = [
        FrameDetections(
            boxes_xyxy=truth.boxes_xyxy, scores=np.ones(len(truth.labels)), labels=truth.labels
        )
        for truth in truths
    ]
    names = VidDataConfig().class_names
    assert score_detections(truths, as_found, class_names=names).voc_ap50 == 1.0
