"""Camera motion: the reference's warps and boxes, every model, frames that no motion aligns."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from halftrack.precision import Precision
from halftrack.tracking import (
    EccMotion,
    UncorrelatedFramesError,
    camera_motion,
    warp_boxes,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "cmc.npz"
MEAN = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
STD = torch.tensor([58.395, 57.12, 57.375])[:, None, None]


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(GOLDEN) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture(scope="module")
def frames(golden: dict[str, Tensor]) -> list[Tensor]:
    rgb = golden["frames_bgr"].flip(-1).permute(0, 3, 1, 2).float()
    return list((rgb - MEAN) / STD)


def corner_error(warp: Tensor, expected: Tensor, size: tuple[int, int]) -> float:
    """Largest distance along x or y, in pixels, at the corners of the image."""
    height, width = size
    corners = torch.tensor([[x, y, 1.0] for x in (0, width - 1) for y in (0, height - 1)]).double()
    ends = [corners @ matrix.double().T for matrix in (warp, expected)]
    if len(warp) == 3:
        ends = [end[:, :2] / end[:, 2:] for end in ends]
    return float((ends[0] - ends[1]).abs().max())


def texture(size: tuple[int, int], sides: tuple[int, ...] = (8, 32)) -> Tensor:
    """A grey image ``(1, height, width)`` of blobs so many pixels wide, the same every time."""
    generator = torch.Generator().manual_seed(0)
    blobs = [
        torch.rand((1, 1, size[0] // side, size[1] // side), generator=generator) for side in sides
    ]
    return sum(
        (F.interpolate(blob, size=size, mode="bicubic")[0] for blob in blobs), torch.zeros(1)
    )


def two_frames(
    size: tuple[int, int], warp: list[list[float]], sides: tuple[int, ...] = (8, 32)
) -> tuple[Tensor, Tensor]:
    """Frames ``(1, height, width)`` of one scene, whose pixels ``warp`` (3, 3) takes across."""
    margin = 48  # the camera sees new scene at its borders, not black
    scene = texture((size[0] + 2 * margin, size[1] + 2 * margin), sides)
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], dim=-1).double()
    back = points @ torch.tensor(warp).double().inverse().T
    at = back[..., :2] / back[..., 2:] + margin
    grid = ((2 * at + 1) / torch.tensor([scene.shape[2], scene.shape[1]]) - 1).float()
    second = F.grid_sample(scene[None], grid[None], mode="bicubic", align_corners=False)[0]
    return scene[:, margin:-margin, margin:-margin], second


@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("levels", [1, 3])
def test_warps_are_the_references_to_a_hundredth_of_a_pixel_at_the_corners(
    golden: dict[str, Tensor], frames: list[Tensor], step: int, levels: int
) -> None:
    warp = EccMotion(levels=levels)(frames[0], frames[step + 1])
    assert warp.shape == (2, 3)
    assert warp.dtype == torch.float32
    # Step 1 is a shift by (3, -2), which OpenCV 4.11 misses: it samples at multiples of 1/32 px.
    bound = 0.02 if step == 1 else 0.01
    assert corner_error(warp, golden["warp_first_to_i"][step], (192, 320)) < bound


@pytest.mark.parametrize("step", range(5))
def test_warped_boxes_are_the_references(
    golden: dict[str, Tensor], frames: list[Tensor], step: int
) -> None:
    expected, boxes = golden["warped_boxes"][step], golden["boxes"]
    by_its_warp = warp_boxes(boxes, golden["warp_first_to_i"][step])
    assert torch.allclose(by_its_warp, expected, rtol=0, atol=1e-4)
    by_ours = warp_boxes(boxes, EccMotion()(frames[0], frames[step + 1]))
    assert torch.allclose(by_ours, expected, rtol=0, atol=2e-2 if step == 1 else 1e-2)


def test_a_shift_by_whole_pixels_is_found_exactly(frames: list[Tensor]) -> None:
    warp = EccMotion()(frames[0], frames[2])
    assert corner_error(warp, torch.tensor([[1.0, 0, 3], [0, 1, -2]]), (192, 320)) < 1e-3


WARPS = {
    "translation": [[1, 0, 2.5], [0, 1, -1.25], [0, 0, 1]],
    "euclidean": [
        [math.cos(0.02), -math.sin(0.02), 2.5],
        [math.sin(0.02), math.cos(0.02), -3],
        [0, 0, 1],
    ],
    "affine": [[1.02, -0.01, -1.5], [0.015, 0.99, 1], [0, 0, 1]],
    "homography": [[1.01, -0.02, 1.5], [0.015, 0.99, -1], [5e-5, -3e-5, 1]],
}


@pytest.mark.parametrize("model", WARPS)
@pytest.mark.parametrize("levels", [1, 2])
def test_each_motion_model_finds_a_motion_of_its_kind(model: str, levels: int) -> None:
    motion = EccMotion(model=model, levels=levels, tolerance=1e-8)  # type: ignore[arg-type]
    warp = motion(*two_frames((160, 224), WARPS[model]))
    expected = torch.tensor(WARPS[model])[: len(warp)]
    assert len(warp) == (3 if model == "homography" else 2)
    assert corner_error(warp, expected, (160, 224)) < 0.05


def test_a_pyramid_finds_a_motion_out_of_reach_at_full_size() -> None:
    far = [[1.0, 0, 24], [0, 1, -16], [0, 0, 1]]
    first, second = two_frames((256, 384), far, sides=(4, 4, 64))
    expected = torch.tensor(far)[:2]
    assert corner_error(EccMotion(levels=3)(first, second), expected, (256, 384)) < 1e-3
    assert corner_error(EccMotion()(first, second), expected, (256, 384)) > 5


def full_size_steps(motion: EccMotion, first: Tensor, second: Tensor) -> int:
    """How often the estimate went through all pixels of the full size."""
    sizes = []

    def counted(template: Tensor, *rest: Any) -> Tensor:
        sizes.append(template.shape)
        return gram(template, *rest)

    gram = camera_motion._gram
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(camera_motion, "_gram", counted)
        motion(first, second)
    return sizes.count(first.shape[1:])


def test_a_pyramid_spares_the_full_size_steps_that_would_change_nothing() -> None:
    first, second = two_frames((256, 384), WARPS["euclidean"], sides=(4, 8, 32))
    expected = torch.tensor(WARPS["euclidean"])[:2]
    assert corner_error(EccMotion(levels=3)(first, second), expected, (256, 384)) < 0.01
    assert full_size_steps(EccMotion(levels=3), first, second) <= 2
    assert full_size_steps(EccMotion(), first, second) >= 4


def test_the_number_of_threads_is_left_as_it_was(frames: list[Tensor]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        EccMotion()(frames[0], frames[1])
        assert torch.get_num_threads() == 2
        with pytest.raises(UncorrelatedFramesError):
            EccMotion()(frames[0], -frames[0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("blur", [3, 5])
def test_blur_and_stride_keep_the_answer(blur: int) -> None:
    first, second = two_frames((256, 384), WARPS["euclidean"])
    warp = EccMotion(blur=blur, levels=3, stride=2)(first, second)
    assert corner_error(warp, torch.tensor(WARPS["euclidean"])[:2], (256, 384)) < 0.05


def test_brightness_and_contrast_do_not_change_the_answer(frames: list[Tensor]) -> None:
    plain = EccMotion()(frames[0], frames[3])
    brighter = EccMotion()(frames[0] * 50 + 120, frames[3] * 30 + 90)
    assert corner_error(brighter, plain, (192, 320)) < 0.005


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_frames_under_autocast_are_aligned_in_fp32(
    frames: list[Tensor], dtype: torch.dtype
) -> None:
    first, second = frames[0].to(dtype), frames[3].to(dtype)
    in_fp32 = EccMotion()(first.float(), second.float())
    with Precision("fp16").autocast("cpu"):
        warp = EccMotion()(first, second)
    assert torch.equal(warp, in_fp32)


def test_uint8_frames_are_welcome_and_carry_no_gradient(frames: list[Tensor]) -> None:
    raw = [(frame * STD + MEAN).round().to(torch.uint8) for frame in (frames[0], frames[4])]
    by_raw = EccMotion()(raw[0], raw[1])
    first = frames[0].clone().requires_grad_()
    warp = EccMotion()(first, frames[4])
    assert not warp.requires_grad
    assert corner_error(by_raw, warp, (192, 320)) < 0.02


def test_boxes_move_by_two_corners_through_each_kind_of_warp() -> None:
    boxes = torch.tensor([[10.0, 20, 60, 120], [0, 0, 1, 1]])
    assert warp_boxes(boxes, torch.tensor([[1.0, 0, 3], [0, 1, -2]])).tolist() == [
        [13, 18, 63, 118],
        [3, -2, 4, -1],
    ]
    quarter_turn = torch.tensor([[0.0, -1, 0], [1, 0, 0]])
    assert warp_boxes(boxes[:1], quarter_turn).tolist() == [[-20, 10, -120, 60]]
    halved = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 2]])
    assert warp_boxes(boxes[:1], halved).tolist() == [[5, 10, 30, 60]]


def test_no_boxes_are_no_error() -> None:
    assert warp_boxes(torch.zeros(0, 4), torch.eye(3)[:2]).shape == (0, 4)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(torch.ones(3, 64, 64), torch.ones(3, 64, 64), id="no texture"),
        pytest.param(texture((64, 64)), torch.ones(1, 64, 64), id="second blank"),
        pytest.param(texture((64, 64)), -texture((64, 64)), id="negative"),
        pytest.param(texture((64, 64)) * math.nan, texture((64, 64)), id="nan"),
    ],
)
def test_frames_no_motion_aligns_are_an_error_of_their_own(first: Tensor, second: Tensor) -> None:
    with pytest.raises(UncorrelatedFramesError, match="no camera motion aligns"):
        EccMotion()(first, second)


def test_frames_of_other_shapes_are_refused_with_their_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(3, 64, 64\) and \(3, 64, 65\).*one shape"):
        EccMotion()(torch.zeros(3, 64, 64), torch.zeros(3, 64, 65))
    with pytest.raises(ValueError, match=r"\(64, 64\).*\(1, height, width\) grey"):
        EccMotion()(torch.zeros(64, 64), torch.zeros(64, 64))
    with pytest.raises(ValueError, match=r"sides of at least 32"):
        EccMotion(levels=4)(torch.zeros(1, 16, 64), torch.zeros(1, 16, 64))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "rigid"}, r"'rigid' is not one of translation, euclidean, affine, homography"),
        ({"blur": 4}, r"blur 4 is not one of 1, 3, 5"),
        ({"levels": 0}, r"levels=0: expected a whole number at least 1"),
        ({"iterations": 0}, r"iterations=0: expected a whole number at least 1"),
        ({"stride": 0}, r"stride=0: expected a whole number at least 1"),
    ],
)
def test_a_setting_out_of_range_is_quoted(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EccMotion(**settings)  # type: ignore[arg-type]


def test_no_tensor_is_made_away_from_the_frames(frames: list[Tensor]) -> None:
    with torch.device("meta"):  # where a factory without a device would put its tensor
        warp = EccMotion(blur=5, levels=2, stride=2)(frames[0], frames[1])
    assert warp.device == frames[0].device
