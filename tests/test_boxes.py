"""Boxes: what must hold for any of them, in any precision."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_iou

from halftrack.boxes import (
    area,
    clip,
    constant,
    decode_deltas,
    encode_deltas,
    iou,
    nms,
    nms_by_class,
    pad_rows,
    start_box_fault,
    unsuppressed,
)
from halftrack.precision import Precision

corner = st.floats(-50, 1000, width=32)
side = st.floats(16, 800, width=32)  # ratios below the bound of 1000/16


@st.composite
def boxes(draw: st.DrawFn, least: int = 0) -> Tensor:
    rows = draw(st.lists(st.tuples(corner, corner, side, side), min_size=least, max_size=8))
    return torch.tensor([(x, y, x + w, y + h) for x, y, w, h in rows]).reshape(-1, 4)


@given(boxes(), boxes())
def test_iou_is_torchvisions_and_symmetric(a: Tensor, b: Tensor) -> None:
    assert torch.allclose(iou(a, b), box_iou(a, b), atol=1e-5)
    assert torch.equal(iou(a, b), iou(b, a).T)


@given(boxes(least=1))
def test_decoding_undoes_encoding(a: Tensor) -> None:
    targets = a.flip(0)
    deltas = encode_deltas(a, targets, std=0.2)
    assert torch.allclose(decode_deltas(a, deltas[:, None], std=0.2)[:, 0], targets, atol=0.05)


@given(boxes())
def test_clipping_keeps_boxes_inside_and_is_idempotent(a: Tensor) -> None:
    inside = clip(a, (300, 400))
    assert bool((inside >= 0).all())
    assert bool((inside[:, 0::2] <= 400).all())
    assert bool((inside[:, 1::2] <= 300).all())
    assert torch.equal(clip(inside, (300, 400)), inside)


@given(boxes())
def test_suppression_leaves_no_two_boxes_that_overlap(a: Tensor) -> None:
    scores = torch.linspace(1, 0, len(a)) if len(a) else torch.zeros(0)
    kept = nms(a, scores, 0.5)
    assert bool((iou(a[kept], a[kept]).fill_diagonal_(0) <= 0.5).all())


def test_classes_do_not_suppress_each_other() -> None:
    twins = torch.tensor([[0.0, 0.0, 1300.0, 800.0]] * 3)
    labels = torch.tensor([0, 79, 79])
    assert nms_by_class(twins, torch.tensor([0.9, 0.8, 0.7]), labels, 0.5).tolist() == [0, 1]


def test_no_boxes_are_no_error() -> None:
    none = torch.zeros(0, 4)
    assert iou(none, none).shape == (0, 0)
    assert len(nms_by_class(none, torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0.5)) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_boxes_of_256_px_have_finite_areas_and_the_right_iou(dtype: torch.dtype) -> None:
    big = torch.tensor([[0.0, 0.0, 256.0, 256.0], [0.0, 0.0, 256.0, 128.0]], dtype=dtype)
    with Precision("fp16").autocast("cpu"):
        assert area(big).tolist() == [65536.0, 32768.0]
        assert iou(big, big)[0, 1].item() == 0.5


def test_a_change_of_size_is_bounded() -> None:
    box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    wild = torch.tensor([[[0.0, 0.0, 100.0, 100.0]]])
    moved = decode_deltas(box, wild)[0, 0]
    assert (moved[2] - moved[0]).item() == pytest.approx(10 * 1000 / 16, rel=1e-5)


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ([-5.0, -5, 1, 1], None),
        ([99.5, 79.5, 200, 300], None),
        ([100.0, 5, 110, 9], "is wholly outside the image of width 100 and height 80"),
        ([5.0, -9, 8, 0], "is wholly outside"),
        ([5.0, 5, 5, 9], "is empty"),
        ([float("nan"), 5, 9, 9], "is not finite"),
    ],
)
def test_a_tracker_starts_from_a_box_that_touches_its_image(box, fault) -> None:
    told = start_box_fault(torch.tensor(box), (80, 100))
    assert (told or "").startswith(fault or "")
    assert (told is None) == (fault is None)


def test_images_are_suppressed_at_once_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand((3, 200, 2), generator=generator) * 300 - 50
    sides = torch.rand((3, 200, 2), generator=generator) * 80
    given = torch.cat([corner, corner + sides], dim=2)
    scores = torch.rand((3, 200), generator=generator)
    given[0, 5] = given[1, 7, 0] = torch.nan
    given[2, 9, 2:] = given[2, 9, :2]
    labels = torch.arange(200) % 4
    together = unsuppressed(given, scores, labels, 0.5)
    for image in range(3):
        (solid,) = (given[image, :, 2:] > given[image, :, :2]).all(dim=1).nonzero(as_tuple=True)
        alone = nms_by_class(given[image][solid], scores[image][solid], labels[solid], 0.5)
        assert together[image].nonzero().flatten().tolist() == solid[alone].sort().values.tolist()
    monkeypatch.setattr("halftrack.boxes._MOST_SUPPRESSED", given.shape[1] + 1)
    assert torch.equal(unsuppressed(given, scores, labels, 0.5), together)


def test_padded_rows_are_found_again() -> None:
    rows = [torch.ones(2, 4), torch.zeros(0, 4), 2 * torch.ones(3, 4)]
    padded = pad_rows(rows)
    assert padded.rows.shape == (3, 3, 4)
    assert torch.equal(padded.rows[padded.present], torch.cat(rows))
    assert padded.places.tolist() == [[0, 1, -1], [-1, -1, -1], [2, 3, 4]]
    assert pad_rows([rows[1]]).rows.shape == (1, 1, 4)


def test_a_constant_is_kept_with_its_values_for_every_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("halftrack.boxes._constants", {})
    cpu = torch.device("cpu")
    with torch._subclasses.FakeTensorMode():
        assert isinstance(constant((1.0, 2.0), cpu), torch._subclasses.FakeTensor)
    with torch.inference_mode():
        kept = constant((1.0, 2.0), cpu)
    assert not kept.is_inference()
    assert kept.tolist() == [1, 2]
    assert constant((1.0, 2.0), cpu) is kept
