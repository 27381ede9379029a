"""The Siamese tracker: each row is a story of a small world that must come out right."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from halftrack.boxes import encode_deltas
from halftrack.frames import Tracks
from halftrack.layers import SiameseGeometry
from halftrack.tracking import SiameseConfig, SiameseTracker
from halftrack.tracking.siamese import _cut

NAN, INF = float("nan"), float("inf")
HEIGHT, WIDTH = 240, 320
ANCHORS = SiameseGeometry().anchors(25, 25, "cpu")
MIDDLE = (12 * 25 + 12) * 5  # the first anchor of the middle cell
SIZES = ("template_size", "search_size", "context_amount")
Box = tuple[float, float, float, float]


def image_of(box: Box | None, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Tensor:
    """A grey image; its object is half red and half blue, so that the mean is neither."""
    image = torch.full((3, *size), 100, dtype=torch.uint8)
    if box is not None:
        x1, y1, x2, y2 = (max(round(side), 0) for side in box)
        middle = (x1 + x2) // 2
        image[:, y1:y2, x1:middle] = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None]
        image[:, y1:y2, middle:x2] = torch.tensor([0, 0, 255], dtype=torch.uint8)[:, None, None]
    return image


class Eyes:
    """Sees red and blue: all anchors find the object, or with a score of 0.1 nothing."""

    def __init__(self) -> None:
        self.templates: list[Tensor] = []
        self.searches: list[Tensor] = []

    def embed(self, template_chw: Tensor) -> str:
        self.templates.append(template_chw)
        return f"embedding {len(self.templates)}"

    def compare(self, embedding: str, search_chw: Tensor) -> tuple[Tensor, Tensor]:
        assert embedding == f"embedding {len(self.templates)}"
        self.searches.append(search_chw)
        seen = (search_chw[[0, 2]] > 180).any(dim=0).nonzero()
        if not len(seen):
            return torch.full((3125,), 0.1), torch.zeros(3125, 4)
        (y1, x1), (y2, x2) = seen.amin(dim=0).tolist(), (seen.amax(dim=0) + 1).tolist()
        found = torch.tensor([[x1, y1, x2, y2]]) - 127.5
        return torch.ones(3125), encode_deltas(ANCHORS, found.expand(3125, 4))


class Told:
    """Answers what it was told; anchors of other cells than the named ones score 0."""

    def __init__(self, scores: dict[int, float], deltas: dict[int, list[float]] | None = None):
        self.scores, self.deltas = torch.zeros(3125), torch.zeros(3125, 4)
        for anchor, score in scores.items():
            self.scores[anchor] = score
        for anchor, values in (deltas or {}).items():
            self.deltas[anchor] = torch.tensor(values)

    def embed(self, _: Tensor) -> None:
        return None

    def compare(self, _: None, search_chw: Tensor) -> tuple[Tensor, Tensor]:
        return self.scores, self.deltas


def box_and_score(tracks: Tracks) -> tuple[Tensor, float]:
    """The only box ``(4,)`` and its score."""
    assert tracks.ids.tolist() == tracks.labels.tolist() == [0]
    return tracks.boxes_xyxy[0], tracks.scores.item()


def started(model: Any, box: Box, image: Tensor | None = None, **changes: Any) -> SiameseTracker:
    sizes = {name: changes.pop(name) for name in SIZES if name in changes}
    tracker = SiameseTracker(
        model=model, config=SiameseConfig(**changes), geometry=SiameseGeometry(**sizes)
    )
    tracker.start(image_of(box) if image is None else image, torch.tensor(box))
    return tracker


HERE: Box = (140, 100, 180, 140)
GONE = None
# What takes each frame's size as it is.
AT_ONCE = {"lr": 1.0, "penalty_k": 0.0}
Story = tuple[Box, list[Box | None], list[Box | None]]

STORIES: dict[str, Story] = {
    "who stands still is found where it was": (HERE, [HERE, HERE], [HERE, HERE]),
    "who moves is followed": (
        HERE,
        [(150, 95, 190, 135), (160, 90, 200, 130), (185, 80, 225, 120)],
        [(150, 95, 190, 135), (160, 90, 200, 130), (185, 80, 225, 120)],
    ),
    "who grows and turns gets a larger box": (
        HERE,
        [(130, 96, 190, 144), (115, 90, 205, 150)],
        [(130, 96, 190, 144), (115, 90, 205, 150)],
    ),
    "who leaves the image is followed to its border and waited for there": (
        (250, 100, 290, 140),
        [(270, 100, 310, 140), (290, 100, 330, 140), (306, 100, 346, 140), GONE, GONE],
        [(270, 100, 310, 140), (290, 100, 320, 140), (306, 100, 320, 140), GONE, GONE],
    ),
    "who comes back is found again": (
        (280, 100, 320, 140),
        [GONE, (290, 100, 330, 140)],
        [GONE, (290, 100, 320, 140)],
    ),
    "at the upper left border the region is filled": (
        (0, 0, 30, 40),
        [(0, 0, 30, 40), (2, 5, 32, 45)],
        [(0, 0, 30, 40), (2, 5, 32, 45)],
    ),
    "a very small object gets a box of 10 px": (
        (150, 120, 153, 122),
        [(150, 120, 153, 122), (152, 121, 155, 123)],
        [(146.5, 116, 156.5, 126), (148.5, 117, 158.5, 127)],
    ),
    "a box larger than the image shrinks to what is seen": (
        (-60, -40, 400, 290),
        [(6, 4, 314, 236), (10, 10, 300, 230)],
        [(6, 4, 314, 236), (10, 10, 300, 230)],
    ),
    "who is nowhere leaves the box in its place": (HERE, [GONE] * 3, [GONE] * 3),
}


@pytest.mark.parametrize("story", STORIES)
def test_story(story: str) -> None:
    start, scenes, expected = STORIES[story]
    tracker = started(Eyes(), start, **AT_ONCE)
    last = torch.tensor(start, dtype=torch.float32)
    for scene, due in zip(scenes, expected, strict=True):
        box, score = box_and_score(tracker.step(image_of(scene)))
        assert (box.shape, box.dtype, box.device.type) == ((4,), torch.float32, "cpu")
        assert score == pytest.approx(0.1 if due is GONE else 1.0)
        centre, before = (box[:2] + box[2:]) / 2, (last[:2] + last[2:]) / 2
        if due is GONE:
            assert torch.allclose(centre, before, atol=1e-3)
        else:
            # The eyes see pixels of the image and of the search region, 4 boxes wide.
            tolerance = 1.5 + 4 / 255 * float((last[2:] - last[:2]).max())
            assert (box - torch.tensor(due)).abs().max() < tolerance
        assert (centre >= 0).all()
        assert (centre <= torch.tensor([WIDTH, HEIGHT])).all()
        assert (box[2:] - box[:2] >= 10 - 1e-3).all()
        last = box


def test_an_image_of_one_colour_gives_crops_of_that_colour_and_finite_boxes() -> None:
    eyes = Eyes()
    tracker = started(eyes, (-20, 200, 50, 260), image_of(None))
    for _ in range(3):
        box, score = box_and_score(tracker.step(image_of(None)))
        assert torch.isfinite(box).all()
        assert score == pytest.approx(0.1)
    for crop in (*eyes.templates, *eyes.searches):
        assert (crop - 100).abs().max() < 1e-4


def test_outside_the_image_lies_the_first_frames_mean() -> None:
    first = torch.zeros((3, 40, 40), dtype=torch.uint8)
    first[0, :20], first[1] = 200, 30
    eyes = Eyes()
    tracker = started(eyes, (0, 0, 12, 12), first)
    tracker.step(torch.full_like(first, 77))
    assert eyes.searches[0][:, 0, 0].tolist() == [100, 30, 0]
    assert eyes.searches[0][:, -1, -1].tolist() == [77, 77, 77]


@pytest.mark.parametrize("size", [(5, 7), (5, 300)])
def test_a_small_image_bounds_the_box(size: tuple[int, int]) -> None:
    image = image_of(None, size)
    tracker = started(Told({MIDDLE: 1.0}, {MIDDLE: [9, 9, 9, 9]}), (1, 1, 3, 3), image, **AT_ONCE)
    box, _ = box_and_score(tracker.step(image))
    width, height = (box[2:] - box[:2]).tolist()
    assert (width, height) == (min(size[1], width), size[0])


def padded_and_resized(image: Tensor, centre: Tensor, side: Tensor, fill: Tensor) -> Tensor:
    """The same region by padding the whole image, as the reference does."""
    _, height, width = image.shape
    x1, y1 = (int(c - side / 2) for c in centre)
    x2, y2 = (int(c + side / 2) for c in centre)
    left, top = max(0, -x1), max(0, -y1)
    shape = (3, height + top + max(0, y2 - height), width + left + max(0, x2 - width))
    padded = fill[:, None, None].expand(shape).clone()
    padded[:, top : top + height, left : left + width] = image
    region = padded[:, y1 + top : y2 + top + 1, x1 + left : x2 + left + 1]
    return F.interpolate(region[None], size=(64, 64), mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_region_equals_the_padded_image_s_resized(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, 50, 80), generator=generator, dtype=torch.uint8)
    fill = image.float().mean(dim=(1, 2))
    for _ in range(50):
        # Ends on whole pixels too, where a region may be a pixel shorter.
        centre = (torch.rand(2, generator=generator) * torch.tensor([160.0, 100.0])).round() / 2
        side = (torch.rand((), generator=generator) * 150 + 2).round()
        expected = padded_and_resized(image, centre, side, fill)
        assert torch.allclose(_cut(image, centre, side, 64, fill), expected, atol=1e-2)


# From the anchor of 64x64 in the middle (third of its cell); the box of 64x64 is seen 1:1 with
# no context.
ONE_TO_ONE: dict[str, Any] = {"context_amount": 0.0, "template_size": 64, "search_size": 256}
SQUARE = MIDDLE + 2
AWAY = (12 * 25 + 18) * 5 + 2  # 48 px to the right
SEEN: Box = (100, 60, 164, 124)


@pytest.mark.parametrize(
    ("scores", "changes", "best"),
    [
        ({SQUARE: 0.5, AWAY: 0.6}, {"window_influence": 0.0}, AWAY),
        ({SQUARE: 0.5, AWAY: 0.6}, {"window_influence": 0.3}, SQUARE),
        ({SQUARE: 0.5, MIDDLE: 0.6}, {"penalty_k": 0.0}, MIDDLE),
        ({SQUARE: 0.5, MIDDLE: 0.6}, {"penalty_k": 0.3}, SQUARE),
        ({SQUARE: 0.5, SQUARE + 5: 0.5}, {}, SQUARE),
    ],
    ids=["score alone", "window", "shape alone", "penalty", "the nearer of two alike"],
)
def test_the_best_anchor(scores: dict[int, float], changes: dict[str, float], best: int) -> None:
    settings = {"lr": 1.0, "penalty_k": 0.0, "window_influence": 0.1} | changes
    tracker = started(Told(scores), SEEN, **ONE_TO_ONE, **settings)
    box, score = box_and_score(tracker.step(image_of(None)))
    assert score == pytest.approx(scores[best])
    centre = (ANCHORS[best, :2] + ANCHORS[best, 2:]) / 2
    assert torch.allclose((box[:2] + box[2:]) / 2, torch.tensor([132.0, 92.0]) + centre)


def test_sizes_are_smoothed_by_the_score_the_penalty_and_lr_and_centres_are_not() -> None:
    # Twice as wide: shape changes by 2; with half the girth around, the side sqrt(2 * 64 * 64)
    # becomes sqrt((128 + 96) * (64 + 96)).
    told = Told({SQUARE: 0.8}, {SQUARE: [0.25, -0.125, 0.6931472, 0.0]})
    tracker = started(told, SEEN, **ONE_TO_ONE, lr=0.5, penalty_k=0.1)
    box, score = box_and_score(tracker.step(image_of(None)))
    change = 2 * (224 * 160) ** 0.5 / 128
    share = 0.5 * 0.8 * 2.718281828 ** (-0.1 * (change - 1))
    half = 32 * (1 - share) + 64 * share
    assert torch.allclose(box, torch.tensor([148 - half, 84 - 32, 148 + half, 84 + 32]), atol=1e-3)
    assert score == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("shift", "centre"),
    [((-9.0, 0.0), (0, 92)), ((0.0, -9.0), (132, 0)), ((9.0, 9.0), (WIDTH, HEIGHT))],
)
def test_the_centre_stays_in_the_image(shift: tuple[float, float], centre: tuple[int, int]) -> None:
    told = Told({SQUARE: 1.0}, {SQUARE: [*shift, 0.0, 0.0]})
    box, _ = box_and_score(started(told, SEEN, **ONE_TO_ONE).step(image_of(None)))
    assert ((box[:2] + box[2:]) / 2).tolist() == list(centre)


def test_a_start_begins_another_video() -> None:
    eyes = Eyes()
    tracker = started(eyes, HERE)
    first = [box_and_score(tracker.step(image_of(HERE))) for _ in range(2)]
    tracker.start(image_of(HERE), torch.tensor(HERE))
    again = [box_and_score(tracker.step(image_of(HERE))) for _ in range(2)]
    assert len(eyes.templates) == 2
    assert [box.tolist() for box, _ in first] == [box.tolist() for box, _ in again]


def test_no_answer_is_changed_by_who_writes_into_boxes_and_none_has_a_gradient() -> None:
    told = Told({SQUARE: 1.0})
    told.scores.requires_grad_()
    start = torch.tensor(SEEN, dtype=torch.float32)
    geometry = SiameseGeometry(**ONE_TO_ONE)
    tracker = SiameseTracker(model=told, config=SiameseConfig(), geometry=geometry)
    tracks = tracker.start(image_of(None), start)
    assert (tracks.boxes_xyxy.tolist(), tracks.scores.tolist()) == ([list(SEEN)], [1.0])
    tracks.boxes_xyxy.zero_()
    assert start.tolist() == list(SEEN)
    start.zero_()
    box, _ = box_and_score(tracker.step(image_of(None)))
    assert box.tolist() == pytest.approx(SEEN)
    assert not box.requires_grad
    box.zero_()
    assert tracker.step(image_of(None)).boxes_xyxy[0].tolist() == pytest.approx(SEEN)


def test_half_precision_answers_are_ranked_in_fp32() -> None:
    told = Told({SQUARE: 0.75}, {SQUARE: [0.25, 0, 0, 0]})
    boxes = []
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        told.scores, told.deltas = told.scores.to(dtype), told.deltas.to(dtype)
        box, score = box_and_score(started(told, SEEN, **ONE_TO_ONE).step(image_of(None)))
        assert score == 0.75
        boxes.append(box.tolist())
    assert boxes[0] == boxes[1] == boxes[2]


def test_a_step_before_the_start_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"call start\(image, box_xyxy\) on the first frame"):
        SiameseTracker(model=Eyes(), config=SiameseConfig(), geometry=SiameseGeometry()).step(
            image_of(None)
        )


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([10.0, 10, NAN, 20], "is not finite"),
        ([-INF, 10, 20, 20], "is not finite"),
        ([10.0, 10, 10, 20], "is empty"),
        ([10.0, 20, 20, 10], "is empty"),
        ([320.0, 10, 340, 20], "is wholly outside the image of width 320 and height 240"),
        ([10.0, -30, 40, 0], "is wholly outside"),
        ([10.0, 10, 20], r"is of shape \(3,\); expected \(4,\)"),
        ([[10.0, 10, 20, 20]], r"is of shape \(1, 4\); expected \(4,\)"),
    ],
)
def test_a_start_box_nobody_can_follow_is_refused(box: Any, message: str) -> None:
    tracker = started(Eyes(), HERE)
    with pytest.raises(ValueError, match=rf"the start box .*{message}"):
        tracker.start(image_of(None), torch.tensor(box))
    assert tracker.step(image_of(HERE)).scores.tolist() == [1.0]


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(3, 240, 320),
        torch.zeros((240, 320, 3), dtype=torch.uint8),
        torch.zeros((1, 3, 240, 320), dtype=torch.uint8),
        torch.zeros((3, 0, 320), dtype=torch.uint8),
    ],
    ids=["float", "channels last", "a batch", "no rows"],
)
def test_images_of_another_kind_are_refused(image: Tensor) -> None:
    tracker = SiameseTracker(model=Eyes(), config=SiameseConfig(), geometry=SiameseGeometry())
    with pytest.raises(
        ValueError, match=r"the image is .*; expected torch.uint8 \(3, height, width\)"
    ):
        tracker.start(image, torch.tensor(HERE))
    tracker.start(image_of(HERE), torch.tensor(HERE))
    with pytest.raises(
        ValueError, match=r"the image is .*; expected torch.uint8 \(3, height, width\)"
    ):
        tracker.step(image)


def test_images_of_another_size_than_the_first_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 9, 9\), the video's first was \(3, 240, 320\)"):
        started(Eyes(), HERE).step(image_of(None, (9, 9)))


@pytest.mark.parametrize(
    ("part", "value"), [("scores", NAN), ("scores", INF), ("deltas", NAN), ("deltas", -INF)]
)
def test_what_is_not_finite_is_refused_and_changes_nothing(part: str, value: float) -> None:
    eyes = Eyes()
    tracker = started(eyes, HERE)
    tracker.step(image_of(HERE))
    broken = Told({})
    getattr(broken, part)[7] = value
    tracker.model = broken
    for _ in range(2):
        message = rf"{part} of frame_index 2 not finite in 1 of 3125 rows; row 7 is"
        with pytest.raises(ValueError, match=message):
            tracker.step(image_of(HERE))
    tracker.model = eyes
    whole = started(Eyes(), HERE)
    whole.step(image_of(HERE))
    tracks, expected = tracker.step(image_of(HERE)), whole.step(image_of(HERE))
    assert tracks.boxes_xyxy.tolist() == expected.boxes_xyxy.tolist()


def test_a_box_that_overflows_is_refused() -> None:
    tracker = started(Told({SQUARE: 1.0}, {SQUARE: [3e38, 0, 0, 0]}), HERE)
    with pytest.raises(ValueError, match="the box of frame_index 1 not finite"):
        tracker.step(image_of(HERE))


def test_answers_of_another_shape_are_refused() -> None:
    told = Told({})
    told.deltas = told.deltas.T
    message = r"deltas \(4, 3125\) in frame_index 1; expected \(3125,\) and \(3125, 4\): 25 rows"
    with pytest.raises(ValueError, match=message):
        started(told, HERE).step(image_of(HERE))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("penalty_k", NAN),
        ("lr", 1.5),
        ("window_influence", -0.1),
    ],
)
def test_a_setting_out_of_range_is_named(setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{setting}=.*: expected a number"):
        SiameseConfig(**{setting: value})
