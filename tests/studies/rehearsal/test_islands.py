"""In the models of the three tasks the islands found are exactly the modules planted to overflow.

A planted module's weights grow by a power of two that what follows it takes back, a norm or smaller
weights: fp32 goes on as before, half precision overflows there and nowhere else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from halftrack.frames import Clip, Frame, FrameBatch, PairBatch
from halftrack.recipes import TrainedRecipe, load_recipe
from halftrack.studies.rehearsal.islands import islands_of
from halftrack.training import Phase

pytestmark = pytest.mark.slow

LOSS_SCALE = 512.0


def frame(name: str) -> Frame:
    image = torch.rand(3, 64, 96) * 255
    boxes = torch.tensor([[10.0, 12.0, 42.0, 44.0], [50.0, 20.0, 78.0, 50.0]])
    return Frame(image=image, sample_id=name, boxes_xyxy=boxes, labels=torch.tensor([0, 0]))


def clip() -> Clip:
    return Clip(key=frame("key"), references=(frame("reference"),))


def frames() -> FrameBatch:
    return FrameBatch(frames=(frame("one"),))


def pairs() -> PairBatch:
    return PairBatch(
        templates=torch.rand(1, 3, 95, 95) * 255,
        searches=torch.rand(1, 3, 191, 191) * 255,
        boxes_xyxy=torch.tensor([[64.0, 64.0, 128.0, 128.0]]),
        positive=torch.tensor([True]),
        sample_ids=("pair",),
    )


def frozen_recipe() -> TrainedRecipe:
    """SELSA with its batch norms folded into the convolutions, as published."""
    recipe = load_recipe("selsa_tiny_sample")
    backbone = replace(recipe.model.backbone, frozen_bn=True)
    return replace(recipe, model=replace(recipe.model, backbone=backbone))


RECIPES: dict[str, tuple[Callable[[], TrainedRecipe], Callable[[], object]]] = {
    "selsa": (partial(load_recipe, "selsa_tiny_sample"), clip),
    "frozen": (frozen_recipe, clip),
    "faster-rcnn": (partial(load_recipe, "faster-rcnn_tiny_sample"), frames),
    "siamrpn": (partial(load_recipe, "siamese_rpn_tiny_sample"), pairs),
}


@dataclass(frozen=True)
class Plant:
    """Modules planted to overflow."""

    octaves: Mapping[str, int]
    """By which tensors of the model grow."""
    islands: tuple[str, ...]
    """What must be in fp32 for it."""


def grown(*convolutions: str) -> Plant:
    """Convolutions before a norm, to which their size is all one."""
    return Plant({f"{path}.weight": 17 for path in convolutions}, convolutions)


BOX = "detector.roi_head.bbox_head"
# The values that attention gathers, scaled down again by the layer behind: no layer's own sums
# alone, but the product of the attention, which is its module's.
ATTENTION = Plant(
    {f"{BOX}.aggregator.0.ref_fc.{p}": 20 for p in ("weight", "bias")}
    | {f"{BOX}.aggregator.0.fc.weight": -20},
    (f"{BOX}.aggregator.0",),
)
# Both layers that read the large hidden map must read it in fp32.
RPN = Plant(
    {
        "rpn_head.rpn_conv.weight": 20,
        "rpn_head.rpn_cls.weight": -20,
        "rpn_head.rpn_reg.weight": -20,
    },
    ("rpn_head.rpn_conv", "rpn_head.rpn_cls", "rpn_head.rpn_reg"),
)
FOLDED = Plant(
    {
        "detector.backbone.layer2.0.bn1.weight": 17,
        "detector.backbone.layer2.0.bn1.bias": 17,
        "detector.backbone.layer2.0.conv2.weight": -17,
    },
    ("detector.backbone.layer2.0.conv1", "detector.backbone.layer2.0.conv2"),
)
STORIES: dict[str, tuple[str, tuple[Plant, ...]]] = {
    "selsa: one": ("selsa", (grown("detector.backbone.layer2.0.conv1"),)),
    "selsa: two": ("selsa", (grown("detector.backbone.conv1"), ATTENTION)),
    "selsa: three": (
        "selsa",
        (grown("detector.backbone.layer1.1.conv2", "detector.backbone.layer4.0.conv1"), ATTENTION),
    ),
    "selsa: a norm that is folded into its convolution": ("frozen", (FOLDED,)),
    "faster-rcnn: one": ("faster-rcnn", (grown("backbone.layer3.0.downsample.0"),)),
    "faster-rcnn: a map that two layers read": ("faster-rcnn", (RPN,)),
    "faster-rcnn: that and another": ("faster-rcnn", (grown("backbone.layer4.1.conv1"), RPN)),
    "siamrpn: one": ("siamrpn", (grown("head.reg_heads.2.search_convs.conv"),)),
    "siamrpn: two": (
        "siamrpn",
        (grown("neck.convs.1.conv", "head.cls_heads.0.kernel_convs.conv"),),
    ),
    "siamrpn: three": (
        "siamrpn",
        (
            grown(
                "backbone.layer3.1.conv1", "neck.convs.0.conv", "head.cls_heads.2.search_convs.conv"
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_the_islands_are_the_planted_modules(name: str) -> None:
    which, plants = STORIES[name]
    make_recipe, make_batch = RECIPES[which]
    recipe = make_recipe()
    model = recipe.build_model(seed=0)
    tensors = dict(model.named_parameters())
    with torch.no_grad():
        for plant in plants:
            for path, octaves in plant.octaves.items():
                tensors[path].mul_(2.0**octaves)
    torch.manual_seed(1)
    found = islands_of(recipe, [make_batch()], steps=1, loss_scale=LOSS_SCALE, model=model)
    assert found.keep_fp32 == tuple(path for plant in plants for path in plant.islands)


class Toy(nn.Module):
    """Two layers with a ReLU between; a batch is a tensor ``(n, 2)``."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(2, 2)
        for layer in (self.first, self.second):
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss_toy": self.second(self.first(x).relu()).float().sum()}


