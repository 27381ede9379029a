"""SiamRPN++'s training transforms and data sets against MMTracking's, fed the choices it drew."""

from __future__ import annotations

import json
import tarfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from halftrack.data.sot import PairDataConfig, TrackedObjects, read_pair_sets
from halftrack.data.sot.augment import (
    Blur,
    View,
    blur,
    cut_view,
    recolour,
    shift_scale,
)
from halftrack.data.sot.config import BLUR_SIZES
from halftrack.data.sot.crops import box_in_crop, crop_like_siamfc
from halftrack.layers import SiameseGeometry

GOLDEN = Path(__file__).parents[2] / "golden"
SHAPES = json.loads((GOLDEN / "pipelines_sot.json").read_text())
SIZES = (127, 255)
CROP = SiameseGeometry(), 511
FLOAT_ORDER = 5e-5  # of 255; the crop and all boxes have not even that


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "pipelines_sot.npz") as stored:
        return {name.removeprefix("sot_"): stored[name] for name in stored.files}


def frame(golden: dict[str, np.ndarray], number: int) -> Tensor:
    bgr = golden["frames_bgr"][number]
    return torch.from_numpy(np.ascontiguousarray(bgr[..., ::-1].transpose(2, 0, 1)))


def as_stored(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()[::8, ::8, ::-1]


def mmtrack_views(*, blur_probability: tuple[float, float] = (0.0, 0.2)) -> list[View]:
    """What the transforms draw for template and search, each from a generator seeded with 0."""
    places, colours, blurs = (np.random.RandomState(0) for _ in range(3))
    views = []
    for scale, shift, chance in zip((0.05, 0.18), (4, 64), blur_probability, strict=True):
        drawn = [2 * places.random_sample() - 1 for _ in range(4)]
        assert colours.random_sample() < 1.0
        colour = colours.randn(3, 1)[:, 0]
        cross = None
        if chance > blurs.random_sample():
            size = int(blurs.choice(np.array(BLUR_SIZES)))
            cross = Blur(size=size, vertical=blurs.random_sample())
        views.append(
            View(
                scale_xy=(drawn[0] * scale + 1, drawn[1] * scale + 1),
                shift_xy=(drawn[2] * shift, drawn[3] * shift),
                colour=(colour[0], colour[1], colour[2]),
                blur=cross,
            )
        )
    return views


@pytest.mark.parametrize("number", [0, 1])
def test_each_transform_equals_the_reference(number: int, golden: dict[str, np.ndarray]) -> None:
    def stored(transform: str) -> tuple[np.ndarray, np.ndarray]:
        name = f"{transform}_img{number}"
        return golden[f"{name}_slice"], golden[f"{transform}_bbox{number}"][0]

    box, view = golden["boxes"][number], mmtrack_views()[number]
    pixels, box = (
        crop_like_siamfc(frame(golden, number), box, *CROP),
        box_in_crop(box, *CROP),
    )
    assert [*pixels.shape[1:], 3] == SHAPES[f"sot_SeqCropLikeSiamFC_img{number}_shape"]
    np.testing.assert_array_equal(as_stored(pixels), stored("SeqCropLikeSiamFC")[0])
    np.testing.assert_array_equal(box, stored("SeqCropLikeSiamFC")[1])

    pixels, box = shift_scale(pixels, box, view=view, size=SIZES[number])
    assert [*pixels.shape[1:], 3] == SHAPES[f"sot_SeqShiftScaleAug_img{number}_shape"]
    expected, expected_box = stored("SeqShiftScaleAug")
    np.testing.assert_allclose(as_stored(pixels), expected, rtol=0, atol=FLOAT_ORDER)
    np.testing.assert_array_equal(box, expected_box)

    pixels = recolour(pixels, view)
    expected, expected_box = stored("SeqBlurAug")
    np.testing.assert_allclose(as_stored(pixels), expected, rtol=0, atol=FLOAT_ORDER)
    np.testing.assert_array_equal(box, expected_box)
    # The generator seeded with 0 draws no blur, so this is what moved colours give.
    np.testing.assert_array_equal(expected, stored("SeqColorAug")[0])


@pytest.mark.parametrize("number", [0, 1])
def test_cutting_only_what_is_seen_changes_no_bit(
    number: int, golden: dict[str, np.ndarray]
) -> None:
    view = mmtrack_views()[number]
    image, box = frame(golden, number), golden["boxes"][number]
    whole, box_in_whole = shift_scale(
        crop_like_siamfc(image, box, *CROP),
        box_in_crop(box, *CROP),
        view=view,
        size=SIZES[number],
    )
    part, box_in_part = cut_view(
        image, box, geometry=CROP[0], crop_size=CROP[1], view=view, size=SIZES[number]
    )
    assert torch.equal(part, recolour(whole, view))
    np.testing.assert_array_equal(box_in_part, box_in_whole)


def test_the_blur_equals_the_reference(golden: dict[str, np.ndarray]) -> None:
    for number, view in enumerate(mmtrack_views(blur_probability=(1.0, 1.0))):
        assert view.blur is not None
        blurred = blur(frame(golden, number).float(), view.blur)
        expected = golden[f"blur_forced_img{number}_slice"]
        np.testing.assert_allclose(as_stored(blurred), expected, rtol=0, atol=FLOAT_ORDER)


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fake")
    with tarfile.open(GOLDEN / "fake_data.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "fake_data"


def listed(objects: TrackedObjects) -> list[list[tuple[object, ...]]]:
    found = []
    for first, stop in zip(objects.starts[:-1], objects.starts[1:], strict=True):
        boxes = range(int(first), int(stop))
        found.append(
            [(objects.path(b).partition("/Data/")[2], *objects.boxes_xyxy[b]) for b in boxes]
        )
    return sorted(found)


def converted(file: Path, folder: str) -> list[list[tuple[object, ...]]]:
    content = json.loads(file.read_text())
    names = {image["id"]: f"{folder}/{image['file_name']}" for image in content["images"]}
    objects = defaultdict(list)
    for row in content["annotations"]:
        x, y, width, height = row["bbox"]
        box = (names[row["image_id"]], x, y, x + width, y + height)
        objects[row.get("instance_id", -row["id"])].append(box)
    return sorted(objects.values())


def test_the_raw_trees_hold_the_objects_that_the_converters_write(fake: Path) -> None:
    config = PairDataConfig(training_sets=("vid", "det"), set_weights=(1, 1))
    vid, det = read_pair_sets(config, fake)
    stored = fake / "converted/ILSVRC/annotations"
    assert listed(vid) == converted(stored / "imagenet_vid_train.json", "VID")
    # 30 classes, the 31st for the other 170, and images no training list names.
    assert listed(det) == converted(stored / "imagenet_det_30plus1cls.json", "DET")
    assert len(det) == 42
    files = ("imagenet_vid_train.json", "imagenet_det_30plus1cls.json")
    names = tuple(str(stored / file) for file in files)
    for raw, read in zip(
        (vid, det), read_pair_sets(replace(config, training_json=names), fake), strict=True
    ):
        assert listed(raw) == listed(read)