def islands_of_toy(
    model: nn.Module, *batches: Tensor, loss_scale: float = 1.0
) -> tuple[str, ...] | None:
    recipe = load_recipe("reid_tiny_sample")
    found = islands_of(recipe, batches, steps=len(batches), loss_scale=loss_scale, model=model)
    return found.keep_fp32


def test_gradients_that_overflow_ask_for_islands_at_that_loss_scale_only() -> None:
    model, x = Toy(), torch.ones(3, 2)
    nn.init.constant_(model.second.weight, 64.0)
    assert islands_of_toy(model, x, loss_scale=64.0) == ()
    # What the second layer sends back is infinite in half, and so is its cast for the first.
    assert islands_of_toy(model, x, loss_scale=2.0**10) == ("first", "second")


def test_the_epoch_decides_which_gradients_there_are() -> None:
    recipe, model = load_recipe("reid_tiny_sample"), Toy()
    nn.init.constant_(model.second.weight, 64.0)
    phases = (Phase(first_epoch=0, trainable=("second.*",)), Phase(first_epoch=1, trainable=("*",)))
    recipe = replace(recipe, training=replace(recipe.training, phases=phases))
    early, late = (
        islands_of(
            recipe, [torch.ones(3, 2)], steps=1, loss_scale=2.0**10, epoch=epoch, model=model
        )
        for epoch in (0, 1)
    )
    assert (early.keep_fp32, late.keep_fp32) == ((), ("first", "second"))


def test_an_overflow_counts_though_no_loss_shows_it() -> None:
    model = Toy()
    nn.init.constant_(model.first.bias, -1e5)
    assert islands_of_toy(model, torch.ones(3, 2)) == ("first",)


def test_every_step_must_be_clean() -> None:
    model, x = Toy(), torch.ones(3, 2)
    nn.init.constant_(model.first.weight, 2.0**10)
    nn.init.constant_(model.second.weight, 2.0**-10)
    assert islands_of_toy(model, x, x) == ()
    assert islands_of_toy(model, x, x * 64.0) == ("first", "second")


def test_a_fault_of_fp32_too_has_no_islands() -> None:
    assert islands_of_toy(Toy(), torch.full((3, 2), torch.nan)) is None


def test_the_model_and_the_random_numbers_are_left_as_they_were() -> None:
    make_recipe, make_batch = RECIPES["selsa"]
    recipe = make_recipe()
    model, batch = recipe.build_model().eval(), make_batch()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    islands_of(recipe, itertools.repeat(batch), steps=1, loss_scale=LOSS_SCALE, model=model)
    assert torch.equal(torch.get_rng_state(), random)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("steps", "batches"), [(0, 2), (-1, 2), (3, 2)])
def test_without_steps_or_batches_for_them_nothing_is_said(steps: int, batches: int) -> None:
    recipe = load_recipe("reid_tiny_sample")
    with pytest.raises(ValueError, match=f"steps={steps} with .* batches"):
        islands_of(recipe, [torch.ones(3, 2)] * batches, steps=steps, loss_scale=1.0, model=Toy())
